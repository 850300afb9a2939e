#include "tests/reaper_fixture.h"

#include <limits.h>

/* --- tests ---------------------------------------------------------------- */

static void
a_task_is_followed_from_submission_to_report(void **state)
{
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct result r;
    struct str report;
    struct err e;
    json_t *task;

    submit(f, "{\"id\": \"t1\", \"name\": \"first\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
    route(f, "t1");
    until_state_is(f, "t1", "routed");
    finish(f, "t1", STATE_SUCCEEDED, "");
    task = until_state(f, "t1", "succeeded");
    assert_string_equal(text_of(task, "name"), "first");
    assert_string_equal(text_of(task, "worker"), "w");
    assert_string_equal(text_of(task, "backend"), "local");
    assert_int_equal(json_integer_value(json_object_get(task, "attempts")), 1);
    assert_string_equal(
        text_of(json_array_get(json_object_get(task, "output"), 0), "data"),
        "aGVsbG8K");
    /* The report stands where show says, at once. */
    report = slurp(text_of(task, "report"));
    assert_non_null(strstr(str_text(&report), "# first: succeeded"));
    assert_non_null(strstr(str_text(&report), "hello"));
    str_free(&report);
    json_decref(task);
    assert_string_equal(f->done_subject, "done.t1");
    assert_int_equal(
        codec_decode(CODEC_RESULT, f->done.data, f->done.len, pool, &r, &e), 0);
    assert_true(r.final);
    assert_int_equal(r.n_output, 1);
    assert_int_equal(counter(f, "succeeded"), 1);
    assert_int_equal(counter(f, "routed"), 0);
    mem_pool_free(pool);
}

static void
routed_tasks_of_one_message_are_a_row_each(void **state)
{
    static const char *const ids[] = {"t1", "t2", NULL, "t3"};
    struct reaper_fixture *f = *state;

    for (int i = 1; i <= 3; i++) {
        char text[64];

        (void)snprintf(text, sizeof text,
                       "{\"id\": \"t%d\", \"steps\": [\"true\"]}", i);
        submit(f, text);
    }
    route_together(f, ids, 4);
    until_counter(f, "routed", 3);
    until_counter(f, "malformed", 1); /* the one that is none */
    until_state_is(f, "t1", "routed");
    until_state_is(f, "t3", "routed");
    finish(f, "t2", STATE_SUCCEEDED, "");
    until_state_is(f, "t2", "succeeded");
    until_counter(f, "routed", 2);
    /* A message that is cut off says nothing of any task. */
    (void)publish_bytes(f, "tasks.local.default", NULL, "\xa2\x06\x09x", 4);
    until_counter(f, "malformed", 2);
}

static void
an_outcome_may_come_before_the_task(void **state)
{
    struct reaper_fixture *f = *state;
    json_t *task;

    finish(f, "t1", STATE_FAILED, "");
    until_state_is(f, "t1", "failed");
    route(f, "t1");
    submit(f, "{\"id\": \"t1\", \"name\": \"late\", \"steps\": [\"true\"]}");
    until_counter(f, "tasks", 1);
    task = until_state(f, "t1", "failed");
    assert_int_equal(json_integer_value(json_object_get(task, "exit_code")), 3);
    json_decref(task);
}

static void
a_repeated_message_changes_nothing(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;
    uint64_t fence;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t1\", \"steps\": [\"false\"]}");
    route(f, "t1");
    fence = claim(f, "t1", 1, "secret");
    fill_result(&r, "t1", "secret", fence);
    settle(f, &r);
    for (int i = 0; i < 3; i++)
        (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_state_is(f, "t1", "succeeded");
    until_counter(f, "succeeded", 1);
    assert_int_equal(counter(f, "attempts"), 1);
    assert_int_equal(counter(f, "tasks"), 1);
    assert_int_equal(counter(f, "superseded"), 0);
    assert_int_equal(counter(f, "quarantined"), 0);
}

static void
junk_is_counted_and_harms_nothing(void **state)
{
    struct reaper_fixture *f = *state;
    uint8_t noise[300];

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 7 + 3);
    (void)publish_bytes(f, "tasks.in", NULL, noise, sizeof noise);
    (void)publish_bytes(f, "tasks.in", NULL, "{\"id\": 7", 8);
    (void)publish_bytes(f, "tasks.local.default", NULL, noise, sizeof noise);
    (void)publish_bytes(f, "results.local.cli", NULL, noise, sizeof noise);
    (void)publish_bytes(f, "results.local.cli", NULL, "", 0);
    (void)publish_bytes(f, "$KV.control.cancel.x", NULL, noise, sizeof noise);
    /* A bucket keeps the last message of a subject: it must be seen first. */
    until_counter(f, "malformed", 4);
    (void)publish_bytes(f, "$KV.control.cancel.x", NULL, "", 0);
    until_counter(f, "quarantined", 2);
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
}

static void
a_bad_question_gets_an_answer(void **state)
{
    static const char *const bad[][2] = {
        {"list", "[1]"},
        {"list", "{\"states\": [\"nonsense\"]}"},
        {"list", "{\"batch\": \"none\"}"},
        {"show", "{}"},
        {"show", "{\"task\": \"none\"}"},
        {"show", "{\"task\": 7}"},
        {"batch", "{\"batch\": \"none\"}"},
        {"find", "not json"},
        {"dance", "{}"}};
    struct reaper_fixture *f = *state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *o = question(f, bad[i][0], bad[i][1]);

        assert_true(*text_of(json_object_get(o, "error"), "code"));
        assert_true(*text_of(json_object_get(o, "error"), "message"));
        json_decref(o);
    }
}

static void
a_blocked_task_goes_on_when_the_other_succeeded(void **state)
{
    struct reaper_fixture *f = *state;

    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"], \"after\": [\"t1\"]}");
    until_state_is(f, "t2", "blocked");
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    finish(f, "t1", STATE_SUCCEEDED, "");
    /* It comes by tasks.in again, without the condition. */
    until_state_is(f, "t2", "accepted");
    assert_int_equal(counter(f, "tasks"), 2);
}

static void
a_blocked_task_is_cancelled_when_the_other_did_not_succeed(void **state)
{
    struct reaper_fixture *f = *state;
    json_t *task;

    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"], \"after\": [\"t1\"]}");
    route(f, "t1");
    finish(f, "t1", STATE_FAILED, "");
    task = until_state(f, "t2", "cancelled");
    assert_non_null(strstr(text_of(task, "reason"), "t1"));
    assert_null(json_object_get(task, "exit_code"));
    json_decref(task);
}

/* Waits until a task is rejected, for that reason. */
static void
until_rejected(struct reaper_fixture *f, const char *id, const char *reason)
{
    json_t *task = until_state(f, id, "rejected");

    assert_string_equal(text_of(task, "reason"), reason);
    json_decref(task);
}

static void
d9_a_circle_of_tasks_is_rejected_with_the_circle(void **state)
{
    struct reaper_fixture *f = *state;
    json_t *task;
    const char *why;

    submit(f, "{\"id\": \"c1\", \"steps\": [\"true\"], \"after\": [\"c2\"]}");
    until_state_is(f, "c1", "blocked");
    submit(f, "{\"id\": \"c0\", \"steps\": [\"true\"], \"after\": [\"c1\"]}");
    until_state_is(f, "c0", "blocked");
    submit(f, "{\"id\": \"c2\", \"steps\": [\"true\"], \"after\": [\"c1\"]}");
    task = until_state(f, "c1", "rejected");
    why = text_of(task, "reason");
    if (strcmp(why, "waits for itself: c1 \u2192 c2 \u2192 c1") != 0 &&
        strcmp(why, "waits for itself: c2 \u2192 c1 \u2192 c2") != 0)
        fail_msg("%s", why);
    until_rejected(f, "c2", why);
    json_decref(task);
    /* It only came after them. */
    task = until_state(f, "c0", "cancelled");
    assert_non_null(strstr(text_of(task, "reason"), "c1, which ended"));
    json_decref(task);
}

static void
d9_a_task_after_one_that_nobody_submits_is_rejected(void **state)
{
    struct reaper_fixture *f = *state;
    json_t *task;

    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"], \"after\": [\"nope\"]}");
    task = until_state(f, "t2", "blocked");
    assert_string_equal(text_of(json_object_get(task, "waits"), "text"),
                        "waits for nope; nope has not been submitted");
    json_decref(task);
    stop(f);
    f->conf.after_unknown_ms = 1000;
    start(f);
    until_rejected(f, "t2",
                   "comes after nope, which nobody submitted within 1.0s");
}

static void
a_task_waits_for_its_time(void **state)
{
    struct reaper_fixture *f = *state;
    char text[200];
    int64_t at_ms = str_wall_ms() + 1500;

    (void)snprintf(
        text, sizeof text,
        "{\"id\": \"t1\", \"steps\": [\"true\"], \"not_before_ms\": %lld}",
        (long long)at_ms);
    submit(f, text);
    until_state_is(f, "t1", "blocked");
    until_state_is(f, "t1", "accepted");
    assert_true(str_wall_ms() >= at_ms);
}

static void
a_cancel_of_a_held_task_is_carried_out_at_once(void **state)
{
    struct reaper_fixture *f = *state;
    json_t *task;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"hold\": true}");
    until_state_is(f, "t1", "held");
    cancel(f, "t1");
    task = until_state(f, "t1", "cancelled");
    assert_non_null(strstr(text_of(task, "reason"), "me@here"));
    json_decref(task);
    assert_int_equal(counter(f, "quarantined"), 0);
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct reply *r = ctx;

    (void)e;
    r->arrived = true;
    r->stored.seq = entry ? entry->revision : 0;
}

static void
a_cancel_before_anybody_claimed_takes_the_claim(void **state)
{
    struct reaper_fixture *f = *state;
    char subject[SUBJECT_SIZE];
    struct reply r = {0};

    cancel(f, "t1"); /* even before the ledger knows the task */
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    until_state_is(f, "t1", "cancelled");
    bus_get_last(f->bus, "KV_claims", subject_claim(subject, "local", "t1"),
                 CALL_MS, on_entry, &r);
    assert_true(loop_until(f->loop, &r.arrived, LONG_MS));
    assert_true(r.stored.seq > 0);
    assert_int_equal(counter(f, "quarantined"), 0);
}

static void
a_cancel_of_a_task_that_runs_is_the_workers(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;
    uint64_t fence;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    fence = claim(f, "t1", 1, "secret");
    route(f, "t1");
    cancel(f, "t1");
    fill_result(&r, "t1", "secret", fence);
    r.state = STATE_CANCELLED;
    end_attempt(f, &r);
    json_decref(until_state(f, "t1", "cancelled"));
    assert_int_equal(counter(f, "attempts"), 1);
}

static void
a_batch_is_told_of_and_reported_when_all_are_over(void **state)
{
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    char path[200], text[256], id[16];
    struct batch b;
    struct str report;
    struct err e;
    json_t *o;

    for (int i = 1; i <= 3; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"m%d\", \"steps\": [\"step-%d\"], \"batch\":"
                       " {\"id\": \"b1\", \"name\": \"three\", \"index\": %d, "
                       "\"size\": 3}}",
                       i, i, i);
        submit(f, text);
        (void)snprintf(id, sizeof id, "m%d", i);
        route(f, id);
        finish(f, id, i == 2 ? STATE_FAILED : STATE_SUCCEEDED, "b1");
    }
    (void)snprintf(path, sizeof path, "%s/reports/batches/three.md", f->root);
    report = until_file(f, path);
    assert_non_null(strstr(str_text(&report), "# three: 2 of 3 succeeded"));
    assert_non_null(strstr(str_text(&report), "step-2"));
    str_free(&report);
    (void)snprintf(path, sizeof path, "%s/reports/jobs", f->root);
    assert_int_not_equal(access(path, F_OK), 0);
    o = question(f, "batch", "{\"batch\": \"three\"}");
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(o, "batch"), "failed")),
                     1);
    assert_int_equal(json_array_size(json_object_get(o, "failed")), 1);
    assert_true(*text_of(o, "report"));
    json_decref(o);
    o = question(f, "list", "{\"batch\": \"b1\", \"states\": [\"failed\"]}");
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 1);
    json_decref(o);
    assert_int_equal(
        codec_decode(CODEC_BATCH, f->batch.data, f->batch.len, pool, &b, &e),
        0);
    assert_true(b.done);
    mem_pool_free(pool);
}

static void
a_report_path_is_below_the_root_and_names_may_clash(void **state)
{
    struct reaper_fixture *f = *state;
    char path[200];
    struct str report;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"report_path\": "
              "\"mine/x.out\"}");
    finish(f, "t1", STATE_SUCCEEDED, "");
    (void)snprintf(path, sizeof path, "%s/mine/x.out", f->reports);
    report = until_file(f, path);
    assert_non_null(strstr(str_text(&report), "State: succeeded"));
    str_free(&report);
    submit(f, "{\"id\": \"aaaaaaaabb\", \"name\": \"same\", \"steps\": "
              "[\"true\"]}");
    finish(f, "aaaaaaaabb", STATE_SUCCEEDED, "");
    (void)snprintf(path, sizeof path, "%s/reports/jobs/same.md", f->root);
    report = until_file(f, path);
    str_free(&report);
    submit(f, "{\"id\": \"ccccccccdd\", \"name\": \"same\", \"steps\": "
              "[\"true\"]}");
    finish(f, "ccccccccdd", STATE_FAILED, "");
    (void)snprintf(path, sizeof path, "%s/reports/jobs/same-cccccccc.json",
                   f->root);
    report = until_file(f, path);
    str_free(&report);
}

static void
a_report_that_could_not_be_written_is_written_after_a_restart(void **state)
{
    struct reaper_fixture *f = *state;
    char path[200];
    struct str report;
    FILE *file;

    log_level_set(LOG_ERROR + 1); /* the failure is wanted */
    (void)snprintf(path, sizeof path, "%s/jobs", f->reports);
    file = fopen(path, "w"); /* in the way of the folder */
    assert_non_null(file);
    (void)fclose(file);
    submit(f, "{\"id\": \"t1\", \"name\": \"kept\", \"steps\": [\"true\"]}");
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    stop(f);
    assert_int_equal(unlink(path), 0);
    log_level_set(LOG_ERROR);
    start(f);
    (void)snprintf(path, sizeof path, "%s/reports/jobs/kept.md", f->root);
    report = until_file(f, path);
    assert_non_null(strstr(str_text(&report), "kept: succeeded"));
    str_free(&report);
}

static void
a_second_reaper_on_one_database_is_refused(void **state)
{
    struct reaper_fixture *f = *state;
    struct reaper *other = NULL;
    struct err e = {0};

    assert_int_equal(reaper_open(&other, f->bus, f->loop, &f->conf, &e), -1);
    assert_null(other);
    assert_non_null(strstr(e.msg, "another reaper"));
}

/* Runs the loop until both connections are, or neither is. */
static void
until_up(struct reaper_fixture *f, bool up)
{
    for (int64_t deadline = loop_now_ms() + LONG_MS;
         (bus_is_up(f->bus) != up || bus_is_up(f->reaper_bus) != up) &&
         loop_now_ms() < deadline;) {
        bool never = false;

        (void)loop_until(f->loop, &never, 20);
    }
}

static void
it_goes_on_where_it_was_when_the_broker_comes_back(void **state)
{
    struct reaper_fixture *f = *state;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
    broker_kill(f->broker);
    until_up(f, false);
    broker_restart(f->broker);
    until_up(f, true);
    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"]}");
    route(f, "t1");
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    until_state_is(f, "t2", "accepted");
}

static void
what_runs_is_laid_over_the_answers(void **state)
{
    struct reaper_fixture *f = *state;
    char subject[SUBJECT_SIZE];
    struct str bytes = {0};
    struct claim c;
    json_t *o;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"]}");
    route(f, "t1");
    route(f, "t2");
    until_state_is(f, "t2", "routed");
    codec_init(CODEC_CLAIM, &c);
    c.task = "t1";
    c.attempt = 1;
    c.worker = "w";
    c.state = STATE_RUNNING;
    c.started_at_ms = 1700000000000;
    codec_encode(CODEC_CLAIM, &c, &bytes);
    bus_publish_core(f->bus, subject_started(subject, "t1"), bytes.data,
                     bytes.len);
    str_free(&bytes);
    o = until_state(f, "t1", "running");
    assert_string_equal(text_of(o, "worker"), "w");
    assert_string_equal(text_of(o, "started_at"), "2023-11-14T22:13:20.000Z");
    json_decref(o);
    o = question(f, "list", "{\"states\": [\"running\"]}");
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 1);
    json_decref(o);
    o = question(f, "list", "{\"states\": [\"routed\"]}");
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 1);
    assert_string_equal(
        text_of(json_array_get(json_object_get(o, "tasks"), 0), "id"), "t2");
    json_decref(o);
    assert_int_equal(counter(f, "running"), 1);
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    assert_int_equal(counter(f, "running"), 0);
}

static void
many_in_one_message_are_a_row_each_and_a_bad_one_is_set_aside(void **state)
{
    static const char json[] =
        "{\"tasks\": [{\"id\": \"m1\", \"steps\": [\"true\"]}, "
        "{\"id\": \"m2\", \"lane\": \"a b\", \"steps\": [\"true\"]}, "
        "{\"name\": \"anonymous\", \"steps\": [\"true\"]}, "
        "{\"id\": \"m4\", \"steps\": [\"true\"]}]}";
    struct reaper_fixture *f = *state;

    (void)publish_bytes(f, SUBJECT_TASKS_BULK, "bulk1", json, strlen(json));
    until_state_is(f, "m4", "accepted");
    until_state_is(f, "m1", "accepted");
    until_state_is(f, "anonymous", "accepted");
    assert_int_equal(counter(f, "accepted"), 3);
    assert_int_equal(counter(f, "malformed"), 1);
}

static void
a_message_of_many_that_is_none_is_set_aside(void **state)
{
    struct reaper_fixture *f = *state;

    (void)publish_bytes(f, SUBJECT_TASKS_BULK, NULL, "\xff", 1);
    (void)publish_bytes(f, SUBJECT_TASKS_BULK, NULL, "", 0);
    until_counter(f, "malformed", 2);
    assert_int_equal(counter(f, "accepted"), 0);
}

static void
reports_do_not_go_where_state_is(void **state)
{
    struct reaper_fixture *f = *state;
    char *root = f->conf.report_root, *slash;
    char above[PATH_MAX];
    struct reaper *r;
    struct err e = {0};

    stop(f);
    (void)str_copy(above, sizeof above, f->conf.database);
    while ((slash = strrchr(above, '/')) && slash > above) {
        *slash = '\0';
        f->conf.report_root = above;
        assert_int_equal(bus_open(&f->reaper_bus, f->loop, &f->bus_conf,
                                  "reaper", LONG_MS, &e),
                         0);
        assert_int_equal(reaper_open(&r, f->reaper_bus, f->loop, &f->conf, &e),
                         -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_non_null(strstr(e.msg, "reaper.report_root"));
        bus_close(f->reaper_bus);
    }
    f->conf.report_root = root;
    start(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_is_followed_from_submission_to_report),
        TEST(reports_do_not_go_where_state_is),
        TEST(many_in_one_message_are_a_row_each_and_a_bad_one_is_set_aside),
        TEST(a_message_of_many_that_is_none_is_set_aside),
        TEST(routed_tasks_of_one_message_are_a_row_each),
        TEST(an_outcome_may_come_before_the_task),
        TEST(a_repeated_message_changes_nothing),
        TEST(junk_is_counted_and_harms_nothing),
        TEST(a_bad_question_gets_an_answer),
        TEST(a_blocked_task_goes_on_when_the_other_succeeded),
        TEST(d9_a_circle_of_tasks_is_rejected_with_the_circle),
        TEST(d9_a_task_after_one_that_nobody_submits_is_rejected),
        TEST(a_blocked_task_is_cancelled_when_the_other_did_not_succeed),
        TEST(a_task_waits_for_its_time),
        TEST(a_cancel_of_a_held_task_is_carried_out_at_once),
        TEST(a_cancel_before_anybody_claimed_takes_the_claim),
        TEST(a_cancel_of_a_task_that_runs_is_the_workers),
        TEST(a_batch_is_told_of_and_reported_when_all_are_over),
        TEST(a_report_path_is_below_the_root_and_names_may_clash),
        TEST(a_report_that_could_not_be_written_is_written_after_a_restart),
        TEST(a_second_reaper_on_one_database_is_refused),
        TEST(it_goes_on_where_it_was_when_the_broker_comes_back),
        TEST(what_runs_is_laid_over_the_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
