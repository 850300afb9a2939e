/*
 * admission - whether and where a submitted task is routed: a pure function
 * from bytes to a verdict, which dispatch.c carries out.
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
    /* Deliveries after which a message is suspected of killing its router. */
    ADMISSION_DELIVERIES_MAX = 20,
};

/* The reason for a message delivered too often; printf with a uint64_t. */
#define ADMISSION_POISON "delivered %" PRIu64 " times and never settled"

/* A message as it arrived, or one task of several; untrusted. */
struct inbound {
    const void *data;
    size_t len;
    const char *id;     /* Nats-Msg-Id; "" if none, or of several tasks */
    uint64_t seq;       /* in the stream */
    uint64_t delivered; /* number of deliveries, this one included */
    int64_t stored_at_ms;
    /* Only of one task of several: */
    size_t number; /* from 1; 0: the message holds one task */
    struct bytes message;
    char *message_id; /* TASK_ID_SIZE; "" until one of them needs it */
};

struct router_rules {
    const struct policy *policy;
    char **lanes; /* "backend.lane" besides the built-in ones; may be NULL */
};

enum admission_verdict {
    ADMIT_ROUTE,  /* publish task and decision */
    ADMIT_LEAVE,  /* the ledger holds it and dispatches it when due */
    ADMIT_REJECT, /* valid, but there is no lane for it */
    ADMIT_DEAD,   /* invalid: becomes a dead letter */
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

/* Whether a message was delivered so often that it must not be parsed: parsing
 * it may be what kills the router. */
bool admission_is_poison(uint64_t delivered);

/* Strings of *out live in pool, in *in or are static. now_ms: wall clock. */
void admit(const struct inbound *in, const struct router_rules *rules,
           const struct routing_facts *f, int64_t now_ms, struct mem_pool *pool,
           struct admission *out);

/* Fills *out with the result of a task that never runs. */
void admission_result(const struct admission *a, enum state state,
                      int64_t now_ms, struct result *out);

#endif
