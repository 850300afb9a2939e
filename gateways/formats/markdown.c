/*
 * Reads a task for an AI: a prompt, with delegation front matter that says who
 * may answer it. Without front matter it stays with local Claude Code.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/str.h"

#include <string.h>
#include <strings.h>

static bool
is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(word, *words) == 0)
            return true;
    return false;
}

/* Values unknown to the router do no harm, but are probably mistakes. */
static void
warn_words(struct import_text *s, const struct yaml_node *meta,
           const struct delegation *d)
{
    static const char *const providers[] = {
        "", "auto", "claude-code", "gpu", "gemini", "claude-api", NULL};
    static const char *const levels[] = {"", "low", "medium", "high", NULL};

    if (!is_one_of(d->preferred_ai, providers))
        formats_warn(s, yaml_get(meta, "preferred_ai"),
                     "preferred_ai: '%s' is unknown, so the task stays with "
                     "local Claude Code; known are auto, claude-code, gpu, "
                     "gemini and claude-api",
                     formats_short(s, d->preferred_ai));
    if (!is_one_of(d->complexity_hint, levels))
        formats_warn(s, yaml_get(meta, "complexity_hint"),
                     "complexity_hint: '%s' is unknown; known are low, medium "
                     "and high",
                     formats_short(s, d->complexity_hint));
}

/* --- front matter --------------------------------------------------------- */

static int
read_delegation(struct import_text *s, const struct yaml_node *meta,
                struct task *t)
{
    static const char *const keys[] = {"preferred_ai", "allow_delegation",
                                       "needs_claude_code", "complexity_hint",
                                       "max_cost_usd"};
    struct delegation *d = mem_pool_alloc(s->pool, sizeof *d);

    d->preferred_ai = d->complexity_hint = d->max_cost_usd = "";
    if (formats_text(s, meta, "preferred_ai", &d->preferred_ai) < 0 ||
        formats_flag(s, meta, "allow_delegation", &d->allow_delegation) < 0 ||
        formats_flag(s, meta, "needs_claude_code", &d->needs_claude_code) < 0 ||
        formats_text(s, meta, "complexity_hint", &d->complexity_hint) < 0 ||
        formats_text(s, meta, "max_cost_usd", &d->max_cost_usd) < 0)
        return -1;
    warn_words(s, meta, d);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !t->delegation; i++)
        if (formats_get(meta, keys[i]))
            t->delegation = d;
    return 0;
}

/* What claude-code-queue means by its keys: max_retries counts all attempts,
 * and the lowest priority comes first. */
static int
read_queue_keys(struct import_text *s, const struct yaml_node *meta,
                struct task *t)
{
    int64_t attempts = 1, priority = 0;

    if (formats_number(s, meta, "max_retries", 0, 1000, &attempts) < 0 ||
        formats_number(s, meta, "priority", -1000, 1000, &priority) < 0)
        return -1;
    t->retries = attempts > 0 ? (uint32_t)attempts - 1 : 0;
    t->priority = -(int32_t)priority;
    return 0;
}

/* The bookkeeping of that tool, kept as tags. */
static void
keep_records(struct import_text *s, const struct yaml_node *meta,
             const char *const *keys, struct task *t)
{
    for (; *keys; keys++) {
        const struct yaml_node *v = formats_get(meta, *keys);

        if (v && v->kind == YAML_SCALAR && strlen(v->text) <= FORMATS_TAG_BYTES)
            formats_tag(s, t, *keys, v->text);
    }
}

static int
read_meta(struct import_text *s, const struct yaml_node *meta, struct task *t)
{
    static const char *const known[] = {"preferred_ai",      "allow_delegation",
                                        "needs_claude_code", "complexity_hint",
                                        "max_cost_usd",      "title",
                                        "max_retries",       "priority",
                                        "context_files",     "estimated_tokens",
                                        "created_at",        "retry_count",
                                        "last_executed",     "rate_limited_at",
                                        "reset_time",        NULL};
    enum { RECORDS = 9 }; /* the first of them that only records */

    if (read_delegation(s, meta, t) < 0 || read_queue_keys(s, meta, t) < 0 ||
        formats_keys(s, meta, known, t) < 0)
        return -1;
    keep_records(s, meta, known + RECORDS, t);
    return 0;
}

/* --- the prompt ----------------------------------------------------------- */

/* Whether the text begins with that heading. */
static bool
begins_with(const char *text, const char *title)
{
    size_t len = strlen(title);

    text += strspn(text, "# ");
    return strncmp(text, title, len) == 0 && strchr("\r\n", text[len]);
}

/* What the front matter adds before the text: its title, and the files to
 * read, as Claude Code is told of them. */
static int
add_front(struct import_text *s, const struct yaml_node *meta, struct task *t)
{
    const char **files, *title;
    struct str front = {0};
    size_t n;

    if (formats_text(s, meta, "title", &title) < 0 ||
        formats_texts(s, meta, "context_files", &files, &n) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        str_addf(&front, "%s@%s", i ? " " : "", files[i]);
    if (n)
        str_addz(&front, "\n\n");
    if (!formats_is_blank(title) && !begins_with(t->prompt, title))
        str_addf(&front, "%s\n\n", title);
    if (front.len)
        t->prompt =
            mem_pool_printf(s->pool, "%s%s", str_text(&front), t->prompt);
    str_free(&front);
    return 0;
}

/* The text with LF line ends, without blank lines around it. */
static const char *
prompt_of(const struct import_text *s, const char *body, size_t len)
{
    struct str text = {0};
    const char *out;
    size_t skip = 0;

    for (size_t i = 0; i < len; i++) {
        if (body[i] == '\n')
            skip = i + 1;
        else if (!strchr(" \t\r", body[i]))
            break;
    }
    while (len > skip && strchr(" \t\r\n", body[len - 1]))
        len--;
    for (size_t i = skip; i < len; i++)
        if (body[i] != '\r' || i + 1 == len || body[i + 1] != '\n')
            str_addc(&text, body[i]);
    out = mem_pool_strdup(s->pool, str_text(&text));
    str_free(&text);
    return out;
}

int
formats_read_markdown(struct import_text *s, const struct yaml_node *meta,
                      const char *body, size_t len)
{
    static const struct yaml_node top = {.line = 1, .column = 1, .text = ""};
    struct task *t = formats_tasks(s, "markdown", 1);

    t->name = formats_base_name(s);
    t->prompt = prompt_of(s, body, len);
    if (meta && read_meta(s, meta, t) < 0)
        return -1;
    if (!*t->prompt)
        return formats_fail(
            s, &top, "no text below the front matter; write the prompt there");
    if (formats_prompt(s, NULL, body, len) < 0 ||
        (meta && add_front(s, meta, t) < 0))
        return -1;
    if (task_check(t, s->e) == 0)
        return 0;
    /* The error names delegation.max_cost_usd, the file max_cost_usd. */
    if (meta && strncmp(s->e->msg, "delegation.", 11) == 0)
        memmove(s->e->msg, s->e->msg + 11, strlen(s->e->msg + 11) + 1);
    return formats_place(s, meta ? meta : &top);
}
