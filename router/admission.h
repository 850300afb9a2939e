/*
 * admission - what becomes of one submitted task: a pure function from bytes to
 * a verdict. router.c carries it out.
 *
 * Thread: any.
 */
#ifndef ROUTER_ADMISSION_H
#define ROUTER_ADMISSION_H

#include "lib/base/mem.h"
#include "lib/model/subject.h"
#include "lib/model/task.h"
#include "router/decide.h"

#include <inttypes.h>
#include <stdbool.h>

enum {
    /* Deliveries after which a message counts as what kills its router. */
    ADMISSION_DELIVERIES_MAX = 20,
};

/* Of what was delivered too often, for printf with a uint64_t. */
#define ADMISSION_POISON "delivered %" PRIu64 " times and never settled"

/* A message as it arrived, or one task of many; nothing of it is trusted. */
struct inbound {
    const void *data;
    size_t len;
    const char *id;     /* Nats-Msg-Id, "" if none or one for many */
    uint64_t seq;       /* in the stream */
    uint64_t delivered; /* times, this one included */
    int64_t stored_at_ms;
    /* Of one of many. */
    size_t number; /* from 1; 0: it came alone */
    struct bytes message;
    char *message_id; /* TASK_ID_SIZE; "" until one of them needed it */
};

struct router_rules {
    const struct policy *policy;
    char **lanes; /* "backend.lane" beside the built-in ones; may be NULL */
};

enum admission_verdict {
    ADMIT_ROUTE,  /* publish task and decision */
    ADMIT_LEAVE,  /* the ledger holds it and sends it again when due */
    ADMIT_REJECT, /* understood, but no place will take it */
    ADMIT_DEAD,   /* not understood */
};

struct admission {
    enum admission_verdict verdict;
    char id[TASK_ID_SIZE]; /* "" if none could be read */
    char source[SUBJECT_TOKEN_MAX + 1];
    char batch[SUBJECT_TOKEN_MAX + 1];
    const char *reason;       /* of REJECT and DEAD */
    struct task task;         /* of ROUTE, complete */
    struct decision decision; /* of ROUTE */
};

/* Whether what was delivered so often must not be parsed: that may be what
 * kills us. */
bool admission_is_poison(uint64_t delivered);

/* Strings of *out live in pool, in a or are static. now_ms: wall clock. */
void admit(const struct inbound *a, const struct router_rules *rules,
           const struct routing_facts *f, int64_t now_ms, struct mem_pool *pool,
           struct admission *out);

/* Fills *out with the outcome of a task that never runs. */
void admission_rejection(const struct admission *j, int64_t now_ms,
                         struct result *out);

#endif
