/* One ledger at a time, against a real broker. */
#include "tests/reaper_fixture.h"

#include "reaper/ledger_lease.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHORT_LEASE_MS = 900 };

struct lease_holder {
    struct ledger_lease *lease;
    bool taken, lost;
};

static void
on_taken(void *ctx)
{
    ((struct lease_holder *)ctx)->taken = true;
}

static void
on_lost(void *ctx)
{
    ((struct lease_holder *)ctx)->lost = true;
}

static void
begin(struct reaper_fixture *f, struct lease_holder *h, const char *host,
      const char *database)
{
    *h = (struct lease_holder){0};
    h->lease = ledger_lease_open(
        &(struct ledger_lease_parts){.bus = f->bus,
                                     .loop = f->loop,
                                     .host = host,
                                     .database = database,
                                     .lease_ms = SHORT_LEASE_MS,
                                     .taken = on_taken,
                                     .lost = on_lost,
                                     .ctx = h});
}

/* Lets a renewal and a look of each happen. */
static void
let_pass(struct reaper_fixture *f, int64_t ms)
{
    const bool never = false;

    (void)loop_until(f->loop, &never, ms);
}

static int
open_without_reaper(void **state)
{
    int rc = open_fixture(state);

    if (rc == 0)
        stop(*state);
    log_level_set(LOG_ERROR);
    return rc;
}

static void
a_second_ledger_waits_until_the_first_gives_it_back(void **state)
{
    struct reaper_fixture *f = *state;
    struct lease_holder first, second;

    begin(f, &first, "a", "/x");
    assert_true(loop_until(f->loop, &first.taken, LONG_MS));
    begin(f, &second, "b", "/x");
    let_pass(f, 2 * SHORT_LEASE_MS);
    assert_false(second.taken);
    assert_false(first.lost);
    ledger_lease_close(first.lease);
    assert_true(loop_until(f->loop, &second.taken, LONG_MS));
    ledger_lease_close(second.lease);
}

static void
one_that_fell_silent_is_replaced_and_ends_when_it_is_back(void **state)
{
    struct reaper_fixture *f = *state;
    static const char theirs[] = "{\"host\": \"dead\", \"database\": \"/x\"}";
    struct lease_holder second;
    int64_t before;

    (void)publish_bytes(f, SUBJECT_LEDGER_LEASE, NULL, theirs, strlen(theirs));
    before = loop_now_ms();
    begin(f, &second, "b", "/x");
    assert_true(loop_until(f->loop, &second.taken, LONG_MS));
    assert_true(loop_now_ms() - before >= SHORT_LEASE_MS);
    /* Somebody takes it over, as from one that was suspended. */
    (void)publish_bytes(f, SUBJECT_LEDGER_LEASE, NULL, theirs, strlen(theirs));
    assert_true(loop_until(f->loop, &second.lost, LONG_MS));
    ledger_lease_close(second.lease);
}

static void
a_ledger_does_not_wait_for_its_earlier_life(void **state)
{
    struct reaper_fixture *f = *state;
    static const char ours[] = "{\"host\": \"a\", \"database\": \"/x\"}";
    static const char junk[] = "{\"stream\":\"TASKS_IN\", \"seq\": 7";
    struct lease_holder h;
    int64_t before;

    (void)publish_bytes(f, SUBJECT_LEDGER_LEASE, NULL, ours, strlen(ours));
    before = loop_now_ms();
    begin(f, &h, "a", "/x");
    assert_true(loop_until(f->loop, &h.taken, LONG_MS));
    assert_true(loop_now_ms() - before < SHORT_LEASE_MS);
    /* What nobody can have meant is written over. */
    (void)publish_bytes(f, SUBJECT_LEDGER_LEASE, NULL, junk, strlen(junk));
    let_pass(f, SHORT_LEASE_MS);
    assert_false(h.lost);
    ledger_lease_close(h.lease);
}

static void
a_second_reaper_touches_nothing_while_it_waits(void **state)
{
    struct reaper_fixture *f = *state;
    struct reaper_conf conf = f->conf;
    char other[128];
    pid_t pid;

    start(f);
    submit(f, "{\"id\": \"t1\", \"name\": \"t1\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
    (void)snprintf(other, sizeof other, "%s/other.db", f->dir);
    conf.database = other;
    pid = fork();
    if (pid == 0) {
        struct loop *l;
        struct bus *b;
        struct reaper *r;
        struct err e;

        if (loop_open(&l, &e) == 0 &&
            bus_open(&b, l, &f->bus_conf, "reaper", LONG_MS, &e) == 0)
            (void)reaper_open(&r, b, l, &conf, &e);
        _exit(7);
    }
    assert_true(pid > 0);
    let_pass(f, 1500);
    submit(f, "{\"id\": \"t2\", \"name\": \"t2\", \"steps\": [\"true\"]}");
    until_state_is(f, "t2", "accepted");
    finish(f, "t2", STATE_SUCCEEDED, "");
    until_state_is(f, "t2", "succeeded");
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it waits */
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

#define TEST_BARE(name)                                                        \
    cmocka_unit_test_setup_teardown(name, open_without_reaper, close_fixture)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_BARE(a_second_ledger_waits_until_the_first_gives_it_back),
        TEST_BARE(one_that_fell_silent_is_replaced_and_ends_when_it_is_back),
        TEST_BARE(a_ledger_does_not_wait_for_its_earlier_life),
        TEST_BARE(a_second_reaper_touches_nothing_while_it_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
