/*
 * The table of task flags, and a setter for each. A setter gets the flag's
 * value when the flags are applied, once for each task: what a file says is
 * there first.
 */
#include "cli/task_args.h"

#include "cli/cli.h"
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
set_ms(uint64_t *to, const char *value, struct err *e)
{
    return str_to_ms(value, to)
               ? 0
               : err_set(e, ERR_INVALID,
                         "%s is not a duration like 30s, 11m or 2h", value);
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

/* Setters of text fields. */
#define TEXT(NAME, FIELD)                                                      \
    static int set_##NAME(struct task *t, struct mem_pool *pool,               \
                          const char *value, struct err *e)                    \
    {                                                                          \
        (void)pool;                                                            \
        (void)e;                                                               \
        t->FIELD = value;                                                      \
        return 0;                                                              \
    }

TEXT(name, name)
TEXT(workdir, workdir)
TEXT(repo, repo)
TEXT(branch, branch)
TEXT(dod, dod)
TEXT(report, report_path)
TEXT(team, team)
TEXT(backend, backend)
TEXT(lane, lane)

/* Setters of hints without a value. */
#define HINT(NAME)                                                             \
    static int set_##NAME(struct task *t, struct mem_pool *pool,               \
                          const char *value, struct err *e)                    \
    {                                                                          \
        (void)value;                                                           \
        (void)e;                                                               \
        hints_of(t, pool)->NAME = true;                                        \
        return 0;                                                              \
    }

HINT(heavy_log)
HINT(llm)
HINT(ui)
HINT(light)

/* Adds a pair, or replaces the value of its key. */
static void
put_pair(struct key_value **list, size_t *n, const char *key, const char *value,
         struct mem_pool *pool)
{
    struct key_value *grown;
    size_t i;

    grown = mem_pool_alloc(pool, (*n + 1) * sizeof *grown);
    if (*n)
        memcpy(grown, *list, *n * sizeof *grown);
    for (i = 0; i < *n && strcmp(grown[i].key, key) != 0; i++)
        ;
    grown[i].key = key;
    grown[i].value = value;
    *list = grown;
    *n += i == *n;
}

static int
set_env(struct task *t, struct mem_pool *pool, const char *value, struct err *e)
{
    const char *eq = strchr(value, '='), *own;

    if (eq == value || !value[0])
        return err_set(e, ERR_INVALID, "'%s' is not KEY=VALUE", value);
    if (eq) {
        put_pair(&t->env, &t->n_env,
                 mem_pool_strndup(pool, value, (size_t)(eq - value)), eq + 1,
                 pool);
        return 0;
    }
    own = getenv(value);
    if (!own)
        return err_set(e, ERR_INVALID,
                       "%s is not set here; use KEY=VALUE, or the name of a "
                       "variable that is set",
                       value);
    put_pair(&t->env, &t->n_env, value, own, pool);
    return 0;
}

static int
set_tag(struct task *t, struct mem_pool *pool, const char *value, struct err *e)
{
    const char *eq = strchr(value, '=');

    if (eq == value || !value[0])
        return err_set(e, ERR_INVALID, "'%s' is not KEY=VALUE", value);
    if (eq)
        put_pair(&t->tags, &t->n_tags,
                 mem_pool_strndup(pool, value, (size_t)(eq - value)), eq + 1,
                 pool);
    else
        put_pair(&t->tags, &t->n_tags, value, "", pool);
    return 0;
}

static int
set_timeout(struct task *t, struct mem_pool *pool, const char *value,
            struct err *e)
{
    (void)pool;
    return set_ms(&t->timeout_ms, value, e);
}

static int
set_idle_timeout(struct task *t, struct mem_pool *pool, const char *value,
                 struct err *e)
{
    (void)pool;
    return set_ms(&t->idle_timeout_ms, value, e);
}

static int
set_retries(struct task *t, struct mem_pool *pool, const char *value,
            struct err *e)
{
    (void)pool;
    return set_u32(&t->retries, value, 1000, e);
}

static int
set_retry(struct task *t, struct mem_pool *pool, const char *value,
          struct err *e)
{
    (void)pool;
    if (!strcmp(value, "safe"))
        t->retry = RETRY_SAFE;
    else if (!strcmp(value, "never"))
        t->retry = RETRY_NEVER;
    else
        return err_set(e, ERR_INVALID, "%s is unknown; use safe or never",
                       value);
    return 0;
}

static int
set_priority(struct task *t, struct mem_pool *pool, const char *value,
             struct err *e)
{
    char *end;
    long n;

    (void)pool;
    errno = 0;
    n = strtol(value, &end, 10);
    if (errno || end == value || *end || n < -1000 || n > 1000)
        return err_set(e, ERR_INVALID, "%s is not a number from -1000 to 1000",
                       value);
    t->priority = (int32_t)n;
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
set_after(struct task *t, struct mem_pool *pool, const char *value,
          struct err *e)
{
    const char **grown;
    int64_t at_ms;

    if (!value[0])
        return err_set(e, ERR_INVALID, "an id or a time is required");
    if (task_args_time(value, str_wall_ms(), &at_ms)) {
        t->not_before_ms = at_ms;
        return 0;
    }
    grown = mem_pool_alloc(pool, (t->n_after + 1) * sizeof *grown);
    if (t->n_after)
        memcpy(grown, t->after, t->n_after * sizeof *grown);
    grown[t->n_after++] = value;
    t->after = grown;
    return 0;
}

static int
set_hold(struct task *t, struct mem_pool *pool, const char *value,
         struct err *e)
{
    (void)pool;
    (void)value;
    (void)e;
    t->hold = true;
    return 0;
}

static int
set_agent(struct task *t, struct mem_pool *pool, const char *value,
          struct err *e)
{
    (void)e;
    hints_of(t, pool)->agent = value;
    return 0;
}

static int
set_runtime(struct task *t, struct mem_pool *pool, const char *value,
            struct err *e)
{
    return set_ms(&hints_of(t, pool)->runtime_ms, value, e);
}

static int
set_memory(struct task *t, struct mem_pool *pool, const char *value,
           struct err *e)
{
    struct hints *h = hints_of(t, pool);

    h->memory_unknown = !strcmp(value, "unknown");
    h->memory_bytes = 0;
    if (!h->memory_unknown && !str_to_bytes(value, &h->memory_bytes))
        return err_set(e, ERR_INVALID,
                       "%s is not a size like 512M or 9G, nor unknown", value);
    return 0;
}

static int
set_parallel(struct task *t, struct mem_pool *pool, const char *value,
             struct err *e)
{
    return set_u32(&hints_of(t, pool)->parallel, value, 1000000, e);
}

static int
set_data(struct task *t, struct mem_pool *pool, const char *value,
         struct err *e)
{
    if (strcmp(value, "small") != 0 && strcmp(value, "large") != 0 &&
        strcmp(value, "unknown") != 0)
        return err_set(e, ERR_INVALID,
                       "%s is unknown; use small, large or unknown", value);
    hints_of(t, pool)->data = value;
    return 0;
}

#define FLAG(NAME, ARG, HELP, SET, WORDS)                                      \
    {                                                                          \
        NAME, 0, ARG, HELP, ARG_TASK, NULL, 0, 0, SET, WORDS                   \
    }

const struct arg_opt task_opts[] = {
    FLAG("name", "NAME",
         "name of the task (default: made from project and time)", set_name,
         NULL),
    FLAG("workdir", "DIR", "where to run (default: the current directory)",
         set_workdir, NULL),
    FLAG("repo", "OWNER/NAME", "repository the task works on", set_repo, NULL),
    FLAG("branch", "BRANCH", "branch of that repository", set_branch, NULL),
    FLAG("env", "K=V",
         "environment variable; K alone copies it from here; repeatable",
         set_env, NULL),
    FLAG("timeout", "TIME", "time limit of one attempt", set_timeout, NULL),
    FLAG("idle-timeout", "TIME", "time limit without output", set_idle_timeout,
         NULL),
    FLAG("retries", "N", "further attempts after a failure (default 0)",
         set_retries, NULL),
    FLAG("retry", "safe|never",
         "whether to run again after its worker was lost (default safe)",
         set_retry, "safe never"),
    FLAG("dod", "EXPR",
         "definition of done, see docs/dod.md (default exit_code == 0)",
         set_dod, NULL),
    FLAG("report", "PATH",
         "path of the report, relative to the working directory", set_report,
         NULL),
    FLAG("priority", "N", "higher runs first, where the backend supports it",
         set_priority, NULL),
    FLAG("team", "TEAM", "team the task belongs to", set_team, NULL),
    FLAG("tag", "K=V", "label; repeatable", set_tag, NULL),
    FLAG("after", "ID|TIME",
         "start after that task, or not before that time (10m, 18:30); "
         "repeatable",
         set_after, NULL),
    FLAG("hold", NULL, "accept the task, but do not run it", set_hold, NULL),
    FLAG("backend", "BACKEND",
         "run on this backend: local, codespace or secutools", set_backend,
         "local codespace secutools"),
    FLAG("lane", "LANE", "run on this lane of the backend", set_lane, NULL),
    FLAG("agent", "NAME", "hint: agent that does the work", set_agent, NULL),
    FLAG("runtime", "TIME", "hint: expected duration, like 11m", set_runtime,
         NULL),
    FLAG("memory", "SIZE|unknown", "hint: expected peak memory, like 9G",
         set_memory, "unknown"),
    FLAG("parallel", "N", "hint: number of jobs it runs at once", set_parallel,
         NULL),
    FLAG("data", "AMOUNT", "hint: amount of data, small, large or unknown",
         set_data, "small large unknown"),
    FLAG("heavy-log", NULL, "hint: prints much output", set_heavy_log, NULL),
    FLAG("llm", NULL, "hint: calls language models or embeddings", set_llm,
         NULL),
    FLAG("ui", NULL, "hint: needs a browser or an IDE", set_ui, NULL),
    FLAG("light", NULL, "hint: a lightweight check", set_light, NULL),
    ARG_END,
};

int
task_args_new(struct task *t, struct mem_pool *pool, struct err *e)
{
    char cwd[PATH_MAX];

    codec_init(CODEC_TASK, t);
    if (!getcwd(cwd, sizeof cwd))
        return err_set(e, ERR_INVALID, "read the current directory: %s",
                       strerror(errno));
    t->workdir = mem_pool_strdup(pool, cwd);
    t->source = "cli";
    t->format = "command";
    t->submitter = cli_user(pool);
    return 0;
}

int
task_args_apply(const struct args *a, struct task *t, struct mem_pool *pool,
                struct err *e)
{
    size_t i;

    for (i = 0; i < a->n_task; i++)
        if (a->task[i].opt->set(t, pool, a->task[i].value, e) < 0)
            return err_wrap(e, "--%s", a->task[i].opt->name);
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
    size_t i;

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
        for (i = 0; i < n; i++) {
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
