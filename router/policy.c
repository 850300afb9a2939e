/*
 * Loads a policy from a file or the built-in text, fingerprints it for its
 * version, and looks up agents, executors, prices and keywords (open hashing by
 * word).
 */
#include "router/policy_private.h"

#include "lib/base/hash.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"
#include "lib/os/file.h"
#include "policy_default.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- sets of words -------------------------------------------------------- */

/* Number of slots minus one for n entries: at most half are used. */
static size_t
mask_for(size_t n)
{
    size_t slots = 8;

    while (slots < 2 * n)
        slots *= 2;
    return slots - 1;
}

void
word_set_init(struct word_set *set, size_t n, struct mem_pool *pool)
{
    set->mask = mask_for(n);
    set->slots = mem_pool_alloc(pool, (set->mask + 1) * sizeof *set->slots);
}

/* The slot of word, whether or not it is in the set. */
static size_t
slot_of(const struct word_set *set, const char *word)
{
    size_t i = hash_text(word) & set->mask;

    while (set->slots[i] && strcmp(set->slots[i], word) != 0)
        i = (i + 1) & set->mask;
    return i;
}

bool
word_set_add(struct word_set *set, const char *word)
{
    size_t i = slot_of(set, word);

    if (set->slots[i])
        return false;
    set->slots[i] = word;
    return true;
}

bool
word_set_has(const struct word_set *set, const char *word)
{
    return set->slots[slot_of(set, word)];
}

/* --- lookup --------------------------------------------------------------- */

void
policy_index(struct policy *p, struct mem_pool *pool)
{
    size_t mask = mask_for(p->n_keywords);
    uint32_t *slots = mem_pool_alloc(pool, (mask + 1) * sizeof *slots);

    /* In file order, so that the first keyword a word completes is found
     * first. */
    for (size_t k = 0; k < p->n_keywords; k++) {
        const char *word = p->keywords[k].word;
        size_t i = hash_text(word) & mask;

        while (slots[i])
            i = (i + 1) & mask;
        slots[i] = (uint32_t)k + 1;
    }
    p->keyword_slots = slots;
    p->keyword_mask = mask;
}

const struct keyword *
policy_keyword(const struct policy *p, const char *before, const char *word,
               size_t *at)
{
    size_t home = hash_text(word) & p->keyword_mask;

    for (;; ++*at) {
        uint32_t i = p->keyword_slots[(home + *at) & p->keyword_mask];
        const struct keyword *k;

        if (!i)
            return NULL;
        k = &p->keywords[i - 1];
        if (strcmp(k->word, word) != 0 ||
            (*k->before && strcmp(k->before, before) != 0))
            continue;
        ++*at;
        return k;
    }
}

const struct agent_row *
policy_agent(const struct policy *p, const char *agent)
{
    for (size_t i = 0; *agent && i < p->n_agents; i++)
        if (strcasecmp(p->agents[i].agent, agent) == 0)
            return &p->agents[i];
    return NULL;
}

const char *
policy_affinity_name(enum affinity a)
{
    static const char *const names[] = {[AFFINITY_NONE] = "",
                                        [AFFINITY_CLOUD] = "cloud",
                                        [AFFINITY_LOCAL] = "local",
                                        [AFFINITY_DEPENDS] = "depends"};

    return names[a];
}

const struct executor_lane *
policy_executor(const struct policy *p, const char *name)
{
    for (size_t i = 0; i < p->n_executors; i++)
        if (strcmp(p->executors[i].executor, name) == 0)
            return &p->executors[i];
    return NULL;
}

bool
policy_is_provider(const struct policy *p, const char *name)
{
    for (size_t i = 0; i < p->n_providers; i++)
        if (strcmp(p->providers[i], name) == 0)
            return true;
    return false;
}

uint64_t
policy_price(const struct policy *p, const char *backend, const char *lane)
{
    uint64_t price = 0;

    for (size_t i = 0; i < p->n_prices; i++) {
        const char *place = p->prices[i].place;

        if (policy_is_lane(place, backend, lane))
            return p->prices[i].usd_micros_per_hour; /* the nearer one */
        if (strcmp(place, backend) == 0)
            price = p->prices[i].usd_micros_per_hour;
    }
    return price;
}

bool
policy_is_backend(const char *text, size_t len)
{
    static const char *const backends[] = {"local", "codespace", "secutools"};

    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strlen(backends[i]) == len && strncmp(backends[i], text, len) == 0)
            return true;
    return false;
}

bool
policy_is_lane(const char *name, const char *backend, const char *lane)
{
    size_t len = strlen(backend);

    return strncmp(name, backend, len) == 0 && name[len] == '.' &&
           strcmp(name + len + 1, lane) == 0;
}

bool
policy_is_place(const char *text)
{
    const char *dot = strchr(text, '.');

    return dot && policy_is_backend(text, (size_t)(dot - text)) &&
           subject_token_ok(dot + 1);
}

/* --- loading -------------------------------------------------------------- */

int
policy_parse(const char *name, const char *text, size_t len,
             struct mem_pool *pool, struct policy *out, struct err *e)
{
    struct policy p = {0};

    if (len > POLICY_BYTES_MAX)
        return err_set(e, ERR_INVALID, "%s: more than %d bytes", name,
                       POLICY_BYTES_MAX);
    if (policy_read(name, text, len, pool, &p, e) < 0)
        return -1;
    p.version =
        mem_pool_printf(pool, "%s@%08" PRIx32, p.version,
                        (uint32_t)(hash_add(HASH_EMPTY, text, len) >> 32));
    policy_index(&p, pool);
    *out = p;
    return 0;
}

int
policy_load(const char *path, struct mem_pool *pool, struct policy *out,
            struct err *e)
{
    struct str text = {0};
    int rc;

    if (!*path) {
        *out = *policy_default();
        return 0;
    }
    if (file_read(path, POLICY_BYTES_MAX, &text) < 0)
        rc = err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_INVALID,
                     "policy %s: %s", path, strerror(errno));
    else
        rc = policy_parse(path, str_text(&text), text.len, pool, out, e);
    str_free(&text);
    return rc;
}

static struct policy shipped;
static struct mem_pool *shipped_pool;

static void
free_shipped(void)
{
    mem_pool_free(shipped_pool);
}

/* The file is part of the program and a test reads it, so this cannot fail. */
static void
read_shipped(void)
{
    struct err e = {0};

    shipped_pool = mem_pool_new();
    if (policy_parse("etc/policy.yaml", (const char *)policy_default_text,
                     sizeof policy_default_text, shipped_pool, &shipped,
                     &e) == 0) {
        (void)atexit(free_shipped);
        return;
    }
    (void)fprintf(stderr, "%s\n", e.msg);
    abort();
}

const struct policy *
policy_default(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, read_shipped);
    return &shipped;
}
