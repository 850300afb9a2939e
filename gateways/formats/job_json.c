/*
 * job_json - seed 2's job file: id, kind, workdir, script, dod, report_path.
 */
#include "gateways/formats/formats_private.h"

#include "lib/dod.h"

#include <string.h>

static const char *
type_word(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "?";
}

/* The text of a key, "" if it is missing or null. NULL and e: no text. */
static const char *
text_of(const struct source *s, const json_t *json, const char *key,
        struct err *e)
{
    const json_t *v = json_object_get(json, key);

    if (!v || json_is_null(v))
        return "";
    if (json_is_string(v))
        return mem_pool_strdup(s->pool, json_string_value(v));
    (void)formats_key_error(s, key, e, "expected text, found %s", type_word(v));
    return NULL;
}

static int
check_kind(const struct source *s, const json_t *json, struct err *e)
{
    const char *kind = text_of(s, json, "kind", e);

    if (!kind)
        return -1;
    if (!*kind || strcmp(kind, "run_shell") == 0)
        return 0;
    return formats_key_error(s, "kind", e,
                             "'%.60s' is unknown; accepted is run_shell", kind);
}

/* One entry, a shell of its own, named by its number. */
static int
read_entry(const struct source *s, const json_t *entry, size_t i,
           const char *key, struct step *out, struct err *e)
{
    const char *text = json_string_value(entry);

    if (!text)
        return formats_key_error(s, key, e, "expected text, found %s",
                                 type_word(entry));
    if (strspn(text, " \t\r\n") == strlen(text))
        return formats_key_error(s, key, e, "empty; write a shell command");
    *out = (struct step){.name = mem_pool_printf(s->pool, "%zu", i + 1),
                         .kind = STEP_SHELL,
                         .script = mem_pool_strdup(s->pool, text),
                         .workdir = ""};
    return 0;
}

static int
read_script(const struct source *s, const json_t *json, struct task *t,
            struct err *e)
{
    const json_t *script = json_object_get(json, "script");
    size_t n = json_is_array(script) ? json_array_size(script) : 1;

    if (!script || n == 0)
        return formats_key_error(s, "script", e,
                                 "missing; write a list of shell commands");
    if (!json_is_array(script) && !json_is_string(script))
        return formats_key_error(s, "script", e,
                                 "expected a list of shell commands, found %s",
                                 type_word(script));
    if (n > TASK_MAX_STEPS)
        return formats_key_error(s, "script", e, "%zu entries; at most %d", n,
                                 TASK_MAX_STEPS);
    t->steps = mem_pool_alloc(s->pool, n * sizeof *t->steps);
    t->n_steps = n;
    if (json_is_string(script))
        return read_entry(s, script, 0, "script", &t->steps[0], e);
    for (size_t i = 0; i < n; i++)
        if (read_entry(s, json_array_get(script, i), i,
                       mem_pool_printf(s->pool, "script[%zu]", i), &t->steps[i],
                       e) < 0)
            return -1;
    return 0;
}

static void
warn_unknown(struct source *s, const json_t *json)
{
    static const char *const known[] = {"id",     "kind", "workdir",
                                        "script", "dod",  "report_path"};
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json, key, value)
    {
        bool found = false;

        (void)value;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found)
            formats_warn(s, key, "%.60s: unknown key, ignored", key);
    }
}

int
formats_read_job_json(struct source *s, const json_t *json, struct err *e)
{
    struct task *t = formats_new_task(s, "job.json");

    warn_unknown(s, json);
    if (check_kind(s, json, e) < 0 || read_script(s, json, t, e) < 0)
        return -1;
    /* The id names the job for people: the task gets one of its own, so that
     * the same file put into the queue again is new work. */
    t->name = text_of(s, json, "id", e);
    if (!t->name)
        return -1;
    t->workdir = text_of(s, json, "workdir", e); /* "~" is the worker's */
    if (!t->workdir)
        return -1;
    t->dod = text_of(s, json, "dod", e);
    if (!t->dod)
        return -1;
    if (dod_check(t->dod, e) < 0)
        return formats_key_error(s, "dod", e, "%s", e->msg);
    t->report_path = text_of(s, json, "report_path", e);
    if (!t->report_path)
        return -1;
    return task_check(t, e) < 0 ? err_wrap(e, "%s", s->name) : 0;
}
