/*
 * Recognizes the format of a text: JSON by the keys that only one format has,
 * Markdown by front matter and briefs, YAML by its first key. The reader of the
 * format does the rest.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/str.h"
#include "lib/model/codec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --- JSON ----------------------------------------------------------------- */

static bool
has_task_data(const struct yaml_node *root)
{
    return yaml_get(root, "task_data");
}

static bool
is_contract(const struct yaml_node *root)
{
    return yaml_get(root, "work_branch") ||
           (yaml_get(root, "acceptance") && yaml_get(root, "tasks"));
}

static bool
is_inbox(const struct yaml_node *root)
{
    const struct yaml_node *kind = yaml_get(root, "kind");

    return yaml_get(root, "actions") ||
           (kind && (strcmp(kind->text, "ask") == 0 ||
                     strcmp(kind->text, "apply") == 0));
}

static bool
is_job(const struct yaml_node *root)
{
    return yaml_get(root, "script") || yaml_get(root, "commands") ||
           yaml_get(root, "command") || yaml_get(root, "cmd") ||
           yaml_get(root, "kind");
}

/* In this order; each is recognized by keys that only it has. */
static const struct {
    bool (*is)(const struct yaml_node *root);
    int (*read)(struct import_text *s, const struct yaml_node *root);
} objects[] = {
    {has_task_data, formats_read_cloud_queue},
    {is_contract, formats_read_contract},
    {is_inbox, formats_read_inbox},
    {is_job, formats_read_job_json},
};

static int
read_object(struct import_text *s, const json_t *json,
            const struct yaml_node *root)
{
    if (root->kind != YAML_MAP)
        return formats_fail(s, root,
                            "a list; write one task in a file, {...}, or what "
                            "it runs as a list in \"script\"");
    if (yaml_get(root, "steps") || yaml_get(root, "prompt"))
        return formats_read_task_json(s, json, root);
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        if (objects[i].is(root))
            return objects[i].read(s, root);
    return formats_fail(s, root,
                        "not a format shunt knows; write \"script\" (a "
                        "job.json), \"steps\" or \"prompt\" (a task), "
                        "\"task_data\" (cloud-queue), \"actions\" (inbox) or "
                        "\"work_branch\" (run contract)");
}

static int
read_json(struct import_text *s)
{
    json_t *json = codec_parse_json(s->name, s->text, s->len, s->e);
    int rc;

    if (!json)
        return -1;
    s->json = true;
    rc = read_object(s, json, formats_json_tree(s, json));
    json_decref(json);
    return rc;
}

/* --- Markdown and YAML ---------------------------------------------------- */

/* Front matter and the text below it. */
struct matter {
    const char *text, *body;
    size_t len, body_len;
};

/* Whether a line consists only of that mark, ignoring blanks and CR. */
static bool
is_mark(const char *line, size_t len, const char *mark)
{
    if (len < 3 || memcmp(line, mark, 3) != 0)
        return false;
    for (size_t i = 3; i < len; i++)
        if (!strchr(" \t\r", line[i]))
            return false;
    return true;
}

/* Whether the text begins with ---; out->body is NULL if it is not closed. */
static bool
find_matter(const struct import_text *s, struct matter *out)
{
    size_t at = 0;

    *out = (struct matter){0};
    for (bool first = true; at < s->len; first = false) {
        const char *line = s->text + at;
        const char *end = memchr(line, '\n', s->len - at);
        size_t len = end ? (size_t)(end - line) : s->len - at;
        size_t next = at + len + (end != NULL);

        if (first && !is_mark(line, len, "---"))
            return false;
        if (first) {
            out->text = s->text + next;
        } else if (is_mark(line, len, "---") || is_mark(line, len, "...")) {
            out->len = (size_t)(line - out->text);
            out->body = s->text + next;
            out->body_len = s->len - next;
            return true;
        }
        at = next;
    }
    return out->text != NULL;
}

/* Whether this is delegation front matter: then the rest is a prompt, whatever
 * it contains. */
static bool
asks_an_ai(const struct yaml_node *meta)
{
    static const char *const keys[] = {"preferred_ai", "allow_delegation",
                                       "needs_claude_code", "complexity_hint",
                                       "max_cost_usd"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (yaml_get(meta, keys[i]))
            return true;
    return false;
}

static bool
is_named_markdown(const char *name)
{
    return str_ends_with(name, ".md") || str_ends_with(name, ".markdown") ||
           str_ends_with(name, ".md.delegated");
}

static int
parse_matter(struct import_text *s, const struct matter *m,
             const struct yaml_node **meta)
{
    static const struct yaml_node top = {.line = 1, .column = 1, .text = ""};

    if (!m->body)
        return formats_fail(s, &top,
                            "front matter begins here and does not end; write "
                            "--- below it");
    if (yaml_parse_part(s->name, m->text, m->len, 2, s->pool, meta, s->e) < 0)
        return -1;
    if ((*meta)->kind == YAML_MAP)
        return formats_foreign(s, *meta);
    if (!yaml_is_null(*meta))
        return formats_fail(s, *meta,
                            "front matter is written key: value, preferred_ai: "
                            "gpu say");
    *meta = NULL; /* empty */
    return 0;
}

/* A document: a prompt, or one with briefs. */
static int
read_document(struct import_text *s)
{
    static const struct yaml_node top = {.line = 1, .column = 1, .text = ""};
    const struct yaml_node *meta = NULL;
    struct block *blocks;
    struct matter m;
    size_t n;
    bool has_matter = find_matter(s, &m);

    if (has_matter && parse_matter(s, &m, &meta) < 0)
        return -1;
    if (asks_an_ai(meta))
        return formats_read_markdown(s, meta, m.body, m.body_len);
    if (blocks_find(s, &blocks, &n) < 0)
        return -1;
    if (n > 0)
        return formats_read_briefs(s, blocks, n);
    if (has_matter)
        return formats_read_markdown(s, meta, m.body, m.body_len);
    if (formats_foreign_text(s) < 0)
        return -1;
    if (is_named_markdown(s->name))
        return formats_read_markdown(s, NULL, s->text, s->len);
    return formats_fail(s, &top,
                        "not a format shunt knows; it reads JSON ({...), a "
                        "brief (executor: or a codex-brief fence), a rally "
                        "(rally:), and Markdown with front matter or the "
                        "ending .md");
}

/* Plain YAML is recognized by its first key, or by a name in .yaml. */
static int
read_text(struct import_text *s)
{
    struct block all = {s->text, s->len, 1};
    bool named =
        str_ends_with(s->name, ".yaml") || str_ends_with(s->name, ".yml");
    const struct yaml_node *root;

    if (blocks_first_key(s->text, s->len, "rally") == 1)
        return formats_read_rally(s);
    if (blocks_first_key(s->text, s->len, "executor") == 1)
        return formats_read_briefs(s, &all, 1);
    if (!named)
        return read_document(s);
    if (yaml_parse(s->name, s->text, s->len, s->pool, &root, s->e) < 0)
        return -1;
    if (yaml_get(root, "rally") || yaml_get(root, "branches"))
        return formats_read_rally(s);
    if (!yaml_get(root, "executor") && formats_foreign(s, root) < 0)
        return -1;
    return formats_read_briefs(s, &all, 1);
}

/* --- any text ------------------------------------------------------------- */

/* Skips a BOM: positions count from after it. */
static void
skip_bom(struct import_text *s)
{
    if (s->len >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0) {
        s->text += 3;
        s->len -= 3;
    }
}

/* With its mark, or without: every other byte of ASCII is NUL. */
static bool
is_utf16(const struct import_text *s)
{
    const char *c = s->text;

    return s->len >= 2 &&
           (memcmp(c, "\xff\xfe", 2) == 0 || memcmp(c, "\xfe\xff", 2) == 0 ||
            (s->len >= 4 && ((!c[0] && c[1] && !c[2] && c[3]) ||
                             (c[0] && !c[1] && c[2] && !c[3]))));
}

static int
check_text(const struct import_text *s)
{
    struct yaml_node at = {.line = 1, .column = 1};
    size_t blank = 0;

    while (blank < s->len && isspace((unsigned char)s->text[blank]))
        blank++;
    if (blank == s->len)
        return formats_fail(s, &at, "empty; write a task (docs/formats.md)");
    if (is_utf16(s))
        return formats_fail(s, &at, "UTF-16; save it as UTF-8");
    for (size_t i = 0, n; i < s->len; i += n) {
        n = str_utf8_len(s->text + i, s->len - i);
        if (n == 0 || s->text[i] == '\0')
            return formats_fail(s, &at,
                                "a byte that is not text; save it as UTF-8");
        at.column++;
        if (s->text[i] == '\n')
            at = (struct yaml_node){.line = at.line + 1, .column = 1};
    }
    return 0;
}

/* The warnings travel with the first task: whoever dropped the file, and does
 * not see what is printed here, finds them in its outcome. */
static void
add_warnings(const struct import *in)
{
    size_t n = in->n_warnings;

    in->tasks[0].warnings = in->warnings;
    in->tasks[0].n_warnings = n < TASK_WARNINGS_MOST ? n : TASK_WARNINGS_MOST;
}

/* Whether it is meant to be JSON: {{ begins a template, and [ a link. */
static bool
is_json(const struct import_text *s)
{
    size_t first = 0;
    char c, next;

    while (first < s->len && strchr(" \t\r\n", s->text[first]))
        first++;
    c = s->text[first];
    next = first + 1 < s->len ? s->text[first + 1] : ' ';
    if (c == '{' || (c == '[' && !is_named_markdown(s->name)))
        return c != next || !is_named_markdown(s->name);
    return str_ends_with(s->name, ".json") &&
           ((c == '/' && (next == '/' || next == '*')) || c == '"' ||
            c == '\'');
}

int
formats_read(const char *name, const void *data, size_t len,
             struct mem_pool *pool, struct import *out, struct err *e)
{
    struct import_text s = {
        .name = name, .len = len, .pool = pool, .out = out, .e = e};
    int rc;

    *out = (struct import){.format = ""};
    if (len > FORMATS_MAX_BYTES)
        return err_set(e, ERR_INVALID, "%s: %zu bytes; at most 1 MiB is read",
                       name, len);
    s.text = data ? data : "";
    skip_bom(&s);
    if (check_text(&s) < 0)
        return -1;
    rc = is_json(&s) ? read_json(&s) : read_text(&s);
    if (rc == 0)
        add_warnings(out);
    if (rc < 0) {
        out->format = "";
        out->tasks = NULL;
        out->n_tasks = 0;
        out->linked = false;
    }
    return rc;
}

void
formats_link(struct import *in, const char *id, struct mem_pool *pool)
{
    char fresh[TASK_ID_SIZE];

    if (!in->linked)
        return;
    task_new_id(fresh);
    for (size_t i = 0; i < in->n_tasks; i++)
        in->tasks[i].batch->id = mem_pool_strdup(pool, id ? id : fresh);
    for (size_t i = 0; i < in->n_tasks; i++) {
        task_new_id(fresh);
        in->tasks[i].id = id ? mem_pool_printf(pool, "%s-%zu", id, i + 1)
                             : mem_pool_strdup(pool, fresh);
    }
    for (size_t i = 0; i < in->n_tasks; i++) {
        struct task *t = &in->tasks[i];

        for (size_t k = 0; k < t->n_after; k++)
            t->after[k] = in->tasks[strtoul(t->after[k], NULL, 10) - 1].id;
    }
    in->linked = false;
}
