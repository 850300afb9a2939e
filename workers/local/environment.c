/*
 * Filters environ once; for each attempt the task's variables and the SHUNT_
 * ones are added, so that a task cannot change its identity.
 */
#include "workers/local/environment.h"

#include "lib/base/log.h"
#include "lib/base/session_vars.h"
#include "lib/os/file.h"
#include "lib/os/os.h"
#include "lib/os/place.h"
#include "lib/os/state_path.h"
#include "lib/submit/secret_file.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OWN_ENTRIES = 6 }; /* the task's identity, and its fleet */

struct environment {
    const char **entries;   /* borrowed strings */
    char place[PLACE_SIZE]; /* user and machine, as tasks name theirs */
    const char *home;       /* of the fleet; NULL: of none on this machine */
    size_t n;
    bool plain;           /* no entry alters shells */
    struct mask *secrets; /* of all of environ */
};

static bool
is_ours_alone(const char *entry)
{
    static const char *const hidden[] = {
        "SHUNT_",
        "NATS_",
        "GH_TOKEN=",
        "LINEAR_API_KEY=",
        "SECUTOOLS_API_KEY=",
        "NOTIFY_SOCKET=",
        "WATCHDOG_PID=",
        "WATCHDOG_USEC=",
    };

    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (strncmp(entry, hidden[i], strlen(hidden[i])) == 0)
            return true;
    return false;
}

/* Whether the entry makes every shell load something, which a bare exec would
 * not. */
static bool
alters_shells(const char *entry)
{
    return strncmp(entry, "BASH_ENV=", 9) == 0 ||
           strncmp(entry, "BASH_FUNC_", 10) == 0;
}

struct environment *
environment_read(void)
{
    struct environment *env = MEM_NEW(struct environment);
    size_t n = 0;

    while (environ[n])
        n++;
    env->entries = mem_zero(n + 1, sizeof *env->entries);
    env->plain = true;
    env->secrets = mask_new();
    (void)place_here(env->place);
    env->home = getenv("SHUNT_HOME");
    for (char **at = environ; *at; at++) {
        mask_add_entry(env->secrets, *at);
        if (is_ours_alone(*at) || session_vars_has(*at))
            continue;
        env->entries[env->n++] = *at;
        if (alters_shells(*at))
            env->plain = false;
    }
    return env;
}

void
environment_free(struct environment *env)
{
    if (!env)
        return;
    mem_free(env->entries);
    mask_free(env->secrets);
    mem_free(env);
}

/* Adds KEY=value, replacing an entry for KEY from index first on. */
static void
put(const char **entries, size_t first, size_t *n, const char *entry)
{
    size_t len = strcspn(entry, "=") + 1;

    for (size_t i = first; i < *n; i++)
        if (strncmp(entries[i], entry, len) == 0) {
            entries[i] = entry;
            return;
        }
    entries[(*n)++] = entry;
}

int
environment_secrets(const struct environment *env, const struct task *t,
                    struct mem_pool *pool, const char ***values, struct err *e)
{
    struct err none;

    *values = mem_pool_alloc(pool, t->n_secret_env * sizeof **values);
    if (t->n_secret_env && env->home &&
        secret_file_read(env->home, t, pool, *values, &none) < 0 &&
        none.code != ERR_NOT_FOUND) {
        *e = none;
        return -1;
    }
    for (size_t i = 0; i < t->n_secret_env; i++) {
        if (!(*values)[i])
            (*values)[i] = getenv(t->secret_env[i]);
        if (!(*values)[i])
            return err_set(e, ERR_INVALID,
                           "secret %s: this worker does not have it; set it in "
                           "the worker's environment, or submit the task again "
                           "where it is set",
                           t->secret_env[i]);
    }
    return 0;
}

void
environment_publish(void)
{
    const char *home = getenv("SHUNT_HOME");
    json_t *list = json_array(), *v;
    char dir[PATH_MAX], path[PATH_MAX + 32], mask[8], *text;
    mode_t bits = umask(0);
    struct err e;

    (void)umask(bits);
    (void)snprintf(mask, sizeof mask, "%03o", (unsigned)bits);
    for (char **at = environ; *at; at++)
        if (session_vars_travels(*at))
            (void)json_array_append_new(list, json_string(*at));
    v = json_pack("{s:s, s:o}", "umask", mask, "env", list);
    text = json_dumps(v, JSON_INDENT(2));
    json_decref(v);
    if (home ? str_copy(dir, sizeof dir, home)
             : state_path(dir, sizeof dir, "", "SHUNT_HOME", &e) == 0) {
        (void)snprintf(path, sizeof path, "%s/environment.json", dir);
        if (text &&
            (file_make_dirs(dir, 0700) < 0 ||
             file_replace(AT_FDCWD, path, text, strlen(text), 0600) < 0))
            log_warn("environment.write", "path=%s error=\"%s\"", path,
                     strerror(errno));
    }
    free(text);
}

bool
environment_is_submitters(const struct environment *env, const struct task *t)
{
    return !t->clean_env && *t->submit_place &&
           strcmp(t->submit_place, env->place) == 0;
}

/* Ours, but with the submitter's where it is about what travels; returns how
 * many of them go before what the task itself sets. */
static size_t
replace_travelling(const struct environment *env, const struct task *t,
                   struct mem_pool *pool, const char **out)
{
    size_t n = 0;

    for (size_t i = 0; i < env->n; i++)
        if (!t->n_submit_env || !session_vars_travels(env->entries[i]))
            out[n++] = env->entries[i];
    for (size_t i = 0; i < t->n_submit_env; i++)
        put(out, 0, &n,
            mem_pool_printf(pool, "%s=%s", t->submit_env[i].key,
                            t->submit_env[i].value));
    return n;
}

const char *const *
environment_of(const struct environment *env, const struct run_order *order,
               const char *const *secrets, struct mem_pool *pool, bool *plain)
{
    const struct task *t = order->task;
    size_t ours = env->n, n;
    const char **out =
        mem_pool_alloc(pool, (env->n + t->n_submit_env + t->n_env +
                              t->n_secret_env + OWN_ENTRIES + 1) *
                                 sizeof *out);

    if (environment_is_submitters(env, t))
        ours = replace_travelling(env, t, pool, out);
    else
        memcpy(out, env->entries, ours * sizeof *out);
    n = ours;
    for (size_t i = 0; i < t->n_env; i++)
        put(out, 0, &n,
            mem_pool_printf(pool, "%s=%s", t->env[i].key, t->env[i].value));
    for (size_t i = 0; i < t->n_secret_env; i++)
        put(out, 0, &n,
            mem_pool_printf(pool, "%s=%s", t->secret_env[i], secrets[i]));
    /* Last, so that a task cannot change its identity; env has none. */
    put(out, ours, &n, mem_pool_printf(pool, "SHUNT_TASK_ID=%s", t->id));
    put(out, ours, &n,
        mem_pool_printf(pool, "SHUNT_ATTEMPT=%u", order->attempt));
    put(out, ours, &n,
        mem_pool_printf(pool, "SHUNT_FENCE=%" PRIu64, order->fence));
    put(out, ours, &n, order->mark);
    put(out, ours, &n, order->owner);
    if (env->home) /* a task speaks to the fleet it belongs to */
        put(out, ours, &n, mem_pool_printf(pool, "SHUNT_HOME=%s", env->home));
    *plain = env->plain;
    for (size_t i = *t->submit_place ? 0 : ours; i < n; i++)
        if (alters_shells(out[i]))
            *plain = false;
    return out;
}

void
environment_hide(const struct environment *env, const struct run_order *order,
                 const char *const *secrets)
{
    const struct task *t = order->task;
    struct mask *own = NULL;

    for (size_t i = 0; i < t->n_env; i++) {
        if (!mask_is_secret(t->env[i].key, t->env[i].value))
            continue;
        if (!own)
            own = mask_copy(env->secrets);
        mask_add_value(own, t->env[i].value);
    }
    for (size_t i = 0; i < t->n_secret_env; i++) {
        if (!own)
            own = mask_copy(env->secrets);
        mask_add_value(own, secrets[i]);
    }
    output_mask(order->output, env->secrets, own);
}

const char *
environment_get(const char *const *entries, const char *key)
{
    size_t len = strlen(key);

    for (const char *const *at = entries; *at; at++)
        if (strncmp(*at, key, len) == 0 && (*at)[len] == '=')
            return *at + len + 1;
    return NULL;
}
