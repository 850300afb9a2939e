/*
 * Filters environ once; for each attempt the task's variables and the SHUNT_
 * ones are added, so that a task cannot change its identity.
 */
#include "workers/local/environment.h"

#include "lib/base/session_vars.h"
#include "lib/os/os.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { OWN_ENTRIES = 5 }; /* the task's identity */

struct environment {
    const char **entries; /* borrowed strings */
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

const char *const *
environment_of(const struct environment *env, const struct run_order *order,
               struct mem_pool *pool, bool *plain)
{
    const struct task *t = order->task;
    size_t ours = env->n, n = ours;
    const char **out =
        mem_pool_alloc(pool, (n + t->n_env + OWN_ENTRIES + 1) * sizeof *out);

    memcpy(out, env->entries, n * sizeof *out);
    for (size_t i = 0; i < t->n_env; i++)
        put(out, 0, &n,
            mem_pool_printf(pool, "%s=%s", t->env[i].key, t->env[i].value));
    /* Last, so that a task cannot change its identity; env has none. */
    put(out, ours, &n, mem_pool_printf(pool, "SHUNT_TASK_ID=%s", t->id));
    put(out, ours, &n,
        mem_pool_printf(pool, "SHUNT_ATTEMPT=%u", order->attempt));
    put(out, ours, &n,
        mem_pool_printf(pool, "SHUNT_FENCE=%" PRIu64, order->fence));
    put(out, ours, &n, order->mark);
    put(out, ours, &n, order->owner);
    *plain = env->plain;
    for (size_t i = ours; i < n; i++)
        if (alters_shells(out[i]))
            *plain = false;
    return out;
}

void
environment_hide(const struct environment *env, const struct run_order *order)
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
