/*
 * rules - decide's table: named predicates over one question, in order of
 * precedence (DESIGN section 5). Private to decide.
 *
 * Thread: any.
 */
#ifndef ROUTER_RULES_H
#define ROUTER_RULES_H

#include "router/decide.h"
#include "router/scoring.h"

/* Where a rule sends a task. */
enum target {
    TARGET_REJECT,
    TARGET_PIN,      /* what the submitter named */
    TARGET_EXECUTOR, /* what the brief's executor maps to */
    TARGET_CLAUDE,   /* local, lane claude-code */
    TARGET_PROVIDER, /* secutools, the preferred provider's lane */
    TARGET_AUTO,     /* secutools, which picks the provider */
    TARGET_LOCAL,
    TARGET_CLOUD, /* codespace */
};

struct destination {
    const char *backend, *lane;
};

/* Everything the rules look at, worked out once. */
struct decide_input {
    const struct task *task;
    const struct hints *hints; /* never NULL */
    const struct routing_facts *facts;
    const struct policy *policy;
    struct mem_pool *pool;
    bool is_ai;            /* a prompt instead of steps */
    bool nothing_left;     /* of the first step, after its prefix */
    const char *preferred; /* preferred_ai, trimmed, lower case */
    enum affinity affinity;
    enum prefix prefix;
    struct score score; /* of shell tasks */
    const struct executor_lane *executor;
};

struct rule {
    const char *name;
    bool (*holds)(const struct decide_input *q);
    enum target target;
    bool scored; /* the score took part */
    const char *(*why)(const struct decide_input *q);
};

enum { RULES_MAX = 32 };

/* The first that holds decides; for every task one of them does. Ends with a
 * row without a name. */
extern const struct rule rules[];

/* Where a rule of that target sends the task; "" for TARGET_REJECT. */
struct destination destination_of(enum target target,
                                  const struct decide_input *q);

#endif
