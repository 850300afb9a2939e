/* Which results the ledger believes, by their claims. */
#include "tests/reaper_fixture.h"

/* Starts a task; returns its fence. */
static uint64_t
begin(struct reaper_fixture *f, const char *id)
{
    char task[64];

    (void)snprintf(task, sizeof task, "{\"id\": \"%s\", \"steps\": [\"true\"]}",
                   id);
    submit(f, task);
    route(f, id);
    return claim(f, id, 1, "secret");
}

static void
a_result_that_does_not_know_the_nonce_is_set_aside(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;
    uint64_t fence;

    fence = begin(f, "t1");
    fill_result(&r, "t1", "guess", fence);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    r.nonce = "";
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 2);
    /* A task that was never run. */
    fill_result(&r, "t2", "secret", 5);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    /* Of another backend than its subject. */
    fill_result(&r, "t1", "secret", fence);
    (void)publish(f, "results.codespace.cli", CODEC_RESULT, &r);
    /* In the name of the router, which runs no tasks. */
    r.backend = "router";
    (void)publish(f, "results.router.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 5);
    until_state_is(f, "t1", "routed");
    assert_null(show(f, "t2"));
    assert_int_equal(f->n_done, 0);
}

static void
add_result(struct str *message, const struct result *r)
{
    struct str bytes = {0};

    codec_encode(CODEC_RESULT, r, &bytes);
    codec_multi_add(CODEC_RESULTS, message, bytes.data, bytes.len);
    str_free(&bytes);
}

/* Sends warnings to a file from now on. */
static FILE *
log_to_file(int *saved)
{
    FILE *log = tmpfile();

    assert_non_null(log);
    *saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(fileno(log), STDERR_FILENO), STDERR_FILENO);
    log_level_set(LOG_WARN);
    return log;
}

/* Ends that; returns how many lines have that event. */
static int
logged(FILE *log, int saved, const char *event)
{
    char line[1024];
    int n = 0;

    log_level_set(LOG_ERROR);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void)close(saved);
    rewind(log);
    while (fgets(line, sizeof line, log))
        n += strstr(line, event) != NULL;
    (void)fclose(log);
    return n;
}

static void
results_of_one_message_are_believed_one_by_one(void **state)
{
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    int saved;
    FILE *log;
    struct str message = {0};
    struct result r;
    struct err e;
    uint64_t fence[4];

    for (int i = 0; i < 4; i++) {
        char id[] = {'t', (char)('1' + i), '\0'};

        fence[i] = begin(f, id);
    }
    fill_result(&r, "t1", "secret", fence[0]);
    settle(f, &r);
    add_result(&message, &r);
    fill_result(&r, "t2", "guess", fence[1]);
    add_result(&message, &r);
    codec_multi_add(CODEC_RESULTS, &message, "\xff\xff", 2);
    fill_result(&r, "t3", "secret", fence[2]);
    r.state = STATE_FAILED;
    r.exit_code = 3;
    settle(f, &r);
    add_result(&message, &r);
    log = log_to_file(&saved);
    (void)publish_bytes(f, "results.local.cli", NULL, message.data,
                        message.len);
    until_state_is(f, "t1", "succeeded");
    until_state_is(f, "t3", "failed");
    until_state_is(f, "t2", "routed");
    until_counter(f, "quarantined", 1); /* the message, once */
    assert_int_equal(logged(log, saved, "reaper.set_aside"), 1);
    assert_int_equal(counter(f, "attempts"), 2);
    /* Each end is published with its own result alone. */
    assert_int_equal(f->n_done, 2);
    assert_string_equal(f->done_subject, "done.t3");
    assert_int_equal(
        codec_decode(CODEC_RESULT, f->done.data, f->done.len, pool, &r, &e), 0);
    assert_string_equal(r.task, "t3");
    assert_int_equal(r.exit_code, 3);
    str_free(&message);
    mem_pool_free(pool);
}

/* A worker sends result and outcome at once. Here the outcome is late, then
 * refused. */
static void
a_result_counts_once_its_claim_holds_the_outcome(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r[2];

    for (int i = 0; i < 2; i++) {
        const char *id = i == 0 ? "t1" : "t2";

        fill_result(&r[i], id, "secret", begin(f, id));
        (void)publish(f, "results.local.cli", CODEC_RESULT, &r[i]);
    }
    finish(f, "t3", STATE_FAILED,
           ""); /* stored after them, and not delayed by them */
    until_counter(f, "failed", 1);
    assert_int_equal(counter(f, "attempts"), 1);
    assert_int_equal(f->n_done, 1);
    settle(f, &r[0]);
    until_state_is(f, "t1", "succeeded");
    /* Taken for lost: the claim is that of another attempt now. */
    (void)claim(f, "t2", 2, "another");
    until_counter(f, "superseded", 1);
    until_state_is(f, "t2", "routed");
    assert_int_equal(counter(f, "quarantined"), 0);
}

/* No worker reports two outcomes of one attempt. */
static void
a_result_that_its_claim_contradicts_is_set_aside(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;

    fill_result(&r, "t1", "secret", begin(f, "t1"));
    r.state = STATE_FAILED;
    settle(f, &r);
    r.state = STATE_SUCCEEDED;
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 1);
    until_state_is(f, "t1", "routed");
}

/* Publishes a message of those two. */
static void
publish_both(struct reaper_fixture *f, const struct result r[2])
{
    struct str message = {0};

    add_result(&message, &r[0]);
    add_result(&message, &r[1]);
    (void)publish_bytes(f, "results.local.cli", NULL, message.data,
                        message.len);
    str_free(&message);
}

/* The outcome of the second arrives arbitrarily late. */
static void
what_is_known_of_a_message_counts_before_the_rest_is(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r[2];

    fill_result(&r[0], "t1", "secret", begin(f, "t1"));
    fill_result(&r[1], "t2", "secret", begin(f, "t2"));
    settle(f, &r[0]);
    publish_both(f, r);
    until_state_is(f, "t1", "succeeded");
    until_state_is(f, "t2", "routed");
    assert_string_equal(f->done_subject, "done.t1");
    settle(f, &r[1]);
    until_state_is(f, "t2", "succeeded");
    assert_string_equal(f->done_subject, "done.t2");
    assert_int_equal(counter(f, "succeeded"), 2);
    assert_int_equal(counter(f, "attempts"), 2);
    assert_int_equal(counter(f, "superseded"), 0);
    assert_int_equal(counter(f, "quarantined"), 0);
}

/* A replica may not have seen the claim yet. */
static void
a_result_is_set_aside_once_its_claim_has_been_missing_for_a_while(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r[2];

    fill_result(&r[0], "t1", "secret", begin(f, "t1"));
    settle(f, &r[0]);
    fill_result(&r[1], "t2", "secret", 77); /* a task that was never run */
    publish_both(f, r);
    until_counter(f, "quarantined", 1);
    until_state_is(f, "t1", "succeeded");
    assert_int_equal(counter(f, "succeeded"), 1);
    assert_null(show(f, "t2"));
}

static void
a_stale_outcome_is_kept_and_not_shown(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;
    uint64_t old, fence;
    json_t *task;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    old = claim(f, "t1", 1, "first");
    fence = claim(f, "t1", 2, "second");
    fill_result(&r, "t1", "first", old);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_counter(f, "superseded", 1);
    until_state_is(f, "t1", "routed");
    fill_result(&r, "t1", "second", fence);
    r.attempt = 2;
    r.state = STATE_FAILED;
    r.exit_code = 1;
    end_attempt(f, &r);
    task = until_state(f, "t1", "failed");
    assert_int_equal(json_array_size(json_object_get(task, "attempt_list")), 2);
    json_decref(task);
    assert_int_equal(counter(f, "superseded"), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_result_that_does_not_know_the_nonce_is_set_aside),
        TEST(results_of_one_message_are_believed_one_by_one),
        TEST(a_result_counts_once_its_claim_holds_the_outcome),
        TEST(a_result_that_its_claim_contradicts_is_set_aside),
        TEST(what_is_known_of_a_message_counts_before_the_rest_is),
        TEST(a_result_is_set_aside_once_its_claim_has_been_missing_for_a_while),
        TEST(a_stale_outcome_is_kept_and_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
