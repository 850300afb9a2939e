/*
 * Tables map our names of fields and status words to the platform's. Requests
 * are built with jansson; answers are read through dotted paths.
 */
#include "workers/secutools/platform_api.h"

#include "lib/model/money.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    DEPTH_MAX = 8, /* of a field's path */
    WORD_MAX = 64,
    LINE_MAX = 240, /* of an error for people */
};

/* Fields of answers, by our names. */
enum api_field {
    FIELD_ID,
    FIELD_STATUS,
    FIELD_PROVIDER,
    FIELD_MODEL,
    FIELD_COST,
    FIELD_CURRENCY,
    FIELD_ESTIMATED,
    FIELD_QUEUE_MS,
    FIELD_RUN_MS,
    FIELD_INPUT_TOKENS,
    FIELD_OUTPUT_TOKENS,
    FIELD_ERROR,
    FIELD_OUTPUT,
    N_FIELDS,
};

struct api_name {
    const char *ours, *theirs; /* the default of theirs */
};

static const struct api_name field_names[N_FIELDS] = {
    [FIELD_ID] = {"id", "id"},
    [FIELD_STATUS] = {"status", "status"},
    [FIELD_PROVIDER] = {"provider", "provider"},
    [FIELD_MODEL] = {"model", "model"},
    [FIELD_COST] = {"cost", "cost.amount"},
    [FIELD_CURRENCY] = {"currency", "cost.currency"},
    [FIELD_ESTIMATED] = {"estimated", "cost.estimated"},
    [FIELD_QUEUE_MS] = {"queue_ms", "queue_ms"},
    [FIELD_RUN_MS] = {"run_ms", "run_ms"},
    [FIELD_INPUT_TOKENS] = {"input_tokens", "usage.input_tokens"},
    [FIELD_OUTPUT_TOKENS] = {"output_tokens", "usage.output_tokens"},
    [FIELD_ERROR] = {"error", "error"},
    [FIELD_OUTPUT] = {"output", "output"},
};

static const struct {
    const char *word;
    enum job_status status;
} status_words[] = {
    {"queued", JOB_QUEUED},       {"pending", JOB_QUEUED},
    {"submitted", JOB_QUEUED},    {"validating", JOB_QUEUED},
    {"in_queue", JOB_QUEUED},     {"starting", JOB_QUEUED},
    {"created", JOB_QUEUED},      {"running", JOB_RUNNING},
    {"in_progress", JOB_RUNNING}, {"processing", JOB_RUNNING},
    {"finalizing", JOB_RUNNING},  {"canceling", JOB_RUNNING},
    {"cancelling", JOB_RUNNING},  {"succeeded", JOB_SUCCEEDED},
    {"completed", JOB_SUCCEEDED}, {"complete", JOB_SUCCEEDED},
    {"done", JOB_SUCCEEDED},      {"ended", JOB_SUCCEEDED},
    {"success", JOB_SUCCEEDED},   {"failed", JOB_FAILED},
    {"error", JOB_FAILED},        {"errored", JOB_FAILED},
    {"incomplete", JOB_FAILED},   {"timed_out", JOB_FAILED},
    {"expired", JOB_FAILED},      {"cancelled", JOB_CANCELLED},
    {"canceled", JOB_CANCELLED},  {"aborted", JOB_CANCELLED},
};

/* Fields of submissions, by our names. */
enum request_field {
    REQUEST_TASK,
    REQUEST_PROVIDER,
    REQUEST_PROMPT,
    REQUEST_HINT,
    REQUEST_MOST,
    REQUEST_PRIORITY,
    REQUEST_TIMEOUT,
    REQUEST_METADATA,
    REQUEST_CALLBACK,
    N_REQUEST_FIELDS,
};

static const struct api_name request_names[N_REQUEST_FIELDS] = {
    [REQUEST_TASK] = {"task_id", "task_id"},
    [REQUEST_PROVIDER] = {"provider", "provider"},
    [REQUEST_PROMPT] = {"prompt", "prompt"},
    [REQUEST_HINT] = {"complexity_hint", "complexity_hint"},
    [REQUEST_MOST] = {"max_cost_usd", "max_cost_usd"},
    [REQUEST_PRIORITY] = {"priority", "priority"},
    [REQUEST_TIMEOUT] = {"timeout_s", "timeout_s"},
    [REQUEST_METADATA] = {"metadata", "metadata"},
    [REQUEST_CALLBACK] = {"callback_url", "callback_url"},
};

struct platform_api {
    const struct platform_api_conf *conf;
    const char *paths[N_FIELDS];
    const char *request[N_REQUEST_FIELDS]; /* theirs; "": not sent */
};

/* --- configuration -------------------------------------------------------- */

/* The status with that name of ours. */
static bool
own_word(const char *word, enum job_status *out)
{
    static const char *const words[] = {
        [JOB_QUEUED] = "queued",       [JOB_RUNNING] = "running",
        [JOB_SUCCEEDED] = "succeeded", [JOB_FAILED] = "failed",
        [JOB_CANCELLED] = "cancelled",
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0) {
            *out = (enum job_status)i;
            return true;
        }
    return false;
}

/* Takes entries NAME=THEIRS into out, by the position of NAME in the table. */
static int
set_names(char *const *entries, const struct api_name *table, size_t n,
          bool may_be_empty, const char **out, const char *key,
          const char *form, struct err *e)
{
    for (; *entries; entries++) {
        const char *eq = strchr(*entries, '=');
        size_t len = eq ? (size_t)(eq - *entries) : 0, i = 0;

        while (i < n && (strncmp(*entries, table[i].ours, len) != 0 ||
                         table[i].ours[len]))
            i++;
        if (!eq || i == n || (!eq[1] && !may_be_empty))
            return err_set(e, ERR_INVALID,
                           "secutools.%s: \"%s\" is not %s with one of the "
                           "names in docs/secutools.md",
                           key, *entries, form);
        out[i] = eq + 1;
    }
    return 0;
}

/* Whether text is a header's name. */
static int
check_header(const char *key, const char *name, struct err *e)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                            "WXYZ0123456789-_");

    if (n > 0 && n <= WORD_MAX && !name[n])
        return 0;
    return err_set(e, ERR_INVALID, "secutools.%s: \"%s\" is not a header name",
                   key, name);
}

static int
check_word(const char *entry, struct err *e)
{
    const char *eq = strchr(entry, '=');
    enum job_status status;

    if (eq && eq > entry && own_word(eq + 1, &status))
        return 0;
    return err_set(e, ERR_INVALID,
                   "secutools.status_words: \"%s\" is not WORD=STATUS with "
                   "queued, running, succeeded, failed or cancelled",
                   entry);
}

static int
check_path(const char *key, const char *path, bool needs_id, struct err *e)
{
    if (path[0] != '/')
        return err_set(e, ERR_INVALID, "secutools.%s: \"%s\" begins with /",
                       key, path);
    if (needs_id && !strstr(path, "{id}"))
        return err_set(e, ERR_INVALID,
                       "secutools.%s: \"%s\" has no {id} for the job", key,
                       path);
    return 0;
}

int
platform_api_open(struct platform_api **out,
                  const struct platform_api_conf *conf, struct err *e)
{
    struct platform_api *c;

    if (strncmp(conf->url, "https://", 8) != 0 &&
        strncmp(conf->url, "http://", 7) != 0)
        return err_set(e, ERR_INVALID,
                       "secutools.url: \"%s\" is not the platform's address, "
                       "https://...",
                       conf->url);
    if (strchr(conf->url, '@') || strpbrk(conf->url, " ?#"))
        return err_set(e, ERR_INVALID,
                       "secutools.url: no credentials and no query in it; the "
                       "key comes from SECUTOOLS_API_KEY");
    if (check_path("submit_path", conf->submit_path, false, e) < 0 ||
        check_path("job_path", conf->job_path, true, e) < 0 ||
        check_path("result_path", conf->result_path, true, e) < 0 ||
        check_path("cancel_path", conf->cancel_path, true, e) < 0 ||
        check_header("idempotency_header", conf->key_header, e) < 0 ||
        check_header("auth_header", conf->auth_header, e) < 0 ||
        (*conf->request_header &&
         check_header("request_header", conf->request_header, e) < 0))
        return -1;
    for (size_t i = 0; conf->status_words[i]; i++)
        if (check_word(conf->status_words[i], e) < 0)
            return -1;
    c = MEM_NEW(struct platform_api);
    c->conf = conf;
    for (size_t i = 0; i < N_FIELDS; i++)
        c->paths[i] = field_names[i].theirs;
    for (size_t i = 0; i < N_REQUEST_FIELDS; i++)
        c->request[i] = request_names[i].theirs;
    if (set_names(conf->fields, field_names, N_FIELDS, false, c->paths,
                  "fields", "NAME=PATH", e) < 0 ||
        set_names(conf->request_fields, request_names, N_REQUEST_FIELDS, true,
                  c->request, "request_fields", "NAME=THEIRS", e) < 0) {
        platform_api_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

void
platform_api_close(struct platform_api *c)
{
    mem_free(c);
}

/* --- requests ------------------------------------------------------------- */

/* Percent-encodes an id, so that it stays one part of the path. */
static void
add_escaped(struct str *out, const char *text)
{
    for (; *text; text++) {
        unsigned char ch = (unsigned char)*text;

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
            (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' || ch == '~')
            str_add(out, text, 1);
        else
            str_addf(out, "%%%02X", ch);
    }
}

void
platform_api_url(const struct platform_api *c, enum platform_api_call call,
                 const char *id, struct str *out)
{
    const char *const paths[] = {
        [CALL_SUBMIT] = c->conf->submit_path,
        [CALL_JOB] = c->conf->job_path,
        [CALL_RESULT] = c->conf->result_path,
        [CALL_CANCEL] = c->conf->cancel_path,
    };
    const char *path = paths[call], *hole = strstr(path, "{id}");
    size_t base = strlen(c->conf->url);

    while (base && c->conf->url[base - 1] == '/')
        base--;
    str_add(out, c->conf->url, base);
    if (!hole || !id) {
        str_addz(out, path);
        return;
    }
    str_add(out, path, (size_t)(hole - path));
    add_escaped(out, id);
    str_addz(out, hole + 4);
}

void
platform_api_key(const char *task, uint32_t failed,
                 char out[PLATFORM_API_KEY_SIZE])
{
    (void)snprintf(out, PLATFORM_API_KEY_SIZE, "%.40s:%" PRIu32, task, failed);
}

/* Takes ownership of value. */
static void
set(json_t *o, const char *key, json_t *value)
{
    if (*key)
        (void)json_object_set_new(o, key, value);
    else
        json_decref(value);
}

static void
set_text(json_t *o, const char *key, const char *value)
{
    if (*value)
        set(o, key, json_string(value));
}

static json_t *
metadata(const struct task *t)
{
    json_t *m = json_object();

    set_text(m, "name", t->name);
    set_text(m, "project", t->project);
    set_text(m, "team", t->team);
    set_text(m, "repo", t->repo);
    set_text(m, "branch", t->branch);
    set_text(m, "origin", t->origin);
    return m;
}

void
platform_api_request(const struct platform_api *c, const struct task *t,
                     const char *provider, const char *key, struct str *out)
{
    const struct delegation *d = t->delegation;
    json_t *o = json_object();
    struct str callback = {0};
    char *text;

    set_text(o, c->request[REQUEST_TASK], t->id);
    set_text(o, c->request[REQUEST_PROVIDER], provider);
    set_text(o, c->request[REQUEST_PROMPT], t->prompt);
    if (d) {
        set_text(o, c->request[REQUEST_HINT], d->complexity_hint);
        set_text(o, c->request[REQUEST_MOST], d->max_cost_usd);
    }
    if (t->priority > 0)
        set(o, c->request[REQUEST_PRIORITY],
            json_integer(t->priority < 9 ? t->priority : 9));
    if (t->timeout_ms)
        set(o, c->request[REQUEST_TIMEOUT],
            json_integer((json_int_t)((t->timeout_ms + 999) / 1000)));
    set(o, c->request[REQUEST_METADATA], metadata(t));
    if (*c->conf->callback_url)
        str_addf(&callback, "%s/%s", c->conf->callback_url, key);
    set_text(o, c->request[REQUEST_CALLBACK], str_text(&callback));
    str_free(&callback);
    text = json_dumps(o, JSON_COMPACT);
    if (text)
        str_addz(out, text);
    free(text);
    json_decref(o);
}

/* --- answers -------------------------------------------------------------- */

/* The value at a dotted path, or NULL. */
static const json_t *
at_path(const json_t *o, const char *path)
{
    char key[WORD_MAX + 1];

    for (int depth = 0; depth < DEPTH_MAX && json_is_object(o); depth++) {
        size_t len = strcspn(path, ".");

        if (len > WORD_MAX)
            return NULL;
        memcpy(key, path, len);
        key[len] = '\0';
        o = json_object_get(o, key);
        if (!path[len])
            return o;
        path += len + 1;
    }
    return NULL;
}

static const json_t *
field(const struct platform_api *c, const json_t *o, enum api_field f)
{
    return at_path(o, c->paths[f]);
}

/* A value as one line of text; numbers as JSON writes them. */
static const char *
text_of(const json_t *v, size_t max, struct mem_pool *pool)
{
    if (json_is_integer(v))
        return mem_pool_printf(pool, "%" JSON_INTEGER_FORMAT,
                               json_integer_value(v));
    if (!json_is_string(v) || json_string_length(v) > max ||
        strlen(json_string_value(v)) != json_string_length(v))
        return "";
    return mem_pool_strdup(pool, json_string_value(v));
}

static int64_t
count_of(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0
               ? (int64_t)json_integer_value(v)
               : -1;
}

static enum job_status
status_of(const struct platform_api *c, const char *word)
{
    enum job_status status = JOB_RUNNING;

    for (size_t i = 0; c->conf->status_words[i]; i++) {
        const char *entry = c->conf->status_words[i];
        size_t len = strcspn(entry, "=");

        if (strlen(word) == len && strncasecmp(entry, word, len) == 0) {
            (void)own_word(entry + len + 1, &status);
            return status;
        }
    }
    for (size_t i = 0; i < sizeof status_words / sizeof *status_words; i++)
        if (strcasecmp(word, status_words[i].word) == 0)
            return status_words[i].status;
    return JOB_RUNNING;
}

/* Only dollars: a sum of several currencies means nothing. A JSON number is
 * printed with the digits it needs and never added up as a double. */
static const char *
cost_of(const struct platform_api *c, const json_t *o, struct mem_pool *pool)
{
    const json_t *v = field(c, o, FIELD_COST);
    const char *currency = text_of(field(c, o, FIELD_CURRENCY), 8, pool);
    char text[MONEY_SIZE], number[48];
    int64_t nano;

    if (*currency && strcasecmp(currency, "USD") != 0)
        return "";
    if (json_is_real(v))
        (void)snprintf(number, sizeof number, "%.12f", json_real_value(v));
    else
        (void)str_copy(number, sizeof number,
                       text_of(v, sizeof number - 1, pool));
    if (!money_read(number, &nano))
        return "";
    return mem_pool_strdup(pool, money_text(nano, text));
}

/* Shortens text to one printable line. */
static const char *
one_line(const char *text, struct mem_pool *pool)
{
    char *line = mem_pool_printf(pool, "%.*s", LINE_MAX, text);

    for (char *at = line; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            *at = ' ';
    return line;
}

/* {"error": {...}}, {"error": "text"} or {"message": "text"}; "" if neither. */
static const char *
error_of(const json_t *error, const json_t *o, struct mem_pool *pool)
{
    const char *text, *code = "";

    if (json_is_object(error)) {
        text = text_of(json_object_get(error, "message"), 1 << 16, pool);
        code = text_of(json_object_get(error, "code"), WORD_MAX, pool);
        if (!*text)
            text = text_of(json_object_get(error, "type"), WORD_MAX, pool);
    } else {
        text = text_of(error, 1 << 16, pool);
        if (!*text)
            text = text_of(json_object_get(o, "message"), 1 << 16, pool);
    }
    if (!*text && !*code)
        return "";
    if (!*text)
        return one_line(code, pool);
    text = one_line(text, pool);
    return *code ? mem_pool_printf(pool, "%s (%s)", text, one_line(code, pool))
                 : text;
}

static json_t *
parse(const char *body, size_t len, size_t max)
{
    if (len > max)
        return NULL;
    return json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
}

static bool
is_clean(const char *id)
{
    for (; *id; id++)
        if ((unsigned char)*id <= ' ' || (unsigned char)*id >= 127)
            return false;
    return true;
}

static int
read_job(const struct platform_api *c, const json_t *o, struct mem_pool *pool,
         struct job_view *out, struct err *e)
{
    *out = (struct job_view){.status = JOB_RUNNING};
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "the answer is no JSON object");
    out->id = text_of(field(c, o, FIELD_ID), PLATFORM_API_ID_MAX, pool);
    out->word = text_of(field(c, o, FIELD_STATUS), WORD_MAX, pool);
    if (!*out->id || !is_clean(out->id))
        return err_set(e, ERR_INVALID, "the answer names no job (%s)",
                       c->paths[FIELD_ID]);
    if (!*out->word)
        return err_set(e, ERR_INVALID, "the answer says no status (%s)",
                       c->paths[FIELD_STATUS]);
    out->status = status_of(c, out->word);
    out->provider = text_of(field(c, o, FIELD_PROVIDER), 31, pool);
    out->model = text_of(field(c, o, FIELD_MODEL), WORD_MAX, pool);
    out->cost_usd = cost_of(c, o, pool);
    out->cost_estimated = json_is_true(field(c, o, FIELD_ESTIMATED));
    out->queue_ms = count_of(field(c, o, FIELD_QUEUE_MS));
    out->run_ms = count_of(field(c, o, FIELD_RUN_MS));
    out->input_tokens = count_of(field(c, o, FIELD_INPUT_TOKENS));
    out->output_tokens = count_of(field(c, o, FIELD_OUTPUT_TOKENS));
    out->error = error_of(field(c, o, FIELD_ERROR), NULL, pool);
    return 0;
}

int
platform_api_read_job(const struct platform_api *c, const char *body,
                      size_t len, struct mem_pool *pool, struct job_view *out,
                      struct err *e)
{
    json_t *o = parse(body, len, PLATFORM_API_JOB_MAX);
    int rc = read_job(c, o, pool, out, e);

    json_decref(o);
    return rc;
}

int
platform_api_read_result(const struct platform_api *c, const char *body,
                         size_t len, struct mem_pool *pool, struct bytes *out,
                         struct err *e)
{
    json_t *o = parse(body, len, PLATFORM_API_RESULT_MAX);
    const json_t *v = json_is_object(o) ? field(c, o, FIELD_OUTPUT) : NULL;
    bool found = v;
    char *text = NULL;

    *out = (struct bytes){(const uint8_t *)"", 0};
    if (json_is_string(v)) {
        out->len = json_string_length(v);
        out->data = (const uint8_t *)mem_pool_strndup(
            pool, json_string_value(v), out->len);
    } else if (v && (text = json_dumps(v, JSON_INDENT(2) | JSON_ENCODE_ANY))) {
        out->len = strlen(text);
        out->data = (const uint8_t *)mem_pool_strdup(pool, text);
    }
    free(text);
    json_decref(o);
    return found ? 0
                 : err_set(e, ERR_INVALID, "the result has no output (%s)",
                           c->paths[FIELD_OUTPUT]);
}

const char *
platform_api_read_error(int status, const char *body, size_t len,
                        struct mem_pool *pool)
{
    json_t *o = parse(body, len, PLATFORM_API_JOB_MAX);
    const char *text =
        json_is_object(o) ? error_of(json_object_get(o, "error"), o, pool) : "";

    json_decref(o);
    return *text ? mem_pool_printf(pool, "HTTP %d: %s", status, text)
                 : mem_pool_printf(pool, "HTTP %d", status);
}
