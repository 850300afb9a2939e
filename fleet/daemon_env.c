/*
 * Copies our environment without whatever names another broker, another state
 * folder, a key or the session of whoever started us, and adds the fleet's own.
 * An entry is a string of its own, so that one that holds a secret is
 * overwritten when it is freed.
 */
#include "fleet/daemon_env.h"

#include "lib/base/mem.h"
#include "lib/base/session_vars.h"
#include "lib/base/str.h"
#include "lib/os/os.h"
#include "lib/os/secret.h"

#include <stdio.h>
#include <string.h>

/* Takes over entry. */
static void
add(struct daemon_env *env, char *entry)
{
    env->entries =
        mem_resize(env->entries, (env->n + 2) * sizeof *env->entries);
    env->entries[env->n++] = entry;
    env->entries[env->n] = NULL;
}

/* Whether an entry, or a key alone, is about the variable that key names. */
static bool
is_about(const char *entry, const char *key)
{
    size_t len = strcspn(entry, "=");

    return len == strcspn(key, "=") && strncmp(entry, key, len) == 0;
}

static bool
is_listed(const char *entry, const char *const *keys)
{
    while (*keys && !is_about(entry, *keys))
        keys++;
    return *keys;
}

void
daemon_env_set(struct daemon_env *env, const char *key, const char *value)
{
    struct str s = {0};
    char *entry;
    size_t i = 0;

    str_addf(&s, "%s=%s", key, value);
    entry = mem_strdup(str_text(&s));
    str_free(&s);
    while (i < env->n && !is_about(env->entries[i], key))
        i++;
    if (i == env->n) {
        add(env, entry);
        return;
    }
    secret_free(env->entries[i]);
    env->entries[i] = entry;
}

void
daemon_env_init(struct daemon_env *out, const struct fleet_dir *dir,
                const struct daemon_env_facts *f)
{
    /* Set below, or of no concern to all: the key is one worker's. */
    static const char *const dropped[] = {
        "NATS_URL",           "NATS_CREDS",          "SECUTOOLS_API_KEY",
        "SHUNT_BUS_CA_FILE",  "SHUNT_BUS_CERT_FILE", "SHUNT_BUS_CREDS_FILE",
        "SHUNT_BUS_KEY_FILE", "SHUNT_BUS_NKEY_FILE", NULL};
    struct fleet_dir_path path;
    char slots[32];

    *out = (struct daemon_env){0};
    for (char **entry = environ; *entry; entry++)
        if (!is_listed(*entry, dropped) && !session_vars_has(*entry))
            add(out, mem_strdup(*entry));
    daemon_env_set(out, "SHUNT_HOME", dir->path);
    daemon_env_set(out, "SHUNT_BUS_URL", f->url);
    daemon_env_set(out, "SHUNT_BUS_TOKEN_FILE",
                   fleet_dir_path(dir, "token", &path));
    daemon_env_set(out, "SHUNT_BUS_CONFIRM", f->confirm ? "true" : "false");
    daemon_env_set(out, "SHUNT_WORKER_STATE_DIR",
                   fleet_dir_path(dir, "worker", &path));
    daemon_env_set(out, "SHUNT_FOLDER_ADDED",
                   fleet_dir_path(dir, "folders", &path));
    if (*f->project)
        daemon_env_set(out, "SHUNT_FOLDER_PROJECT", f->project);
    if (f->slots) {
        (void)snprintf(slots, sizeof slots, "%lld", (long long)f->slots);
        daemon_env_set(out, "SHUNT_WORKER_SLOTS", slots);
    }
    if (f->fast)
        daemon_env_set(out, "SHUNT_REAPER_SYNC", "false");
}

void
daemon_env_copy(const struct daemon_env *env, const char *const *changes,
                struct daemon_env *out)
{
    *out = (struct daemon_env){0};
    for (size_t i = 0; i < env->n; i++)
        if (!is_listed(env->entries[i], changes))
            add(out, mem_strdup(env->entries[i]));
    for (; *changes; changes++)
        if (strchr(*changes, '='))
            add(out, mem_strdup(*changes));
}

void
daemon_env_release(struct daemon_env *env)
{
    for (size_t i = 0; i < env->n; i++)
        secret_free(env->entries[i]);
    mem_free(env->entries);
    *env = (struct daemon_env){0};
}
