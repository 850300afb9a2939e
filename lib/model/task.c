/*
 * Ids of tasks and results, the checks that concern several fields of a task,
 * the values of fields that the submitter left out, and the one-line summary.
 */
#include "lib/model/task.h"

#include "lib/base/hash.h"
#include "lib/base/log.h"
#include "lib/base/mask.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/dod.h"
#include "lib/model/subject.h"
#include "lib/model/task_name.h"

#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    NEW_ID_LENGTH = 16,
    TICK_LENGTH = 3, /* of them: a count of ticks, which wraps around */
    TICK_MS = 128,   /* after 70 minutes */
    RETRIES_MAX = 100,
};

static const uint64_t TIMEOUT_MAX_MS = 30ULL * 86400 * 1000;

/* --- ids ------------------------------------------------------------------ */

void
task_new_id(char out[TASK_ID_SIZE])
{
    uint64_t tick = (uint64_t)str_wall_ms() / TICK_MS;

    str_random(out, NEW_ID_LENGTH + 1);
    for (int i = TICK_LENGTH - 1; i >= 0; i--, tick /= 32)
        out[i] = STR_BASE32[tick % 32];
}

/* Two hashes of different construction, together 128 bits. */
struct twin_hash {
    uint64_t a, b;
};

static void
twin_add(struct twin_hash *h, const void *data, size_t len)
{
    const unsigned char *p = data;

    h->a = hash_add(h->a, data, len);
    for (size_t i = 0; i < len; i++) {
        h->b = (h->b + p[i]) * 0x9e3779b97f4a7c15U;
        h->b ^= h->b >> 29;
    }
}

/* The same bytes on every machine. */
static void
twin_add_u64(struct twin_hash *h, uint64_t v)
{
    unsigned char raw[8];

    for (int i = 0; i < 8; i++)
        raw[i] = (unsigned char)(v >> 8 * i);
    twin_add(h, raw, sizeof raw);
}

/* Spreads each bit over the whole word (the finalizer of MurmurHash3). */
static uint64_t
spread(uint64_t v)
{
    v = (v ^ v >> 33) * 0xff51afd7ed558ccdU;
    v = (v ^ v >> 33) * 0xc4ceb9fe1a85ec53U;
    return v ^ v >> 33;
}

void
task_id_from_message(uint64_t seq, int64_t stored_at_ms, const void *data,
                     size_t len, char out[TASK_ID_SIZE])
{
    struct twin_hash h = {HASH_EMPTY, 0x2545f4914f6cdd1dU};

    twin_add_u64(&h, seq);
    twin_add_u64(&h, (uint64_t)stored_at_ms);
    twin_add(&h, data, len);
    h.a = spread(h.a);
    h.b = spread(h.b ^ h.a);
    for (int i = 0; i < NEW_ID_LENGTH; i++) {
        uint64_t *from = i < NEW_ID_LENGTH / 2 ? &h.a : &h.b;

        out[i] = STR_BASE32[*from % 32];
        *from /= 32;
    }
    out[NEW_ID_LENGTH] = '\0';
}

void
task_id_of_member(const char *message_id, size_t number, char out[TASK_ID_SIZE])
{
    task_id_from_message(number, 0, message_id, strlen(message_id), out);
}

const char *
task_result_id(const struct result *r, char out[RESULT_ID_SIZE])
{
    (void)snprintf(out, RESULT_ID_SIZE, "%s:%u%s%.8s", r->task, r->attempt,
                   *r->nonce ? ":" : "", r->nonce);
    return out;
}

bool
task_has_exit_code(const struct result *r)
{
    return r->attempt > 0 && !r->no_exit_code && r->state != STATE_LOST &&
           r->state != STATE_DEAD && r->state != STATE_UNKNOWN;
}

/* --- checks --------------------------------------------------------------- */

static int
check_token(const char *field, const char *text, struct err *e)
{
    if (*text == '\0' || subject_token_ok(text))
        return 0;
    return err_set(e, ERR_INVALID,
                   "%s: \"%s\" cannot be a name on the bus; use letters, "
                   "digits, _ and -, at most %d",
                   field, LOG_TEXT(text), SUBJECT_TOKEN_MAX);
}

static int
check_line(const char *field, const char *text, struct err *e)
{
    if (!text[strcspn(text, "\n\r\t")])
        return 0;
    return err_set(e, ERR_INVALID, "%s: must be a single line", field);
}

static int
check_timeout(const char *field, uint64_t ms, struct err *e)
{
    if (ms <= TIMEOUT_MAX_MS)
        return 0;
    return err_set(e, ERR_INVALID, "%s: longer than 30 days; write 0 for none",
                   field);
}

static int
check_path(const char *field, const char *path, struct err *e)
{
    if (*path == '/')
        return err_set(e, ERR_INVALID,
                       "%s: \"%s\" is absolute; write a path below the "
                       "reports folder",
                       field, LOG_TEXT(path));
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");

        if (len == 2 && strncmp(p, "..", 2) == 0)
            return err_set(e, ERR_INVALID,
                           "%s: \"%s\" leaves its folder; remove \"..\"", field,
                           LOG_TEXT(path));
        p += len + (p[len] == '/');
    }
    return 0;
}

/* A report is a file, and none of a repository's own. */
static int
check_report_path(const char *path, struct err *e)
{
    const char *name = path;

    if (check_path("report_path", path, e) < 0)
        return -1;
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");

        if (len == 4 && strncasecmp(p, ".git", 4) == 0)
            return err_set(e, ERR_INVALID,
                           "report_path: \"%s\" leads into the repository's "
                           "own folder; write a path outside of .git",
                           LOG_TEXT(path));
        name = p;
        p += len + (p[len] == '/');
    }
    if (!*path || (path[strlen(path) - 1] != '/' && strcmp(name, ".") != 0))
        return 0;
    return err_set(e, ERR_INVALID,
                   "report_path: \"%s\" names a folder; add the name of a "
                   "file, like report.md",
                   LOG_TEXT(path));
}

static int
check_backend(const char *backend, struct err *e)
{
    static const char *const known[] = {"", "local", "codespace", "secutools"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(backend, known[i]) == 0)
            return 0;
    return err_set(e, ERR_INVALID,
                   "backend: \"%s\" is unknown; write local, codespace or "
                   "secutools, or leave it out",
                   LOG_TEXT(backend));
}

/* What is wrong with a step's text for its kind, or NULL. */
static const char *
step_fault(const struct step *s)
{
    bool script = *s->script != '\0', argv = s->n_argv > 0;

    switch (s->kind) {
    case STEP_UNSPECIFIED:
    case STEP_SHELL:
    case STEP_PYTHON:
    case STEP_MAKE:
        if (argv)
            return "has argv; set its kind to argv, or write a script";
        return script ? NULL : "has no script; write what it is to run";
    case STEP_ARGV:
        if (script)
            return "has a script; set its kind to shell, or write argv";
        return argv && *s->argv[0] ? NULL : "names no program in argv";
    case STEP_KUBECTL:
        if (script && argv)
            return "has both script and argv; keep one";
        return script || argv ? NULL : "has no arguments; write argv";
    }
    return NULL;
}

static int
check_steps(const struct task *t, struct err *e)
{
    char field[64];

    if (t->n_steps > 0 && *t->prompt)
        return err_set(e, ERR_INVALID,
                       "steps: given together with prompt; keep one of them");
    if (t->n_steps == 0 && !*t->prompt)
        return err_set(e, ERR_INVALID,
                       "steps: missing; write what to run, or a prompt");
    for (size_t i = 0; i < t->n_steps; i++) {
        const char *fault = step_fault(&t->steps[i]);

        if (fault)
            return err_set(e, ERR_INVALID, "steps[%zu]: %s", i, fault);
        (void)snprintf(field, sizeof field, "steps[%zu].timeout_ms", i);
        if (check_timeout(field, t->steps[i].timeout_ms, e) < 0)
            return -1;
    }
    return 0;
}

static bool
env_name_ok(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_')
            return false;
    return true;
}

static int
check_unique(const char *field, const struct key_value *kv, size_t n,
             struct err *e)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(kv[i].key, kv[k].key) == 0)
                return err_set(e, ERR_INVALID,
                               "%s: \"%s\" is given twice; keep one", field,
                               LOG_TEXT(kv[i].key));
    return 0;
}

static int
check_env(const struct task *t, struct err *e)
{
    for (size_t i = 0; i < t->n_env; i++) {
        const char *key = t->env[i].key;

        if (!env_name_ok(key))
            return err_set(
                e, ERR_INVALID,
                "env: \"%s\" is not a variable name; use letters, digits "
                "and _, not a digit first",
                LOG_TEXT(key));
        if (strncmp(key, "SHUNT_", 6) == 0 && strcmp(key, "SHUNT_LINE") != 0)
            return err_set(e, ERR_INVALID,
                           "env: %s is set by shunt itself; choose a name "
                           "without SHUNT_",
                           LOG_TEXT(key));
    }
    for (size_t i = 0; i < t->n_secret_env; i++)
        if (!env_name_ok(t->secret_env[i]))
            return err_set(e, ERR_INVALID,
                           "secret_env: \"%s\" is not a variable name",
                           LOG_TEXT(t->secret_env[i]));
    for (size_t i = 0; i < t->n_submit_env; i++)
        if (strchr(t->submit_env[i].key, '=') ||
            strncmp(t->submit_env[i].key, "SHUNT_", 6) == 0)
            return err_set(e, ERR_INVALID,
                           "submit_env: \"%s\" is not a variable that travels",
                           LOG_TEXT(t->submit_env[i].key));
    if (t->input && (t->input->size > TASK_INPUT_MAX ||
                     t->input->chunks > TASK_INPUT_MAX / TASK_INPUT_INLINE))
        return err_set(e, ERR_INVALID, "input: at most %d MiB are allowed",
                       TASK_INPUT_MAX >> 20);
    if (t->input && !t->input->chunks && t->input->size != t->input->data.len)
        return err_set(e, ERR_INVALID,
                       "input: %zu of %llu bytes of standard input are there; "
                       "submit the task again with --stdin",
                       t->input->data.len, (unsigned long long)t->input->size);
    if (strlen(t->umask) > 4 ||
        strspn(t->umask, "01234567") != strlen(t->umask))
        return err_set(e, ERR_INVALID, "umask: \"%s\" is not octal",
                       LOG_TEXT(t->umask));
    return check_unique("env", t->env, t->n_env, e);
}

static int
check_relations(const struct task *t, struct err *e)
{
    for (size_t i = 0; i < t->n_after; i++) {
        const char *id = t->after[i];

        if (!*id)
            return err_set(e, ERR_INVALID,
                           "after[%zu]: empty; write a task's id", i);
        if (check_token("after", id, e) < 0)
            return -1;
        if (strcmp(id, t->id) == 0)
            return err_set(e, ERR_INVALID,
                           "after: the task would wait for itself; remove %s",
                           id);
    }
    return t->batch ? check_token("batch.id", t->batch->id, e) : 0;
}

static int
check_outputs(const struct task *t, struct err *e)
{
    char field[64];

    for (size_t i = 0; i < t->n_outputs; i++) {
        (void)snprintf(field, sizeof field, "outputs[%zu].path", i);
        if (check_path(field, t->outputs[i].path, e) < 0)
            return -1;
    }
    return 0;
}

/* A limit that does not parse must not become no limit. */
static int
check_cost(const struct task *t, struct err *e)
{
    const char *s = t->delegation ? t->delegation->max_cost_usd : "";
    size_t whole = strspn(s, "0123456789");
    size_t rest = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") + 1 : 0;

    if (!*s || (whole > 0 && rest != 1 && !s[whole + rest]))
        return 0;
    return err_set(
        e, ERR_INVALID,
        "delegation.max_cost_usd: \"%s\" is not an amount; write 2 or "
        "2.50",
        LOG_TEXT(s));
}

int
task_check(const struct task *t, struct err *e)
{
    if (codec_check(CODEC_TASK, t, e) < 0 || check_token("id", t->id, e) < 0 ||
        check_line("name", t->name, e) < 0 ||
        check_line("project", t->project, e) < 0 ||
        check_token("source", t->source, e) < 0 || check_steps(t, e) < 0 ||
        check_env(t, e) < 0 ||
        check_unique("tags", t->tags, t->n_tags, e) < 0 ||
        check_report_path(t->report_path, e) < 0 || check_outputs(t, e) < 0 ||
        check_timeout("timeout_ms", t->timeout_ms, e) < 0 ||
        check_timeout("idle_timeout_ms", t->idle_timeout_ms, e) < 0 ||
        check_backend(t->backend, e) < 0 ||
        check_token("lane", t->lane, e) < 0 ||
        check_token("retry_of", t->retry_of, e) < 0 ||
        check_relations(t, e) < 0 || check_cost(t, e) < 0)
        return -1;
    if (t->retries > RETRIES_MAX)
        return err_set(e, ERR_INVALID, "retries: %u, at most %d", t->retries,
                       RETRIES_MAX);
    return dod_check(t->dod, e) < 0 ? err_wrap(e, "dod") : 0;
}

/* --- values the submitter left out ---------------------------------------- */

static const char *
submitter_here(struct mem_pool *pool)
{
    char host[256] = "", buf[4096];
    struct passwd pw, *found = NULL;

    if (gethostname(host, sizeof host - 1) < 0)
        (void)str_copy(host, sizeof host, "localhost");
    if (getpwuid_r(geteuid(), &pw, buf, sizeof buf, &found) == 0 && found)
        return mem_pool_printf(pool, "%s@%s", pw.pw_name, host);
    return mem_pool_printf(pool, "%u@%s", (unsigned)geteuid(), host);
}

void
task_complete(struct task *t, struct mem_pool *pool, int64_t now_ms)
{
    char id[TASK_ID_SIZE];

    if (!*t->id) {
        task_new_id(id);
        t->id = mem_pool_strdup(pool, id);
    }
    if (!*t->source)
        t->source = "cli";
    if (!*t->project)
        t->project = task_name_project(t, pool);
    if (!*t->name)
        t->name = task_name_make(t, TASK_NAME_UTC, pool, now_ms);
    if (!*t->submitter)
        t->submitter = submitter_here(pool);
    if (t->submitted_at_ms == 0)
        t->submitted_at_ms = now_ms;
}

/* --- for people ----------------------------------------------------------- */

/* Adds text as one line with blanks collapsed, until there are more than size
 * bytes, including the whole character at the cut. */
static void
add_line(struct str *s, const char *text, size_t size)
{
    for (; *text && s->len < size + 4; text++) {
        if (!isspace((unsigned char)*text))
            str_addc(s, *text);
        else if (s->len > 0 && s->data[s->len - 1] != ' ')
            str_addc(s, ' ');
    }
}

static void
add_step(struct str *s, const struct step *step, size_t size)
{
    if (step->kind == STEP_KUBECTL)
        str_addz(s, "kubectl ");
    else if (step->kind == STEP_MAKE)
        str_addz(s, "make ");
    add_line(s, step->script, size);
    for (size_t i = 0; i < step->n_argv && s->len < size; i++) {
        struct str word = {0};

        str_add_quoted(&word, step->argv[i]);
        if (i > 0)
            str_addc(s, ' ');
        add_line(s, str_text(&word), size);
        str_free(&word);
    }
}

void
task_add_output(struct str *out, const struct output_part *parts, size_t n)
{
    enum stream last = STREAM_UNSPECIFIED;

    for (size_t i = 0; i < n; i++) {
        const struct bytes *data = &parts[i].data;

        if (data->len == 0)
            continue;
        if (last != STREAM_UNSPECIFIED && last != parts[i].stream &&
            out->data[out->len - 1] != '\n')
            str_addc(out, '\n');
        str_add(out, data->data, data->len);
        last = parts[i].stream;
    }
}

const char *
task_summary(const struct task *t, char *out, size_t size)
{
    struct str s = {0};

    if (*t->command)
        add_line(&s, t->command, size);
    else if (t->n_steps == 0)
        add_line(&s, t->prompt, size);
    for (size_t i = 0; !*t->command && i < t->n_steps && s.len < size; i++) {
        if (i > 0)
            str_addz(&s, "; ");
        add_step(&s, &t->steps[i], size);
    }
    while (s.len > 0 && s.data[s.len - 1] == ' ')
        s.data[--s.len] = '\0';
    (void)str_copy(out, size, str_text(&s));
    str_free(&s);
    return out;
}
