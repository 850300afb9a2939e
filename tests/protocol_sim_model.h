/*
 * protocol_sim_model - the whole protocol in one process, by seed: a broker,
 * workers, a submitter, a router and a ledger that talk through a simulated
 * network and go by simulated clocks.
 *
 * What decides is the real thing: state_on_delivery and state_on_end in the
 * workers, fold in the ledger. What surrounds it is a model that fails as the
 * real surroundings do: messages and answers are late, lost, repeated and
 * reordered, the broker is away and forgets ids, workers crash, freeze and
 * thaw, clocks step by hours, somebody plants results. After each step the
 * model compares what happened with what is promised.
 */
#ifndef TESTS_PROTOCOL_SIM_MODEL_H
#define TESTS_PROTOCOL_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

/* A rule that is broken on purpose, to prove that the model can see. */
enum sim_wrong {
    SIM_RIGHT,
    SIM_NO_CLAIM,     /* a worker runs without having claimed */
    SIM_EARLY_ACK,    /* ... acknowledges before the result is stored */
    SIM_NO_OUTCOME,   /* ... publishes without settling the claim */
    SIM_BORROWED,     /* ... closes a claim in its holder's name */
    SIM_NO_FENCING,   /* ... runs on without having renewed */
    SIM_LONG_GRACE,   /* ... or does so once it was suspended */
    SIM_STALE_START,  /* ... starts on a claim confirmed long ago */
    SIM_LATE_DATE,    /* ... dates what it finds written by its last try */
    SIM_WALL_CLOCK,   /* ... tells a lost lease by its own wall clock */
    SIM_NO_WATCH,     /* ... or by the broker's alone */
    SIM_SAME_ATTEMPT, /* ... runs a lost attempt under its old number */
    SIM_HASTY_LEDGER, /* the ledger does not wait for the outcome */
    SIM_BLIND_LEDGER, /* ... believes every result */
    SIM_LAST_WINS,    /* ... and takes the last one for the outcome */
    SIM_NO_LOOK,      /* a worker drops the cancels of what it does not hold */
    SIM_OLD_TABLE,    /* ... trusts its table after it was away */
    SIM_DEAF,         /* ... lets run on what is cancelled */
    SIM_BLIND_ROUTER, /* the router does not look for cancels */
    SIM_FORGETFUL,    /* the ledger forgets the cancel of an unknown task */
};

struct sim_conf {
    uint64_t seed;
    enum sim_wrong wrong;
    bool trace; /* every step on stderr */
};

struct sim_report {
    unsigned violations;
    char first[256]; /* what was seen first; "" if nothing */
    unsigned tasks, starts, lost, closed, crashes, freezes, sleeps, resumed,
        cuts, spooled, again, superseded, refused, cancelled, unrouted, stopped,
        unstarted;
    uint64_t steps;
};

/* Runs one seed to its end: the same seed takes the same course. */
void sim_run(const struct sim_conf *conf, struct sim_report *out);

#endif
