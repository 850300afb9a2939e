/*
 * signals - seed 1's tables: what a command's words say about its weight, and
 * which agents work where. Private to decide.
 *
 * Thread: any.
 */
#ifndef ROUTER_SIGNALS_H
#define ROUTER_SIGNALS_H

#include "lib/mem.h"
#include "lib/task.h"
#include "router/decide.h"

enum affinity {
    AFFINITY_NONE, /* no agent, or one the table does not know */
    AFFINITY_CLOUD,
    AFFINITY_LOCAL,
    AFFINITY_DEPENDS,
};

enum affinity affinity_of(const char *agent);
const char *affinity_name(enum affinity a); /* "" for AFFINITY_NONE */

/* How a task's prefix overrides everything that is only guessed. */
enum prefix { PREFIX_NONE, PREFIX_CLOUD, PREFIX_LOCAL };

enum { SIGNALS_MAX = 9 }; /* rows of seed 1's table */

struct score {
    int32_t points;
    struct signal_hit hits[SIGNALS_MAX];
    size_t n_hits;
};

/*
 * Adds up the signals. text is the command without its prefix. Matches are
 * copied to pool, names are static.
 */
void signals_score(const char *text, enum prefix prefix, const struct task *t,
                   const struct facts *f, struct mem_pool *pool,
                   struct score *out);

/* The prefix text begins with; *len: its bytes, blanks after it included. */
enum prefix signals_prefix(const char *text, size_t *len);

#endif
