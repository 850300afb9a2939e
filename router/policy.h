/*
 * policy - the configuration of decide, read from a YAML file: agents,
 * conditions, words and points, executors, prices. etc/policy.yaml documents
 * each part; it is built in and is what policy_default returns.
 *
 * A policy is read and indexed once and never changes afterwards.
 *
 * Thread: any.
 */
#ifndef ROUTER_POLICY_H
#define ROUTER_POLICY_H

#include "lib/base/err.h"
#include "lib/base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POLICY_BYTES_MAX = 256 * 1024,
    POLICY_ROWS_MAX = 64, /* signals */
    POLICY_AGENTS_MAX = 1000,
    POLICY_EXECUTORS_MAX = 32, /* an error message names them all */
    POLICY_POINTS_MAX = 100,   /* of a row, up or down */
    POLICY_WORD_SIZE = 64,     /* longer words of a command match nothing */
};

enum affinity {
    AFFINITY_NONE, /* no agent, or one the policy does not know */
    AFFINITY_CLOUD,
    AFFINITY_LOCAL,
    AFFINITY_DEPENDS,
};

/* A task's prefix overrides everything that is only guessed. */
enum prefix { PREFIX_NONE, PREFIX_CLOUD, PREFIX_LOCAL };

/* What to do if the wanted lane has no worker and is not configured. */
enum when_unavailable {
    UNAVAILABLE_LOCAL,
    UNAVAILABLE_QUEUE,
    UNAVAILABLE_REJECT
};

/* A hash set of short texts. */
struct word_set {
    const char **slots; /* NULL: empty */
    size_t mask;        /* slots less one; a power of two less one */
};

bool word_set_has(const struct word_set *set, const char *word);

struct agent_row {
    const char *agent;
    enum affinity affinity;
    const char *when; /* only if that signal of words applies; "": always */
};

enum signal_kind {
    SIGNAL_WORDS,
    SIGNAL_PREFIX,
    SIGNAL_RUNNING_LOCAL,
    SIGNAL_DATA
};

struct signal_row {
    const char *name;
    int32_t points;
    enum signal_kind kind;
    enum prefix prefix;     /* of SIGNAL_PREFIX */
    uint32_t running_local; /* of SIGNAL_RUNNING_LOCAL: at least */
    const char **data;      /* of SIGNAL_DATA */
    size_t n_data;
    bool parts; /* of SIGNAL_WORDS: parts of compound words count */
};

/* A keyword of a row: one word, two that follow each other, or a word and an
 * option that comes later in its command. */
struct keyword {
    const char *before, *word; /* before "": any word */
    bool option;               /* word is one, without its dashes */
    const char *text;          /* as written: "npm run" */
    size_t row;
    size_t line; /* in the file */
};

struct executor_lane {
    const char *executor; /* as briefs name it: "devbox-codex" */
    const char *backend, *lane;
};

struct price {
    const char *place; /* "codespace" or "codespace.default" */
    uint64_t usd_micros_per_hour;
};

struct policy {
    const char *version; /* "<version>@<fingerprint of the file>" */

    const struct executor_lane *executors;
    size_t n_executors;
    const char **providers;
    size_t n_providers;

    const struct agent_row *agents;
    size_t n_agents;

    /* force_cloud; 0 or false: not checked */
    uint64_t cloud_runtime_ms, cloud_memory_bytes;
    uint32_t cloud_parallel;
    bool cloud_heavy_log, cloud_llm, cloud_memory_free, cloud_memory_unknown;

    /* allow_local; the same */
    uint64_t local_runtime_ms;
    bool local_ui, local_light;

    int32_t threshold; /* from this score on a task goes to the cloud */
    const struct signal_row *rows;
    size_t n_rows;
    int32_t prefix_hides_below;
    const struct keyword *keywords;
    size_t n_keywords;
    const uint32_t *keyword_slots; /* index + 1 by hash of word; 0: nothing */
    size_t keyword_mask;
    struct word_set light_programs, data_suffixes;

    enum when_unavailable when_unavailable;
    const struct price *prices;
    size_t n_prices;
};

/* The shipped policy. */
const struct policy *policy_default(void);

/*
 * Reads a policy; name appears in errors: "name:line:column: what is wrong; the
 * remedy" (ERR_INVALID). Everything lives in pool, text is not kept.
 */
int policy_parse(const char *name, const char *text, size_t len,
                 struct mem_pool *pool, struct policy *out, struct err *e);

/* The same from a file; path "" is the shipped policy. */
int policy_load(const char *path, struct mem_pool *pool, struct policy *out,
                struct err *e);

/* --- lookup --------------------------------------------------------------- */

const struct agent_row *policy_agent(const struct policy *p,
                                     const char *agent); /* or NULL */
const char *policy_affinity_name(enum affinity a); /* "" for AFFINITY_NONE */
const struct executor_lane *policy_executor(const struct policy *p,
                                            const char *name); /* or NULL */
bool policy_is_provider(const struct policy *p, const char *name);
/* 0: no price. */
uint64_t policy_price(const struct policy *p, const char *backend,
                      const char *lane);

/*
 * The next keyword that word completes if it follows the word before; *at
 * begins as 0. NULL: no more.
 */
const struct keyword *policy_keyword(const struct policy *p, const char *before,
                                     const char *word, size_t *at);

bool policy_is_backend(const char *text, size_t len);
/* "backend.lane" */
/* Whether name is "backend.lane". */
bool policy_is_lane(const char *name, const char *backend, const char *lane);
bool policy_is_place(const char *text);

#endif
