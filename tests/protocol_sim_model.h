/*
 * protocol_sim_model - the whole protocol in one process, by seed: a broker,
 * workers, a submitter, a router and a ledger that talk through a simulated
 * network and live by simulated clocks.
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
enum life_wrong {
    LIFE_RIGHT,
    LIFE_NO_CLAIM,     /* a worker runs without having claimed */
    LIFE_EARLY_ACK,    /* ... acknowledges before the result is stored */
    LIFE_NO_OUTCOME,   /* ... publishes without settling the claim */
    LIFE_BORROWED,     /* ... closes a claim in its holder's name */
    LIFE_NO_FENCING,   /* ... runs on without having renewed */
    LIFE_STALE_START,  /* ... starts on a claim confirmed long ago */
    LIFE_LATE_DATE,    /* ... dates what it finds written by its last try */
    LIFE_WALL_CLOCK,   /* ... tells a lost lease by its own wall clock */
    LIFE_NO_WATCH,     /* ... or by the broker's alone */
    LIFE_SAME_ATTEMPT, /* ... runs a lost attempt under its old number */
    LIFE_HASTY_LEDGER, /* the ledger does not wait for the outcome */
    LIFE_BLIND_LEDGER, /* ... believes every result */
    LIFE_LAST_WINS,    /* ... and takes the last one for the outcome */
};

struct life_conf {
    uint64_t seed;
    enum life_wrong wrong;
    bool trace; /* every step on stderr */
};

struct life_report {
    unsigned violations;
    char first[256]; /* what was seen first; "" if nothing */
    unsigned tasks, starts, lost, closed, crashes, freezes, cuts, spooled,
        again, superseded, refused;
    uint64_t steps;
};

/* Runs one seed to its end: the same seed takes the same course. */
void life_run(const struct life_conf *conf, struct life_report *out);

#endif
