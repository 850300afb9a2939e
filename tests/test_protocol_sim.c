/*
 * test_protocol_sim - runs the protocol thousands of times, each seed another
 * course of events.
 *
 * SHUNT_SIM_SEEDS=N   N seeds, default 10000
 * SHUNT_SIM_SEED=N    that seed alone, with every step on stderr
 */
#include "tests/protocol_sim_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 10000, SOME_SEEDS = 400, WRONG_SEEDS = 50000 };

static uint64_t
number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void
add(struct sim_report *sum, const struct sim_report *r)
{
    sum->tasks += r->tasks;
    sum->starts += r->starts;
    sum->lost += r->lost;
    sum->closed += r->closed;
    sum->crashes += r->crashes;
    sum->freezes += r->freezes;
    sum->sleeps += r->sleeps;
    sum->resumed += r->resumed;
    sum->cuts += r->cuts;
    sum->spooled += r->spooled;
    sum->again += r->again;
    sum->superseded += r->superseded;
    sum->refused += r->refused;
    sum->cancelled += r->cancelled;
    sum->unrouted += r->unrouted;
    sum->stopped += r->stopped;
    sum->unstarted += r->unstarted;
    sum->steps += r->steps;
}

static void
tell(uint64_t seeds, const struct sim_report *sum)
{
    print_message("%" PRIu64 " seeds, %" PRIu64 " steps: %u tasks, %u starts, "
                  "%u lost, %u closed, %u emitted again, %u superseded, %u "
                  "refused, %u crashes, %u freezes, %u suspensions of all, %u "
                  "claims kept through them, %u cuts, %u from disk, %u "
                  "to be cancelled: %u not routed, %u not started, %u "
                  "stopped\n",
                  seeds, sum->steps, sum->tasks, sum->starts, sum->lost,
                  sum->closed, sum->again, sum->superseded, sum->refused,
                  sum->crashes, sum->freezes, sum->sleeps, sum->resumed,
                  sum->cuts, sum->spooled, sum->cancelled, sum->unrouted,
                  sum->unstarted, sum->stopped);
}

static void
nothing_is_lost_and_nothing_runs_twice(void **state)
{
    uint64_t one = number("SHUNT_SIM_SEED", 0), first = one ? one : 1;
    uint64_t n = one ? 1 : number("SHUNT_SIM_SEEDS", SEEDS), failed = 0;
    struct sim_report sum = {0}, r;

    (void)state;
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim_conf conf = {.seed = seed, .trace = one != 0};

        sim_run(&conf, &r);
        add(&sum, &r);
        if (!r.violations)
            continue;
        if (failed++ < 10)
            print_error("%s\n  again: SHUNT_SIM_SEED=%" PRIu64 " %s\n", r.first,
                        seed, "build/tests/test_protocol_sim");
    }
    tell(n, &sum);
    if (failed)
        fail_msg("%" PRIu64 " of %" PRIu64 " seeds", failed, n);
}

static void
every_kind_of_trouble_comes_up(void **state)
{
    struct sim_report sum = {0}, r;

    (void)state;
    for (uint64_t seed = 1; seed <= SOME_SEEDS; seed++) {
        sim_run(&(struct sim_conf){.seed = seed}, &r);
        add(&sum, &r);
    }
    assert_true(sum.lost > SOME_SEEDS / 4);
    assert_true(sum.closed > SOME_SEEDS / 20);
    assert_true(sum.again > SOME_SEEDS / 20);
    assert_true(sum.superseded > SOME_SEEDS / 20);
    assert_true(sum.refused > SOME_SEEDS / 20);
    assert_true(sum.freezes > SOME_SEEDS);
    assert_true(sum.sleeps > SOME_SEEDS / 4);
    assert_true(sum.resumed > SOME_SEEDS / 50);
    assert_true(sum.crashes > SOME_SEEDS);
    assert_true(sum.cancelled > SOME_SEEDS);
    assert_true(sum.unrouted > SOME_SEEDS / 20);
    assert_true(sum.unstarted > SOME_SEEDS / 20);
    assert_true(sum.stopped > SOME_SEEDS / 20);
}

static void
one_seed_takes_one_course(void **state)
{
    struct sim_report a, b;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        sim_run(&(struct sim_conf){.seed = seed}, &a);
        sim_run(&(struct sim_conf){.seed = seed}, &b);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

/* --- that it can see ------------------------------------------------------ */

struct wrong_row {
    const char *name;
    enum sim_wrong wrong;
    const char *seen; /* in what is found */
};

static const struct wrong_row wrongs[] = {
    {"a worker that runs without a claim is seen", SIM_NO_CLAIM, "has fence"},
    {"a worker that acknowledges before the result is seen", SIM_EARLY_ACK,
     "acknowledged before its result is stored"},
    {"a worker that publishes without settling the claim is seen",
     SIM_NO_OUTCOME, "acknowledged before its claim holds the outcome"},
    {"a worker that closes a claim in its holder's name is seen", SIM_BORROWED,
     "its claim went from"},
    {"a worker that dates an old write by a new one is seen", SIM_LATE_DATE,
     "runs twice at once"},
    {"a worker that never gives up is seen", SIM_NO_FENCING,
     "runs twice at once"},
    {"a worker that never gives up once it was suspended is seen",
     SIM_LONG_GRACE, "runs twice at once"},
    {"a worker that starts on an old confirmation is seen", SIM_STALE_START,
     "has fence"},
    {"a worker that trusts its own clock is seen", SIM_WALL_CLOCK,
     "taken for lost after"},
    {"a worker that trusts the broker's clock alone is seen", SIM_NO_WATCH,
     "taken for lost after"},
    {"a worker that starts a lost attempt again is seen", SIM_SAME_ATTEMPT,
     "claimed after"},
    {"a ledger that does not wait for the outcome is seen", SIM_HASTY_LEDGER,
     "the claim running"},
    {"a ledger that believes every result is seen", SIM_BLIND_LEDGER,
     "planted"},
    {"a ledger in which the last result wins is seen", SIM_LAST_WINS,
     "a terminal row changed"},
    {"a worker that does not look for a cancel is seen", SIM_NO_LOOK,
     "starts after it was cancelled"},
    {"a worker that trusts an old table of cancels is seen", SIM_OLD_TABLE,
     "starts after it was cancelled"},
    {"a worker that lets run on what is cancelled is seen", SIM_DEAF,
     "after its cancel"},
    {"a router that does not look for a cancel is seen", SIM_BLIND_ROUTER,
     "routed after it was cancelled"},
    {"a ledger that forgets an early cancel is seen", SIM_FORGETFUL,
     "held for ever"},
};

static void
test_wrong(void **state)
{
    const struct wrong_row *row = *state;
    struct sim_report r = {0};
    uint64_t seed = 0;

    while (seed < WRONG_SEEDS && !strstr(r.first, row->seen)) {
        seed++;
        sim_run(&(struct sim_conf){.seed = seed, .wrong = row->wrong}, &r);
    }
    print_message("seed %" PRIu64 ": %s\n", seed, r.first);
    assert_non_null(strstr(r.first, row->seen));
}

enum { N_WRONGS = sizeof wrongs / sizeof *wrongs, N_PLAIN = 3 };

int
main(void)
{
    struct CMUnitTest tests[N_PLAIN + N_WRONGS] = {
        cmocka_unit_test(nothing_is_lost_and_nothing_runs_twice),
        cmocka_unit_test(every_kind_of_trouble_comes_up),
        cmocka_unit_test(one_seed_takes_one_course),
    };
    /* To look at one seed is to look at nothing else. */
    size_t n = getenv("SHUNT_SIM_SEED") ? 1 : N_PLAIN;

    for (size_t i = 0; i < N_WRONGS && n > 1; i++)
        tests[n++] = (struct CMUnitTest){.name = wrongs[i].name,
                                         .test_func = test_wrong,
                                         .initial_state = (void *)&wrongs[i]};
    return _cmocka_run_group_tests("protocol_sim", tests, n, NULL, NULL);
}
