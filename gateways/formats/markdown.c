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

static int
read_meta(struct import_text *s, const struct yaml_node *meta, struct task *t)
{
    static const char *const known[] = {"preferred_ai",      "allow_delegation",
                                        "needs_claude_code", "complexity_hint",
                                        "max_cost_usd",      NULL};
    struct delegation *d = mem_pool_alloc(s->pool, sizeof *d);

    formats_unknown(s, meta, known, t);
    if (formats_text(s, meta, "preferred_ai", &d->preferred_ai) < 0 ||
        formats_flag(s, meta, "allow_delegation", &d->allow_delegation) < 0 ||
        formats_flag(s, meta, "needs_claude_code", &d->needs_claude_code) < 0 ||
        formats_text(s, meta, "complexity_hint", &d->complexity_hint) < 0 ||
        formats_text(s, meta, "max_cost_usd", &d->max_cost_usd) < 0)
        return -1;
    warn_words(s, meta, d);
    for (size_t i = 0; known[i] && !t->delegation; i++)
        if (formats_get(meta, known[i]))
            t->delegation = d;
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
    if (task_check(t, s->e) == 0)
        return 0;
    /* The error names delegation.max_cost_usd, the file max_cost_usd. */
    if (meta && strncmp(s->e->msg, "delegation.", 11) == 0)
        memmove(s->e->msg, s->e->msg + 11, strlen(s->e->msg + 11) + 1);
    return formats_place(s, meta ? meta : &top);
}
