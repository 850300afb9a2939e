#include "router/policy.h"

#include "lib/subject.h"

#include <inttypes.h>
#include <string.h>

static const char *const backends[] = {"local", "codespace", "secutools"};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

static bool
is_backend(const char *text, size_t len)
{
    for (size_t i = 0; i < N_BACKENDS; i++)
        if (strlen(backends[i]) == len && strncmp(backends[i], text, len) == 0)
            return true;
    return false;
}

/* "backend.lane" */
static bool
is_place(const char *text)
{
    const char *dot = strchr(text, '.');

    return dot && is_backend(text, (size_t)(dot - text)) &&
           subject_token_ok(dot + 1);
}

static int
check_lists(const struct router_conf *conf, struct err *e)
{
    for (char **p = conf->backends; p && *p; p++)
        if (!is_backend(*p, strlen(*p)))
            return err_set(e, ERR_INVALID,
                           "router.backends: '%.60s' is none of local, "
                           "codespace and secutools",
                           *p);
    for (char **p = conf->lanes; p && *p; p++)
        if (!is_place(*p))
            return err_set(e, ERR_INVALID,
                           "bus.lanes: '%.60s' is no lane; write "
                           "backend.lane, as in local.gpu",
                           *p);
    return 0;
}

static int
read_executor(const char *text, struct mem_pool *pool,
              struct executor_lane *out, struct err *e)
{
    const char *eq = strchr(text, '='), *dot;

    if (!eq || eq == text || !is_place(eq + 1))
        return err_set(e, ERR_INVALID,
                       "router.executors: '%.60s' is no mapping; write "
                       "executor=backend.lane",
                       text);
    dot = strchr(eq, '.');
    out->executor = mem_pool_strndup(pool, text, (size_t)(eq - text));
    out->backend = mem_pool_strndup(pool, eq + 1, (size_t)(dot - eq - 1));
    out->lane = mem_pool_strdup(pool, dot + 1);
    return 0;
}

static int
read_executors(const struct router_conf *conf, struct mem_pool *pool,
               struct policy *out, struct err *e)
{
    struct executor_lane *list;
    size_t n = 0;

    while (conf->executors[n])
        n++;
    list = mem_pool_alloc(pool, n * sizeof *list);
    for (size_t i = 0; i < n; i++)
        if (read_executor(conf->executors[i], pool, &list[i], e) < 0)
            return -1;
    out->executors = list;
    out->n_executors = n;
    return 0;
}

static int
read_unavailable(const char *word, enum when_unavailable *out, struct err *e)
{
    static const char *const words[] = {[UNAVAILABLE_LOCAL] = "local",
                                        [UNAVAILABLE_QUEUE] = "queue",
                                        [UNAVAILABLE_REJECT] = "reject"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], word) == 0) {
            *out = (enum when_unavailable)i;
            return 0;
        }
    }
    return err_set(e, ERR_INVALID,
                   "router.when_unavailable: '%.60s' is none of local, queue "
                   "and reject",
                   word);
}

static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 1099511628211U; /* FNV-1a */
    return h;
}

/* A fingerprint of everything decide looks at. */
static uint64_t
fingerprint(const struct policy *p)
{
    const uint64_t numbers[] = {(uint64_t)p->threshold, p->local_runtime_ms,
                                p->cloud_runtime_ms,    p->cloud_memory_bytes,
                                p->cloud_parallel,      p->when_unavailable};
    uint64_t h = mix(14695981039346656037U, numbers, sizeof numbers);

    for (size_t i = 0; i < p->n_executors; i++) {
        const struct executor_lane *x = &p->executors[i];

        h = mix(h, x->executor, strlen(x->executor) + 1);
        h = mix(h, x->backend, strlen(x->backend) + 1);
        h = mix(h, x->lane, strlen(x->lane) + 1);
    }
    return h;
}

int
policy_from_conf(const struct router_conf *conf, struct mem_pool *pool,
                 struct policy *out, struct err *e)
{
    const struct policy *shipped = policy_default();

    *out = *shipped;
    out->threshold = (int32_t)conf->threshold;
    out->local_runtime_ms = (uint64_t)conf->local_runtime_ms;
    out->cloud_runtime_ms = (uint64_t)conf->cloud_runtime_ms;
    out->cloud_memory_bytes = (uint64_t)conf->cloud_memory_bytes;
    out->cloud_parallel = (uint32_t)conf->cloud_parallel;
    if (check_lists(conf, e) < 0 ||
        read_unavailable(conf->when_unavailable, &out->when_unavailable, e) <
            0 ||
        read_executors(conf, pool, out, e) < 0)
        return -1;
    if (out->local_runtime_ms > out->cloud_runtime_ms)
        return err_set(e, ERR_INVALID,
                       "router.local_runtime: longer than "
                       "router.cloud_runtime");
    if (fingerprint(out) != fingerprint(shipped))
        out->version = mem_pool_printf(pool, "config-%08" PRIx32,
                                       (uint32_t)(fingerprint(out) >> 32));
    return 0;
}
