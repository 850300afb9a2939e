#include "tests/bus_fixture.h"

#include "lib/bus/claims.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

/* --- the bucket, on a real broker ----------------------------------------- */

struct read_claim {
    bool done;
    const struct bus *bus;
    struct mem_pool *pool;
    const char *task;
    struct claims_entry found;
    int rc;
    struct err e;
};

static void
make_bucket(struct bus_fixture *f)
{
    struct str answer = {0};
    struct err e;
    static const char del[] = "$JS.API.STREAM.DELETE.KV_claims";

    (void)bus_call(f->bus, del, "", 0, 5000, &answer, &e); /* may not exist */
    str_free(&answer);
    api(f, "STREAM.CREATE.KV_claims",
        "{\"name\":\"KV_claims\",\"subjects\":[\"$KV.claims.>\"],"
        "\"allow_direct\":true,\"storage\":\"file\",\"num_replicas\":1,"
        "\"retention\":\"limits\",\"max_msgs_per_subject\":1}");
}

static void
on_got(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct read_claim *r = ctx;

    assert_null(e);
    r->done = true;
    r->rc = claims_read(r->bus, entry, r->task, r->pool, &r->found, &r->e);
}

static struct read_claim
get(struct bus_fixture *f, struct mem_pool *pool, const char *task)
{
    struct read_claim r = {.bus = f->bus, .pool = pool, .task = task};

    claims_get(f->bus, "local", task, on_got, &r);
    assert_true(loop_until(f->loop, &r.done, WAIT_MS));
    return r;
}

static struct claim
claim_of(const char *task, uint32_t attempt)
{
    struct claim c;

    codec_init(CODEC_CLAIM, &c);
    c.task = task;
    c.attempt = attempt;
    c.nonce = "n1";
    c.state = STATE_RUNNING;
    c.lease_ms = 30000;
    return c;
}

static struct bus_result
put(struct bus_fixture *f, const struct claim *c, uint64_t revision)
{
    struct bus_result r = {0};

    claims_put(f->bus, "local", c, revision, on_stored, &r);
    finish(f, &r);
    return r;
}

static void
a_claim_that_was_put_is_read_again(void **state)
{
    struct bus_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct claim c = claim_of("t1", 3);
    struct bus_result stored;
    struct read_claim r;

    make_bucket(f);
    stored = put(f, &c, 0);
    assert_int_equal(stored.code, ERR_NONE);
    r = get(f, pool, "t1");
    assert_int_equal(r.rc, 0);
    assert_non_null(r.found.claim);
    assert_string_equal(r.found.claim->task, "t1");
    assert_int_equal(r.found.claim->attempt, 3);
    assert_int_equal(r.found.revision, stored.seq);
    assert_true(r.found.age_ms >= 0 && r.found.age_ms < WAIT_MS);
    mem_pool_free(pool);
}

static void
without_a_claim_there_is_none_to_expect(void **state)
{
    struct bus_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct read_claim r;

    make_bucket(f);
    r = get(f, pool, "t1");
    assert_int_equal(r.rc, 0);
    assert_null(r.found.claim);
    assert_int_equal(r.found.revision, 0);
    mem_pool_free(pool);
}

static void
of_two_who_write_over_one_revision_one_is_refused(void **state)
{
    struct bus_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct claim c = claim_of("t1", 1);
    uint64_t first;

    make_bucket(f);
    first = put(f, &c, 0).seq;
    assert_int_equal(put(f, &c, 0).code, ERR_CONFLICT);
    c.attempt = 2;
    assert_int_equal(put(f, &c, first).code, ERR_NONE);
    c.attempt = 3;
    assert_int_equal(put(f, &c, first).code, ERR_CONFLICT);
    assert_int_equal(get(f, pool, "t1").found.claim->attempt, 2);
    mem_pool_free(pool);
}

static void
a_deleted_claim_is_none_but_its_revision_is_expected(void **state)
{
    struct bus_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct claim c = claim_of("t1", 1);
    char subject[SUBJECT_SIZE];
    struct read_claim r;

    make_bucket(f);
    (void)put(f, &c, 0);
    (void)publish(f, subject_claim(subject, "local", "t1"), NULL, "",
                  BUS_ANY_REVISION);
    r = get(f, pool, "t1");
    assert_int_equal(r.rc, 0);
    assert_null(r.found.claim);
    assert_int_equal(put(f, &c, 0).code, ERR_CONFLICT);
    assert_int_equal(put(f, &c, r.found.revision).code, ERR_NONE);
    mem_pool_free(pool);
}

static void
a_claim_that_cannot_be_read_is_an_error(void **state)
{
    struct bus_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    char subject[SUBJECT_SIZE];

    make_bucket(f);
    (void)publish(f, subject_claim(subject, "local", "t1"), NULL,
                  "\xff\xff nonsense", BUS_ANY_REVISION);
    assert_int_equal(get(f, pool, "t1").rc, -1);
    mem_pool_free(pool);
}

static void
claims_of_old_messages_may_have_expired(void **state)
{
    struct bus_fixture *f = *state;
    int64_t now_ms = str_wall_ms();

    assert_false(claims_may_have_expired(f->bus, now_ms, 0));
    assert_false(
        claims_may_have_expired(f->bus, now_ms - CLAIMS_KEPT_MS + WAIT_MS, 0));
    assert_true(claims_may_have_expired(f->bus, now_ms - CLAIMS_KEPT_MS, 0));
    assert_true(claims_may_have_expired(f->bus, now_ms - WAIT_MS, WAIT_MS));
}

/* --- watching ------------------------------------------------------------- */

static int64_t
unchanged_ms(struct claims_watch *w, const char *task, uint64_t revision,
             int64_t now_ms)
{
    const struct claims_entry found = {.revision = revision, .age_ms = 77};
    struct claim_sight sight = claims_watch_see(w, task, &found, now_ms);

    assert_int_equal(sight.age_ms, 77);
    return sight.unchanged_ms;
}

static void
a_claim_is_unchanged_since_its_revision_was_first_seen(void **state)
{
    struct claims_watch *w = claims_watch_new();

    (void)state;
    assert_int_equal(unchanged_ms(w, "a", 7, 1000), 0);
    assert_int_equal(unchanged_ms(w, "b", 7, 2000), 0);
    assert_int_equal(unchanged_ms(w, "a", 7, 5000), 4000);
    assert_int_equal(unchanged_ms(w, "a", 8, 6000), 0); /* renewed */
    assert_int_equal(unchanged_ms(w, "a", 8, 6500), 500);
    assert_int_equal(unchanged_ms(w, "b", 7, 6500), 4500);
    claims_watch_free(w);
}

static void
watched_claims_are_bounded(void **state)
{
    const int64_t ten_min = 10 * 60 * 1000;
    struct claims_watch *w = claims_watch_new();
    char task[16];

    (void)state;
    for (int i = 0; i < CLAIMS_WATCHED_MAX; i++) {
        (void)snprintf(task, sizeof task, "t%d", i);
        assert_int_equal(unchanged_ms(w, task, 1, i == 0 ? 0 : 1), 0);
    }
    /* One more finds no room while all of them are of interest. */
    assert_int_equal(unchanged_ms(w, "more", 1, 100), 0);
    assert_int_equal(unchanged_ms(w, "more", 1, ten_min), 0);
    assert_int_equal(unchanged_ms(w, "more", 1, ten_min + 1), 0);
    assert_int_equal(unchanged_ms(w, "more", 1, ten_min + 2), 1);
    /* It took the place of the one that was not seen for longest. */
    assert_int_equal(unchanged_ms(w, "t1", 1, ten_min + 1), ten_min);
    assert_int_equal(unchanged_ms(w, "t0", 1, ten_min + 1), 0);
    claims_watch_free(w);
}

static void
whether_a_claim_is_served(void **state)
{
    static const struct {
        enum state state;
        int64_t age_ms;
        bool unserved;
    } rows[] = {
        {STATE_RUNNING, 0, false},       {STATE_RUNNING, 35000, false},
        {STATE_RUNNING, 35001, true},    {STATE_RETRY_WAIT, 0, true},
        {STATE_PREEMPTED, 0, true},      {STATE_LOST, 0, true},
        {STATE_SUCCEEDED, 99999, false}, {STATE_CANCELLED, 99999, false},
    };
    const struct claims_entry none = {.revision = 9, .age_ms = 99999};

    (void)state;
    assert_false(claims_is_unserved(&none));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct claim c = claim_of("t1", 1);
        struct claims_entry found = {.claim = &c, .age_ms = rows[i].age_ms};

        c.state = rows[i].state;
        if (claims_is_unserved(&found) != rows[i].unserved)
            fail_msg("row %zu", i);
    }
}

/* --- results -------------------------------------------------------------- */

static const struct claims_task owner = {"t1", "local", "default", "b1"};

static void
the_result_in_a_claim_comes_with_the_end_of_its_output(void **state)
{
    struct claim c = claim_of("t1", 2);
    struct claims_entry found = {.claim = &c, .revision = 9};
    struct output_part part;
    struct result stored, r;

    (void)state;
    codec_init(CODEC_RESULT, &stored);
    stored.task = "t1";
    stored.attempt = 2;
    stored.exit_code = 3;
    stored.output_bytes = 10;
    c.result = &stored;
    c.tail = (struct bytes){(const uint8_t *)"tail", 4};
    claims_result(&found, &owner, &part, &r);
    assert_int_equal(r.exit_code, 3);
    assert_true(r.emitted_again);
    assert_int_equal(r.n_output, 1);
    assert_int_equal(r.output[0].stream, STREAM_STDOUT);
    assert_memory_equal(r.output[0].data.data, "tail", 4);
    assert_int_equal(r.dropped_bytes, 6);
    stored.log_chunks = 1; /* all of it is in the log */
    claims_result(&found, &owner, &part, &r);
    assert_int_equal(r.dropped_bytes, 0);
}

static void
a_claim_without_a_result_makes_one_of_its_members(void **state)
{
    struct claim c = claim_of("t1", 2);
    struct claims_entry found = {.claim = &c, .revision = 9};
    struct output_part part;
    struct result r;

    (void)state;
    c.state = STATE_FAILED;
    c.exit_code = 4;
    c.reason = "exit code 4";
    claims_result(&found, &owner, &part, &r);
    assert_string_equal(r.task, "t1");
    assert_string_equal(r.backend, "local");
    assert_string_equal(r.lane, "default");
    assert_string_equal(r.batch, "b1");
    assert_string_equal(r.nonce, "n1");
    assert_string_equal(r.reason, "exit code 4");
    assert_int_equal(r.attempt, 2);
    assert_int_equal(r.exit_code, 4);
    assert_int_equal(r.state, STATE_FAILED);
    assert_int_equal(r.n_output, 0);
    /* A claim that was never renewed does not know its fence. */
    assert_int_equal(r.fence, 9);
    c.fence = 5;
    claims_result(&found, &owner, &part, &r);
    assert_int_equal(r.fence, 5);
}

static void
a_claim_that_ends_a_task_keeps_what_the_one_before_counted(void **state)
{
    struct claim c = claim_of("t1", 2), closed;
    struct claims_entry found = {.claim = &c, .revision = 9};
    const struct claims_entry none = {.revision = 0};
    struct result r;

    (void)state;
    codec_init(CODEC_RESULT, &r);
    r.task = "t1";
    r.nonce = "n2";
    r.state = STATE_CANCELLED;
    r.reason = "cancelled by me";
    c.lost = 1;
    c.failed = 2;
    claims_close(&found, &r, &closed);
    assert_string_equal(closed.task, "t1");
    assert_string_equal(closed.nonce, "n2");
    assert_string_equal(closed.reason, "cancelled by me");
    assert_int_equal(closed.state, STATE_CANCELLED);
    assert_int_equal(closed.attempt, 2);
    assert_int_equal(closed.lost, 1);
    assert_int_equal(closed.failed, 2);
    assert_int_equal(closed.fence, 9);
    assert_int_equal(r.fence, 9);
    assert_ptr_equal(closed.result, &r);
    r.fence = 0;
    claims_close(&none, &r, &closed);
    assert_int_equal(closed.attempt, 0);
    assert_int_equal(r.fence, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_claim_that_was_put_is_read_again),
        T(without_a_claim_there_is_none_to_expect),
        T(of_two_who_write_over_one_revision_one_is_refused),
        T(a_deleted_claim_is_none_but_its_revision_is_expected),
        T(a_claim_that_cannot_be_read_is_an_error),
        T(claims_of_old_messages_may_have_expired),
        cmocka_unit_test(
            a_claim_is_unchanged_since_its_revision_was_first_seen),
        cmocka_unit_test(watched_claims_are_bounded),
        cmocka_unit_test(whether_a_claim_is_served),
        cmocka_unit_test(
            the_result_in_a_claim_comes_with_the_end_of_its_output),
        cmocka_unit_test(a_claim_without_a_result_makes_one_of_its_members),
        cmocka_unit_test(
            a_claim_that_ends_a_task_keeps_what_the_one_before_counted),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
