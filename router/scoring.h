/*
 * scoring - the points of a command: the sum of the policy's signals that apply
 * to it. Private to decide.
 *
 * Thread: any.
 */
#ifndef ROUTER_SCORING_H
#define ROUTER_SCORING_H

#include "lib/base/mem.h"
#include "lib/model/task.h"
#include "router/decide.h"

struct score {
    int32_t points;
    struct signal_hit *hits; /* in the order of the policy's rows */
    size_t n_hits;
};

/*
 * Adds up the signals of the policy that apply. text is the command without its
 * prefix, data the stated amount of data. *out lives in pool or in the policy.
 */
void scoring_score(const char *text, enum prefix prefix, const char *data,
                   const struct routing_facts *f, const struct policy *p,
                   struct mem_pool *pool, struct score *out);

/* The prefix of text; *len: its bytes, including blanks after it. */
enum prefix scoring_prefix(const char *text, size_t *len);

#endif
