#include "lib/model/task.h"
#include "lib/model/task_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

enum { LEASE_MS = 30000 };

#define FIVE_S 5000
#define FIFTEEN_MIN 900000

static const enum state terminal[] = {
    STATE_SUCCEEDED, STATE_FAILED,    STATE_UNVERIFIED,
    STATE_NO_OP,     STATE_TIMED_OUT, STATE_CANCELLED,
    STATE_REJECTED,  STATE_DEAD,      STATE_UNKNOWN,
};

enum { N_TERMINAL = sizeof terminal / sizeof *terminal };

static void
names_are_words_and_lead_back(void **state)
{
    (void)state;
    assert_string_equal(state_name(STATE_RETRY_WAIT), "retry_wait");
    assert_string_equal(state_name(STATE_NO_OP), "no_op");
    assert_string_equal(state_name((enum state)99), "?");
    assert_int_equal(state_from_name("nonsense"), STATE_UNSPECIFIED);
    for (int s = STATE_UNSPECIFIED + 1; s < STATE_COUNT; s++)
        assert_int_equal(state_from_name(state_name((enum state)s)), s);
}

static void
nothing_leaves_a_terminal_state(void **state)
{
    (void)state;
    for (int i = 0; i < N_TERMINAL; i++) {
        assert_true(state_is_terminal(terminal[i]));
        for (int to = 0; to < STATE_COUNT; to++)
            assert_int_equal(state_next(terminal[i], (enum state)to),
                             terminal[i] == (enum state)to);
    }
    for (int s = 0, n = 0; s < STATE_COUNT; s++) {
        n += state_is_terminal((enum state)s);
        if (s == STATE_COUNT - 1)
            assert_int_equal(n, N_TERMINAL);
    }
}

static void
every_pair_of_states_is_as_listed(void **state)
{
    /* Rows: from, in the order of the enum; x: legal. */
    static const char *const rows[STATE_COUNT] = {
        /* .SAHBRrwsfuntcRdu.. */
        [STATE_UNSPECIFIED] = "xxxxxxxxxxxxxxxxx..",
        [STATE_SUBMITTED] = ".xxxxxxxxxxxxxxxx..",
        [STATE_ACCEPTED] = "..xxxxxxxxxxxxxxx..",
        [STATE_HELD] = "..xxxx.......xx....",
        [STATE_BLOCKED] = "..xxxx.......xx....",
        [STATE_ROUTED] = ".....xxxxxxxxxxxx..",
        [STATE_RUNNING] = ".....xxxxxxxxx.xx..",
        [STATE_RETRY_WAIT] = ".....xxxxxxxxx.xx..",
        [STATE_SUCCEEDED] = "........x..........",
        [STATE_FAILED] = ".........x.........",
        [STATE_UNVERIFIED] = "..........x........",
        [STATE_NO_OP] = "...........x.......",
        [STATE_TIMED_OUT] = "............x......",
        [STATE_CANCELLED] = ".............x.....",
        [STATE_REJECTED] = "..............x....",
        [STATE_DEAD] = "...............x...",
        [STATE_UNKNOWN] = "................x..",
        [STATE_LOST] = ".................x.",
        [STATE_PREEMPTED] = "..................x",
    };

    (void)state;
    for (int from = 0; from < STATE_COUNT; from++)
        for (int to = 0; to < STATE_COUNT; to++)
            if (state_next((enum state)from, (enum state)to) !=
                (rows[from][to] == 'x'))
                fail_msg("%s -> %s", state_name((enum state)from),
                         state_name((enum state)to));
    assert_false(state_next((enum state)99, STATE_FAILED));
    assert_false(state_next(STATE_RUNNING, (enum state)99));
}

/* --- deliveries ---------------------------------------------------------- */

struct delivery_row {
    const char *name;
    enum retry_policy retry;
    struct claim found;
    struct claim_sight sight;
    int64_t now_ms;
    struct delivery_plan want;
};

static const struct delivery_row deliveries[] = {
    {"a lease that has just run out is lost",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = LEASE_MS},
     {LEASE_MS, LEASE_MS},
     0,
     {DELIVERY_START, 0, 2, 1, 0, STATE_RUNNING, ""}},
    {"a lease with a while left is waited for",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = LEASE_MS},
     {10000, LEASE_MS},
     0,
     {DELIVERY_WAIT, 20000, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a lease about to run out is not polled in a hot loop",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = LEASE_MS},
     {LEASE_MS - 1, LEASE_MS},
     0,
     {DELIVERY_WAIT, 1000, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a claim from the future waits no longer than its lease",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = LEASE_MS},
     {-500000, LEASE_MS},
     0,
     {DELIVERY_WAIT, LEASE_MS, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a policy that is not stated is safe",
     RETRY_UNSPECIFIED,
     {.state = STATE_RUNNING, .attempt = 4, .lease_ms = 1, .failed = 3},
     {2, LEASE_MS},
     0,
     {DELIVERY_START, 0, 5, 1, 3, STATE_RUNNING, ""}},
    {"lost for the second time it runs again",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 2, .lease_ms = 1, .lost = 1},
     {2, LEASE_MS},
     0,
     {DELIVERY_START, 0, 3, 2, 0, STATE_RUNNING, ""}},
    {"lost for the third time it is dead",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 3, .lease_ms = 1, .lost = 2},
     {2, LEASE_MS},
     0,
     {DELIVERY_CLOSE, 0, 3, 3, 0, STATE_DEAD, "many times"}},
    {"retry never leaves a lost attempt to a person",
     RETRY_NEVER,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = 1},
     {2, LEASE_MS},
     0,
     {DELIVERY_CLOSE, 0, 1, 1, 0, STATE_UNKNOWN, "retry is never"}},
    {"retry never waits for a live lease all the same",
     RETRY_NEVER,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = 5000},
     {1000, LEASE_MS},
     0,
     {DELIVERY_WAIT, 4000, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a retry that is due starts",
     RETRY_SAFE,
     {.state = STATE_RETRY_WAIT,
      .attempt = 1,
      .retry_at_ms = 7000,
      .failed = 1},
     {0, LEASE_MS},
     7000,
     {DELIVERY_START, 0, 2, 0, 1, STATE_RUNNING, ""}},
    {"a retry that is not due waits",
     RETRY_SAFE,
     {.state = STATE_RETRY_WAIT,
      .attempt = 1,
      .retry_at_ms = 7000,
      .failed = 1},
     {0, LEASE_MS},
     3000,
     {DELIVERY_WAIT, 4000, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"an attempt handed back counts as neither lost nor failed",
     RETRY_NEVER,
     {.state = STATE_PREEMPTED, .attempt = 2, .lost = 1, .failed = 1},
     {0, LEASE_MS},
     0,
     {DELIVERY_START, 0, 3, 1, 1, STATE_RUNNING, ""}},
    {"work that goes on elsewhere is resumed, however often",
     RETRY_SAFE,
     {.state = STATE_RUNNING,
      .attempt = 7,
      .lease_ms = LEASE_MS,
      .lost = 2,
      .remote = "job"},
     {LEASE_MS, LEASE_MS},
     0,
     {DELIVERY_START, 0, 8, 2, 0, STATE_RUNNING, ""}},
    {"it is resumed where nothing may be run again",
     RETRY_NEVER,
     {.state = STATE_RUNNING,
      .attempt = 1,
      .lease_ms = LEASE_MS,
      .remote = "job"},
     {LEASE_MS, LEASE_MS},
     0,
     {DELIVERY_START, 0, 2, 0, 0, STATE_RUNNING, ""}},
    {"a clock that was set forward does not end a lease that is renewed",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = LEASE_MS},
     {3600000, STATE_SILENT_MS - 2000},
     0,
     {DELIVERY_WAIT, 2000, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a longer lease is watched no longer than any",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = 90000},
     {90000, STATE_SILENT_MS},
     0,
     {DELIVERY_START, 0, 2, 1, 0, STATE_RUNNING, ""}},
    {"watched until silent, and old enough, it is lost",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = LEASE_MS},
     {3600000, STATE_SILENT_MS},
     0,
     {DELIVERY_START, 0, 2, 1, 0, STATE_RUNNING, ""}},
    {"a silent holder keeps its claim until the lease is over",
     RETRY_NEVER,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = LEASE_MS},
     {25000, 25000},
     0,
     {DELIVERY_WAIT, 5000, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a shorter lease is watched for two fifths of it",
     RETRY_SAFE,
     {.state = STATE_RUNNING, .attempt = 1, .lease_ms = 10000},
     {10000, 2500},
     0,
     {DELIVERY_WAIT, 1500, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a clock set back by hours holds a retry no longer than its back-off",
     RETRY_SAFE,
     {.state = STATE_RETRY_WAIT,
      .attempt = 1,
      .retry_at_ms = 7200000,
      .failed = 1},
     {1000, 0},
     0,
     {DELIVERY_WAIT, 5000, 0, 0, 0, STATE_UNSPECIFIED, ""}},
    {"a retry older than its back-off starts whatever the clock says",
     RETRY_SAFE,
     {.state = STATE_RETRY_WAIT,
      .attempt = 1,
      .retry_at_ms = 7200000,
      .failed = 1},
     {6000, 0},
     0,
     {DELIVERY_START, 0, 2, 0, 1, STATE_RUNNING, ""}},
};

static void
check_plan(const struct delivery_plan *got, const struct delivery_plan *want)
{
    assert_int_equal(got->what, want->what);
    assert_int_equal(got->delay_ms, want->delay_ms);
    assert_int_equal(got->attempt, want->attempt);
    assert_int_equal(got->lost, want->lost);
    assert_int_equal(got->failed, want->failed);
    assert_int_equal(got->state, want->state);
    assert_non_null(strstr(got->reason, want->reason));
}

static void
test_delivery(void **state)
{
    const struct delivery_row *row = *state;
    struct task t = {.retry = row->retry};
    struct delivery_plan got;

    state_on_delivery(&t, &row->found, &row->sight, row->now_ms, &got);
    check_plan(&got, &row->want);
}

static void
without_a_claim_the_first_attempt_starts(void **state)
{
    const struct delivery_plan want = {DELIVERY_START, 0, 1, 0, 0,
                                       STATE_RUNNING,  ""};
    struct task t = {.retry = RETRY_NEVER};
    struct delivery_plan got;

    (void)state;
    state_on_delivery(&t, NULL, NULL, 0, &got);
    check_plan(&got, &want);
}

static void
what_is_over_is_emitted_again_and_never_run(void **state)
{
    const struct claim_sight long_ago = {1000000, 1000000};
    struct task t = {.retries = 5};
    struct delivery_plan got;

    (void)state;
    for (int i = 0; i < N_TERMINAL; i++) {
        struct claim c = {.state = terminal[i], .attempt = 2, .lost = 1};

        state_on_delivery(&t, &c, &long_ago, 1000000, &got);
        assert_int_equal(got.what, DELIVERY_EMIT);
        assert_int_equal(got.attempt, 2);
    }
}

/* --- ends ---------------------------------------------------------------- */

struct end_row {
    const char *name;
    uint32_t retries;
    enum retry_policy retry;
    uint32_t failed; /* before */
    enum state end;
    double jitter;
    struct end_plan want;
};

static const struct end_row ends[] = {
    {"success is final",
     3,
     RETRY_SAFE,
     1,
     STATE_SUCCEEDED,
     0,
     {STATE_SUCCEEDED, true, 0, 1}},
    {"unverified is final",
     3,
     RETRY_SAFE,
     0,
     STATE_UNVERIFIED,
     0,
     {STATE_UNVERIFIED, true, 0, 0}},
    {"no_op is final",
     3,
     RETRY_SAFE,
     0,
     STATE_NO_OP,
     0,
     {STATE_NO_OP, true, 0, 0}},
    {"cancelled is final though retries are left",
     3,
     RETRY_SAFE,
     0,
     STATE_CANCELLED,
     0,
     {STATE_CANCELLED, true, 0, 0}},
    {"a failure without retries is final",
     0,
     RETRY_SAFE,
     0,
     STATE_FAILED,
     0,
     {STATE_FAILED, true, 0, 1}},
    {"the first failure comes back after five seconds",
     1,
     RETRY_SAFE,
     0,
     STATE_FAILED,
     0.5,
     {STATE_RETRY_WAIT, false, FIVE_S, 1}},
    {"the last retry failing is final",
     1,
     RETRY_SAFE,
     1,
     STATE_FAILED,
     0.5,
     {STATE_FAILED, true, 0, 2}},
    {"a time out is retried like a failure",
     1,
     RETRY_SAFE,
     0,
     STATE_TIMED_OUT,
     0.5,
     {STATE_RETRY_WAIT, false, FIVE_S, 1}},
    {"a time out without retries stays one",
     0,
     RETRY_SAFE,
     0,
     STATE_TIMED_OUT,
     0.5,
     {STATE_TIMED_OUT, true, 0, 1}},
    {"the wait doubles",
     9,
     RETRY_SAFE,
     3,
     STATE_FAILED,
     0.5,
     {STATE_RETRY_WAIT, false, 8 * FIVE_S, 4}},
    {"the wait is at most a quarter of an hour",
     4000000000,
     RETRY_SAFE,
     3000000000,
     STATE_FAILED,
     0.999,
     {STATE_RETRY_WAIT, false, FIFTEEN_MIN, 3000000001}},
    {"jitter takes at most a fifth away",
     1,
     RETRY_SAFE,
     0,
     STATE_FAILED,
     0,
     {STATE_RETRY_WAIT, false, 4000, 1}},
    {"retry never retries what failed: it was asked for",
     1,
     RETRY_NEVER,
     0,
     STATE_FAILED,
     0.5,
     {STATE_RETRY_WAIT, false, FIVE_S, 1}},
    {"handed back comes back at once and counts for nothing",
     0,
     RETRY_SAFE,
     0,
     STATE_PREEMPTED,
     0,
     {STATE_PREEMPTED, false, 0, 0}},
    {"handed back with retry never is left to a person",
     0,
     RETRY_NEVER,
     0,
     STATE_PREEMPTED,
     0,
     {STATE_UNKNOWN, true, 0, 0}},
};

static void
test_end(void **state)
{
    const struct end_row *row = *state;
    struct task t = {.retry = row->retry, .retries = row->retries};
    struct claim c = {.attempt = 1, .failed = row->failed};
    struct ending end = {row->end, "", 1, 0};
    struct end_plan got;

    state_on_end(&t, &c, &end, row->jitter, &got);
    assert_int_equal(got.state, row->want.state);
    assert_int_equal(got.final, row->want.final);
    assert_int_equal(got.delay_ms, row->want.delay_ms);
    assert_int_equal(got.failed, row->want.failed);
}

struct class_row {
    const char *name;
    struct ending end;
    enum state want; /* RETRY_WAIT: it comes again */
};

static const struct class_row classes[] = {
    {"a command that is not there is not looked for again",
     {STATE_FAILED, "", 127, 0},
     STATE_FAILED},
    {"a file that cannot be executed is not tried again",
     {STATE_FAILED, "", 126, 0},
     STATE_FAILED},
    {"what our side refuses is refused once",
     {STATE_FAILED, "", 125, 0},
     STATE_FAILED},
    {"an exit code below those is worth another try",
     {STATE_FAILED, "", 124, 0},
     STATE_RETRY_WAIT},
    {"an exit code above those is worth another try",
     {STATE_FAILED, "", 128, 0},
     STATE_RETRY_WAIT},
    {"a kill is worth another try: memory may have been short",
     {STATE_FAILED, "", 137, 9},
     STATE_RETRY_WAIT},
    {"a signal is transient whatever number stands beside it",
     {STATE_FAILED, "", 127, 15},
     STATE_RETRY_WAIT},
    {"a time out is transient whatever number stands beside it",
     {STATE_TIMED_OUT, "", 126, 0},
     STATE_RETRY_WAIT},
    {"a definition of done that was not met is worth another try",
     {STATE_FAILED, "", 0, 0},
     STATE_RETRY_WAIT},
    {"what was cancelled stays cancelled",
     {STATE_CANCELLED, "", 143, 15},
     STATE_CANCELLED},
};

static void
test_class(void **state)
{
    const struct class_row *row = *state;
    struct task t = {.retry = RETRY_SAFE, .retries = 3};
    struct claim c = {.attempt = 2, .failed = 1};
    struct end_plan got;

    state_on_end(&t, &c, &row->end, 0.5, &got);
    assert_int_equal(got.state, row->want);
    assert_int_equal(got.final, row->want != STATE_RETRY_WAIT);
    assert_int_equal(got.failed, row->want == STATE_CANCELLED ? 1 : 2);
    assert_int_equal(got.delay_ms, got.final ? 0 : 2 * FIVE_S);
}

static void
only_failures_and_time_outs_are_ever_transient(void **state)
{
    (void)state;
    for (int s = 0; s <= STATE_COUNT; s++) {
        struct ending end = {(enum state)s, "", 1, 0};

        assert_int_equal(state_retry_class(&end) == RETRY_CLASS_TRANSIENT,
                         s == STATE_FAILED || s == STATE_TIMED_OUT);
    }
}

enum {
    N_DELIVERIES = sizeof deliveries / sizeof *deliveries,
    N_ENDS = sizeof ends / sizeof *ends,
    N_CLASSES = sizeof classes / sizeof *classes,
    N_PLAIN = 6,
};

int
main(void)
{
    struct CMUnitTest tests[N_PLAIN + N_DELIVERIES + N_ENDS + N_CLASSES] = {
        cmocka_unit_test(names_are_words_and_lead_back),
        cmocka_unit_test(nothing_leaves_a_terminal_state),
        cmocka_unit_test(every_pair_of_states_is_as_listed),
        cmocka_unit_test(without_a_claim_the_first_attempt_starts),
        cmocka_unit_test(what_is_over_is_emitted_again_and_never_run),
        cmocka_unit_test(only_failures_and_time_outs_are_ever_transient),
    };
    size_t n = N_PLAIN;

    for (size_t i = 0; i < N_DELIVERIES; i++)
        tests[n++] =
            (struct CMUnitTest){.name = deliveries[i].name,
                                .test_func = test_delivery,
                                .initial_state = (void *)&deliveries[i]};
    for (size_t i = 0; i < N_ENDS; i++)
        tests[n++] = (struct CMUnitTest){.name = ends[i].name,
                                         .test_func = test_end,
                                         .initial_state = (void *)&ends[i]};
    for (size_t i = 0; i < N_CLASSES; i++)
        tests[n++] = (struct CMUnitTest){.name = classes[i].name,
                                         .test_func = test_class,
                                         .initial_state = (void *)&classes[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
