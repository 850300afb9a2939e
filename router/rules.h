/*
 * rules - decide's table: named predicates over one input, in order of
 * precedence. Private to decide.
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
    TARGET_EXECUTOR, /* the lane of the brief's executor */
    TARGET_CLAUDE,   /* local, lane claude-code */
    TARGET_PROVIDER, /* secutools, the preferred provider's lane */
    TARGET_AUTO,     /* secutools, which picks the provider */
    TARGET_LOCAL,
    TARGET_CLOUD, /* codespace */
};

struct destination {
    const char *backend, *lane;
};

/* Everything the rules look at, derived once. */
struct decide_input {
    const struct task *task;
    const struct hints *hints; /* never NULL */
    const struct routing_facts *facts;
    const struct policy *policy;
    struct mem_pool *pool;
    bool is_ai;            /* a prompt instead of steps */
    bool nothing_left;     /* of the first step without its prefix */
    const char *preferred; /* preferred_ai, trimmed, lower case */
    enum affinity affinity;
    enum prefix prefix;
    struct score score; /* of shell tasks */
    const struct executor_lane *executor;
};

/* The tasks that a rule is about. */
enum rule_tasks { TASKS_ALL, TASKS_PROMPT, TASKS_STEPS };

struct rule {
    const char *name;
    enum rule_tasks tasks;
    bool (*holds)(const struct decide_input *in);
    enum target target;
    bool scored;        /* by the command's score */
    const char *reason; /* unless why words it */
    const char *(*why)(const struct decide_input *in);
};

enum { RULES_MAX = 32 };

/* The first rule that holds decides; for every task one does. A row without a
 * name ends the table. */
extern const struct rule rules[];

bool rule_holds(const struct rule *r, const struct decide_input *in);
const char *rule_reason(const struct rule *r, const struct decide_input *in);

/* Where a rule of that target sends the task; "" for TARGET_REJECT. */
struct destination destination_of(enum target target,
                                  const struct decide_input *in);

#endif
