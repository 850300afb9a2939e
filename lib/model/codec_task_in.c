/*
 * Reads what arrives on tasks.in and tasks.bulk, protobuf or JSON, and messages
 * of several members. A task that is refused keeps the fields that identify it,
 * and a key that a task does not have is told to its submitter.
 */
#include "lib/model/codec_private.h"

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <ctype.h>
#include <string.h>

/* --- tasks.in ------------------------------------------------------------- */

static const char bom[] = {'\xef', '\xbb', '\xbf'};

/* No protobuf message begins with '{' or a byte order mark: both would be
 * invalid wire types. */
static bool
is_json(const void *data, size_t len)
{
    const char *text = data;

    return (len >= sizeof bom && memcmp(text, bom, sizeof bom) == 0) ||
           (len > 0 && text[0] == '{');
}

/* Whether they are the same but for case, - and _. */
static bool
is_same_key(const char *key, const char *name)
{
    for (;; key++, name++) {
        key += strspn(key, "-_");
        name += strspn(name, "-_");
        if (tolower((unsigned char)*key) != *name)
            return false;
        if (!*name)
            return true;
    }
}

const char *
codec_delegation_key(const char *path)
{
    const struct codec_row *row = codec_table(CODEC_TASK)->rows;
    const char *dot = strrchr(path, '.'), *key = dot ? dot + 1 : path;

    while (strcmp(row->name, "delegation") != 0)
        row++;
    for (size_t i = 0; i < row->sub->n_rows; i++)
        if (is_same_key(key, row->sub->rows[i].name))
            return row->sub->rows[i].name;
    return NULL;
}

struct unknown_keys {
    struct task *t;
    struct mem_pool *pool;
    const char *misplaced; /* the first key of delegation beside it, or NULL */
};

/* A key that a task does not have is told to its submitter. */
static void
on_unknown(void *ctx, const char *path)
{
    enum { PATH_SHOWN = 100 };
    struct unknown_keys *u = ctx;
    struct task *t = u->t;
    struct str text = {0};
    const char **grown;

    if (!u->misplaced)
        u->misplaced = codec_delegation_key(path);
    if (t->n_warnings >= TASK_WARNINGS_MOST)
        return;
    str_add_printable(&text, path,
                      str_utf8_cut(path, strlen(path), PATH_SHOWN));
    str_addz(&text, ": unknown key, ignored");
    grown = mem_pool_alloc(u->pool, (t->n_warnings + 1) * sizeof *grown);
    if (t->n_warnings)
        memcpy(grown, t->warnings, t->n_warnings * sizeof *grown);
    grown[t->n_warnings++] = mem_pool_strdup(u->pool, str_text(&text));
    t->warnings = grown;
    str_free(&text);
}

static int
read_task_json(const void *data, size_t len, struct mem_pool *pool,
               struct task *t, struct err *e)
{
    const struct codec_table *table = codec_table(CODEC_TASK);
    struct unknown_keys unknown = {.t = t, .pool = pool};
    json_t *json;
    int rc;

    if (len > table->most)
        return err_set(e, ERR_INVALID,
                       "task: %zu bytes, at most %zu; put large text in a file",
                       len, table->most);
    json = codec_parse_json("task", data, len, e);
    if (!json)
        return -1;
    rc = codec_table_from_json(table, true, json, pool, t, on_unknown, &unknown,
                               e);
    json_decref(json);
    if (rc == 0 && unknown.misplaced)
        return err_set(e, ERR_INVALID,
                       "%s: a task has it in delegation; write "
                       "\"delegation\": {\"%s\": ...}",
                       unknown.misplaced, unknown.misplaced);
    return rc;
}

static const char *
token_or_none(const char *s)
{
    return s && subject_token_ok(s) ? s : "";
}

/* Keeps of a refused task the fields that identify it, where they are valid. */
static void
keep_names(struct task *t, struct mem_pool *pool)
{
    struct task kept;
    size_t len = strlen(t->name);

    codec_init(CODEC_TASK, &kept);
    kept.id = token_or_none(t->id);
    kept.source = token_or_none(t->source);
    kept.submitted_at_ms = t->submitted_at_ms;
    if (len <= 256 && codec_clean_length(t->name, len) == len)
        kept.name = t->name;
    if (t->batch && *token_or_none(t->batch->id)) {
        kept.batch = mem_pool_alloc(pool, sizeof *kept.batch);
        *kept.batch = (struct batch_ref){.id = t->batch->id,
                                         .name = "",
                                         .index = t->batch->index,
                                         .size = t->batch->size,
                                         .branch = ""};
    }
    *t = kept;
}

int
codec_decode_task_in(const void *data, size_t len, struct mem_pool *pool,
                     struct task *t, struct err *e)
{
    int rc;

    codec_init(CODEC_TASK, t);
    if (is_json(data, len))
        rc = read_task_json(data, len, pool, t, e);
    else
        rc = codec_table_read(codec_table(CODEC_TASK), data, len, pool, t, e);
    if (rc == 0)
        rc = task_check(t, e);
    if (rc < 0)
        keep_names(t, pool);
    return rc;
}

/* --- several tasks, routed tasks or results in one message ---------------- */

void
codec_multi_add(enum codec_type type, struct str *message, const void *member,
                size_t len)
{
    codec_table_add(codec_table(type), message, member, len);
}

/* Converts the JSON form to a message whose members are JSON text. */
static int
split_json(struct codec_multi *b, const void *data, size_t len, struct err *e)
{
    json_t *json = codec_parse_json("tasks", data, len, e), *list, *member;
    struct str text = {0};
    size_t i;
    int rc = -1;

    if (!json)
        return -1;
    list = json_object_get(json, "tasks");
    if (list && !json_is_array(list)) {
        err_set(e, ERR_INVALID, "tasks: must be an array");
        goto out;
    }
    json_array_foreach(list, i, member)
    {
        char *dump = json_dumps(member, JSON_COMPACT | JSON_ENCODE_ANY);

        /* A member that is not an object must not pass for protobuf. */
        str_reset(&text);
        if (!json_is_object(member))
            str_add(&text, bom, sizeof bom);
        str_addz(&text, dump ? dump : "");
        codec_multi_add(b->type, &b->own, text.data, text.len);
        mem_free(dump);
    }
    rc = 0;
out:
    str_free(&text);
    json_decref(json);
    return rc;
}

/* Counts the members; an error if there is anything else. */
static int
count_members(struct codec_multi *b, size_t len, struct err *e)
{
    const struct codec_table *t = codec_table(b->type);
    const uint8_t *at = b->at;
    struct bytes member;
    int rc;

    while ((rc = codec_table_element(t, &at, b->end, &member)) > 0)
        b->count++;
    if (rc < 0)
        return err_set(e, ERR_INVALID,
                       "%s: these %zu bytes are not a valid protobuf message",
                       t->name, len);
    if (b->count == 0)
        return err_set(e, ERR_INVALID, "%s: the message is empty", t->name);
    if (b->count > TASK_MULTI_MOST)
        return err_set(e, ERR_INVALID,
                       "%s: %zu elements, at most %d; split it up", t->name,
                       b->count, TASK_MULTI_MOST);
    return 0;
}

int
codec_multi_open(struct codec_multi *b, enum codec_type type, const void *data,
                 size_t len, struct err *e)
{
    const struct codec_table *t = codec_table(type);

    *b = (struct codec_multi){.type = type};
    if (len > t->most)
        return err_set(e, ERR_INVALID,
                       "%s: %zu bytes, at most %zu; split it up", t->name, len,
                       t->most);
    if (type == CODEC_TASKS && is_json(data, len)) {
        if (split_json(b, data, len, e) < 0)
            goto fail;
        data = str_text(&b->own);
        len = b->own.len;
    }
    b->at = b->end = data;
    if (len)
        b->end += len;
    if (type != CODEC_TASKS && !codec_table_leads(t, data, len)) {
        b->alone = true;
        b->count = 1;
        return 0;
    }
    if (count_members(b, len, e) == 0)
        return 0;
fail:
    codec_multi_close(b);
    return -1;
}

bool
codec_multi_next(struct codec_multi *b, struct bytes *out)
{
    if (b->alone && b->number == 0)
        *out = (struct bytes){b->at, (size_t)(b->end - b->at)};
    else if (b->alone || codec_table_element(codec_table(b->type), &b->at,
                                             b->end, out) <= 0)
        return false;
    b->number++;
    return true;
}

void
codec_multi_close(struct codec_multi *b)
{
    str_free(&b->own);
    *b = (struct codec_multi){0};
}
