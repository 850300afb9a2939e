/*
 * The table of task flags, and a setter for each. A setter gets the flag's
 * value when the flags are applied, once for each task: what a file says is
 * there first.
 */
#include "cli/task_args.h"

#include "cli/cli.h"
#include "cli/submit_env.h"
#include "lib/model/codec.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct hints *
hints_of(struct task *t, struct mem_pool *pool)
{
    if (!t->hints) {
        t->hints = mem_pool_alloc(pool, sizeof *t->hints);
        t->hints->agent = "";
        t->hints->data = "";
    }
    return t->hints;
}

static int
set_ms(const struct arg_edit *a, struct err *e)
{
    return str_to_ms(a->value, a->member)
               ? 0
               : err_set(e, ERR_INVALID,
                         "%s is not a duration like 30s, 11m or 2h", a->value);
}

static int
set_u32(uint32_t *to, const char *value, uint64_t most, struct err *e)
{
    uint64_t n;

    if (!str_to_u64(value, 0, most, &n))
        return err_set(e, ERR_INVALID, "%s is not a number from 0 to %llu",
                       value, (unsigned long long)most);
    *to = (uint32_t)n;
    return 0;
}

static int
set_text(const struct arg_edit *a, struct err *e)
{
    (void)e;
    *(const char **)a->member = a->value;
    return 0;
}

static int
set_true(const struct arg_edit *a, struct err *e)
{
    (void)e;
    *(bool *)a->member = true;
    return 0;
}

/* Adds "KEY=VALUE", or replaces the value of its key; a KEY alone has the value
 * fallback. */
static int
put_pair(struct key_value **list, size_t *n, const char *text,
         const char *fallback, struct mem_pool *pool, struct err *e)
{
    struct key_value *grown;
    size_t len = strcspn(text, "="), i;

    if (!len)
        return err_set(e, ERR_INVALID, "'%s' is not KEY=VALUE", text);
    grown = mem_pool_alloc(pool, (*n + 1) * sizeof *grown);
    if (*n)
        memcpy(grown, *list, *n * sizeof *grown);
    grown[*n].key = mem_pool_strndup(pool, text, len);
    for (i = 0; strcmp(grown[i].key, grown[*n].key) != 0; i++)
        ;
    grown[i].key = grown[*n].key;
    grown[i].value = text[len] ? text + len + 1 : fallback;
    *list = grown;
    *n += i == *n;
    return 0;
}

static int
set_env(const struct arg_edit *a, struct err *e)
{
    const char *own = strchr(a->value, '=') ? "" : getenv(a->value);

    if (!own && *a->value)
        return err_set(e, ERR_INVALID,
                       "%s is not set here; use KEY=VALUE, or the name of a "
                       "variable that is set",
                       a->value);
    return put_pair(&a->task->env, &a->task->n_env, a->value, own, a->pool, e);
}

static int
set_tag(const struct arg_edit *a, struct err *e)
{
    return put_pair(&a->task->tags, &a->task->n_tags, a->value, "", a->pool, e);
}

static int
set_retries(const struct arg_edit *a, struct err *e)
{
    return set_u32(a->member, a->value, 1000, e);
}

static int
set_retry(const struct arg_edit *a, struct err *e)
{
    if (!strcmp(a->value, "safe"))
        a->task->retry = RETRY_SAFE;
    else if (!strcmp(a->value, "never"))
        a->task->retry = RETRY_NEVER;
    else
        return err_set(e, ERR_INVALID, "%s is unknown; use safe or never",
                       a->value);
    return 0;
}

static int
set_priority(const struct arg_edit *a, struct err *e)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(a->value, &end, 10);
    if (errno || end == a->value || *end || n < -1000 || n > 1000)
        return err_set(e, ERR_INVALID, "%s is not a number from -1000 to 1000",
                       a->value);
    a->task->priority = (int32_t)n;
    return 0;
}

bool
task_args_time(const char *text, int64_t now_ms, int64_t *at_ms)
{
    time_t now = (time_t)(now_ms / 1000);
    int hour, minute, n = 0;
    size_t len = strlen(text);
    struct tm tm;
    uint64_t ms;

    if (cli_parse_time(text, at_ms))
        return true;
    if (sscanf(text, "%2d:%2d%n", &hour, &minute, &n) == 2 && !text[n] &&
        hour >= 0 && hour < 24 && minute >= 0 && minute < 60) {
        (void)localtime_r(&now, &tm);
        tm.tm_hour = hour;
        tm.tm_min = minute;
        tm.tm_sec = 0;
        tm.tm_isdst = -1;
        *at_ms = (int64_t)mktime(&tm) * 1000;
        if (*at_ms <= now_ms) {
            tm.tm_mday++;
            *at_ms = (int64_t)mktime(&tm) * 1000;
        }
        return true;
    }
    /* A bare number is not a duration here: an id may consist of digits. */
    if (text[0] == '+')
        text++;
    else if (!len || (text[len - 1] >= '0' && text[len - 1] <= '9'))
        return false;
    if (!str_to_ms(text, &ms) || ms > INT64_MAX / 2)
        return false;
    *at_ms = now_ms + (int64_t)ms;
    return true;
}

static int
set_after(const struct arg_edit *a, struct err *e)
{
    const char **grown;
    int64_t at_ms;

    if (!a->value[0])
        return err_set(e, ERR_INVALID, "an id or a time is required");
    if (task_args_time(a->value, str_wall_ms(), &at_ms)) {
        a->task->not_before_ms = at_ms;
        return 0;
    }
    grown = mem_pool_alloc(a->pool, (a->task->n_after + 1) * sizeof *grown);
    if (a->task->n_after)
        memcpy(grown, a->task->after, a->task->n_after * sizeof *grown);
    grown[a->task->n_after++] = a->value;
    a->task->after = grown;
    return 0;
}

static int
set_memory(const struct arg_edit *a, struct err *e)
{
    struct hints *h = a->task->hints;

    h->memory_unknown = !strcmp(a->value, "unknown");
    h->memory_bytes = 0;
    if (!h->memory_unknown && !str_to_bytes(a->value, &h->memory_bytes))
        return err_set(e, ERR_INVALID,
                       "%s is not a size like 512M or 9G, nor unknown",
                       a->value);
    return 0;
}

static int
set_parallel(const struct arg_edit *a, struct err *e)
{
    return set_u32(a->member, a->value, 1000000, e);
}

static int
set_data(const struct arg_edit *a, struct err *e)
{
    if (strcmp(a->value, "small") != 0 && strcmp(a->value, "large") != 0 &&
        strcmp(a->value, "unknown") != 0)
        return err_set(e, ERR_INVALID,
                       "%s is unknown; use small, large or unknown", a->value);
    return set_text(a, e);
}

#define ROW(NAME, ARG, HELP, WORDS, SET, OFFSET, HINT)                         \
    {                                                                          \
        NAME, 0, ARG, HELP, ARG_TASK, NULL, 0, 0, WORDS, SET, OFFSET, HINT     \
    }
/* SET sets the member FIELD of the task, or of its hints. */
#define FLAG(NAME, ARG, HELP, WORDS, SET, FIELD)                               \
    ROW(NAME, ARG, HELP, WORDS, SET, offsetof(struct task, FIELD), false)
#define HINT(NAME, ARG, HELP, WORDS, SET, FIELD)                               \
    ROW(NAME, ARG, "hint: " HELP, WORDS, SET, offsetof(struct hints, FIELD),   \
        true)

const struct arg_opt task_opts[] = {
    FLAG("name", "NAME",
         "name of the task (default: made from project and time)", NULL,
         set_text, name),
    FLAG("workdir", "DIR", "where to run (default: the current directory)",
         NULL, set_text, workdir),
    FLAG("repo", "OWNER/NAME", "repository the task works on", NULL, set_text,
         repo),
    FLAG("branch", "BRANCH", "branch of that repository", NULL, set_text,
         branch),
    FLAG("env", "K=V",
         "environment variable; K alone copies it from here; repeatable", NULL,
         set_env, env),
    FLAG("env-secret", "NAME",
         "secret variable, by name: its value stands in no task, log or "
         "ledger; repeatable",
         NULL, submit_env_set_secret, secret_env),
    FLAG("env-all", NULL,
         "take along the whole environment but for secrets (default: PATH, "
         "LANG and the like)",
         NULL, submit_env_set_all, submit_env),
    FLAG("clean-env", NULL, "take along nothing of this environment", NULL,
         set_true, clean_env),
    FLAG("stdin", "[=FILE]", "send standard input, or the file, as its input",
         NULL, submit_env_set_stdin, input),
    FLAG("timeout", "TIME", "time limit of one attempt", NULL, set_ms,
         timeout_ms),
    FLAG("idle-timeout", "TIME", "time limit without output", NULL, set_ms,
         idle_timeout_ms),
    FLAG("retries", "N", "further attempts after a failure (default 0)", NULL,
         set_retries, retries),
    FLAG("retry", "safe|never",
         "whether to run again after its worker was lost (default safe)",
         "safe never", set_retry, retry),
    FLAG("dod", "EXPR",
         "definition of done, see docs/dod.md (default exit_code == 0)", NULL,
         set_text, dod),
    FLAG("report", "PATH",
         "path of the report, relative to the working directory", NULL,
         set_text, report_path),
    FLAG("priority", "N", "higher runs first, where the backend supports it",
         NULL, set_priority, priority),
    FLAG("team", "TEAM", "team the task belongs to", NULL, set_text, team),
    FLAG("tag", "K=V", "label; repeatable", NULL, set_tag, tags),
    FLAG("after", "ID|TIME",
         "start after that task, or not before that time (10m, 18:30); "
         "repeatable",
         NULL, set_after, after),
    FLAG("hold", NULL, "accept the task, but do not run it", NULL, set_true,
         hold),
    FLAG("backend", "BACKEND",
         "run on this backend: local, codespace or secutools",
         "local codespace secutools", set_text, backend),
    FLAG("lane", "LANE", "run on this lane of the backend", NULL, set_text,
         lane),
    HINT("agent", "NAME", "agent that does the work", NULL, set_text, agent),
    HINT("runtime", "TIME", "expected duration, like 11m", NULL, set_ms,
         runtime_ms),
    HINT("memory", "SIZE|unknown", "expected peak memory, like 9G", "unknown",
         set_memory, memory_bytes),
    HINT("parallel", "N", "number of jobs it runs at once", NULL, set_parallel,
         parallel),
    HINT("data", "AMOUNT", "amount of data, small, large or unknown",
         "small large unknown", set_data, data),
    HINT("heavy-log", NULL, "prints much output", NULL, set_true, heavy_log),
    HINT("llm", NULL, "calls language models or embeddings", NULL, set_true,
         llm),
    HINT("ui", NULL, "needs a browser or an IDE", NULL, set_true, ui),
    HINT("light", NULL, "a lightweight check", NULL, set_true, light),
    ARG_END,
};

int
task_args_new(struct task *t, struct mem_pool *pool, struct err *e)
{
    codec_init(CODEC_TASK, t);
    t->source = "cli";
    t->format = "command";
    t->submitter = cli_user(pool);
    return task_args_workdir(t, pool, e);
}

int
task_args_apply(const struct args *a, struct task *t, struct mem_pool *pool,
                struct err *e)
{
    for (size_t i = 0; i < a->n_task; i++) {
        const struct arg_opt *o = a->task[i].opt;
        char *from = o->hint ? (char *)hints_of(t, pool) : (char *)t;

        struct arg_edit edit = {t, from + o->offset, a->task[i].value, pool};

        if (o->set(&edit, e) < 0)
            return err_wrap(e, "--%s", o->name);
    }
    return task_args_workdir(t, pool, e);
}

int
task_args_workdir(struct task *t, struct mem_pool *pool, struct err *e)
{
    char cwd[PATH_MAX];

    /* The worker expands a "~". */
    if (t->workdir[0] == '/' ||
        (t->workdir[0] == '~' && (!t->workdir[1] || t->workdir[1] == '/')))
        return 0;
    if (!getcwd(cwd, sizeof cwd))
        return err_set(e, ERR_INVALID, "read the current directory: %s",
                       strerror(errno));
    t->workdir = !t->workdir[0] || !strcmp(t->workdir, ".")
                     ? mem_pool_strdup(pool, cwd)
                     : mem_pool_printf(pool, "%s/%s", cwd, t->workdir);
    return 0;
}

int
task_args_command(struct task *t, char **words, size_t n, struct mem_pool *pool,
                  struct err *e)
{
    struct step *step;
    struct str joined = {0};

    if (!n || !words[0][0])
        return err_set(e, ERR_INVALID, "no command after --");
    step = mem_pool_alloc(pool, sizeof *step);
    step->name = step->script = step->workdir = "";
    if (n == 1) {
        step->kind = STEP_SHELL;
        step->script = words[0];
        t->command = words[0];
    } else {
        step->kind = STEP_ARGV;
        step->argv = mem_pool_alloc(pool, n * sizeof *step->argv);
        step->n_argv = n;
        for (size_t i = 0; i < n; i++) {
            step->argv[i] = words[i];
            if (i)
                str_addc(&joined, ' ');
            str_add_quoted(&joined, words[i]);
        }
        t->command = mem_pool_strdup(pool, str_text(&joined));
        str_free(&joined);
    }
    t->steps = step;
    t->n_steps = 1;
    return 0;
}
