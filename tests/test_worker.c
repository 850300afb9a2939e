/* What becomes of a task in one worker: it succeeds, fails, times out, is
 * cancelled, repeated, taken over or lost. */
#include "tests/worker_fixture.h"

static void
a_task_succeeds_and_the_claim_holds_it(void **state)
{
    struct worker_fixture s;
    const struct result *r;
    struct lookup l;

    (void)state;
    open_fixture(&s, 2);
    submit_sh("ok", "echo hello $((1 + 1)); echo $SHUNT_TASK_ID "
                    "$SHUNT_ATTEMPT ${SHUNT_FENCE:+fenced} >&2");
    r = result("ok", 1);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_true(r->final);
    assert_int_equal(r->exit_code, 0);
    assert_string_equal(r->backend, "local");
    assert_string_equal(r->lane, "default");
    assert_string_equal(r->worker, "w1");
    assert_true(r->max_rss_bytes > 0);
    assert_true(r->finished_at_ms >= r->started_at_ms && r->started_at_ms > 0);
    assert_output(r, "hello 2\nok 1 fenced\n");
    get_claim("ok", &l);
    assert_true(l.found);
    assert_int_equal(l.claim.state, STATE_SUCCEEDED);
    assert_int_equal(l.claim.fence, r->fence);
    assert_string_equal(l.claim.nonce, r->nonce);
    assert_int_equal(l.claim.tail.len, strlen("hello 2\nok 1 fenced\n"));
    assert_non_null(l.claim.result);
    assert_int_equal(l.claim.result->n_output, 0);
    assert_true(l.revision > r->fence);
    mem_pool_free(l.pool);
    close_fixture(&s);
}

static void
a_task_that_takes_too_long_times_out(void **state)
{
    struct worker_fixture s;
    struct order o;
    const struct result *r;

    (void)state;
    open_fixture(&s, 1);
    order(&o, "slow", "echo before; trap '' TERM; sleep 1000");
    o.task.timeout_ms = 1000;
    submit(&o);
    r = result("slow", 1);
    assert_int_equal(r->state, STATE_TIMED_OUT);
    assert_int_equal(r->exit_code, 124);
    assert_string_equal(r->reason, "ran longer than 1s");
    assert_output(r, "before\n");
    close_fixture(&s);
}

static void
a_silent_task_times_out_and_a_talking_one_does_not(void **state)
{
    struct worker_fixture s;
    struct order o;
    const struct result *r;

    (void)state;
    open_fixture(&s, 2);
    order(&o, "silent", "echo once; sleep 1000");
    o.task.idle_timeout_ms = 500;
    submit(&o);
    order(&o, "talks", "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done");
    o.task.idle_timeout_ms = 500;
    submit(&o);
    r = result("silent", 1);
    assert_int_equal(r->state, STATE_TIMED_OUT);
    assert_string_equal(r->reason, "no output for 500ms");
    assert_int_equal(result("talks", 1)->state, STATE_SUCCEEDED);
    close_fixture(&s);
}

static void
a_running_task_is_cancelled(void **state)
{
    char script[600], subject[SUBJECT_SIZE];
    struct str bytes = {0};
    struct control c;
    struct worker_fixture s;
    const struct result *r;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    submit_sh("stopme", announcing("sleep 1000", script, sizeof script));
    pid = announced();
    codec_init(CODEC_CONTROL, &c);
    c.task = "stopme";
    c.verb = "cancel";
    c.by = "me@here";
    codec_encode(CODEC_CONTROL, &c, &bytes);
    (void)store(subject_cancel(subject, "stopme"), bytes.data, bytes.len);
    str_free(&bytes);
    r = result("stopme", 1);
    assert_int_equal(r->state, STATE_CANCELLED);
    assert_true(r->final);
    assert_string_equal(r->reason, "cancelled by me@here");
    assert_true(is_gone(pid));
    close_fixture(&s);
}

static void
a_failure_with_retries_left_waits_for_the_next_attempt(void **state)
{
    struct worker_fixture s;
    struct order o;
    const struct result *r;
    struct lookup l;

    (void)state;
    open_fixture(&s, 1);
    order(&o, "again", "exit $((SHUNT_ATTEMPT == 1))");
    o.task.retries = 1;
    submit(&o);
    r = result("again", 1);
    assert_int_equal(r->state, STATE_FAILED);
    assert_false(r->final);
    assert_true(r->retry_at_ms > r->finished_at_ms);
    get_claim("again", &l);
    assert_int_equal(l.claim.state, STATE_RETRY_WAIT);
    assert_int_equal(l.claim.failed, 1);
    mem_pool_free(l.pool);
    r = result("again", 2);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_true(r->final);
    close_fixture(&s);
}

static void
the_definition_of_done_decides(void **state)
{
    struct worker_fixture s;
    struct order o;
    const struct result *r;

    (void)state;
    open_fixture(&s, 1);
    order(&o, "done3", "exit 3");
    o.task.dod = "exit_code == 3";
    submit(&o);
    assert_int_equal(result("done3", 1)->state, STATE_SUCCEEDED);
    order(&o, "notdone", "exit 0");
    o.task.dod = "exit_code == 3";
    submit(&o);
    r = result("notdone", 1);
    assert_int_equal(r->state, STATE_FAILED);
    assert_string_equal(r->reason, "not done: exit_code == 3 (exit_code is 0)");
    close_fixture(&s);
}

static void
what_is_over_is_emitted_again_and_not_run(void **state)
{
    struct worker_fixture s;
    struct result old;
    struct claim c;
    const struct result *r;

    (void)state;
    codec_init(CODEC_RESULT, &old);
    codec_init(CODEC_CLAIM, &c);
    old.task = c.task = "over";
    old.attempt = c.attempt = 7;
    old.nonce = c.nonce = "nonce";
    old.state = c.state = STATE_FAILED;
    old.final = true;
    old.exit_code = 9;
    c.tail = (struct bytes){(const uint8_t *)"the end", 7};
    c.result = &old;
    (void)put_claim(&c);
    open_fixture(&s, 1);
    submit_sh("over", "echo must not run");
    r = result("over", 7);
    assert_true(r->emitted_again);
    assert_int_equal(r->state, STATE_FAILED);
    assert_int_equal(r->exit_code, 9);
    assert_output(r, "the end");
    assert_null(find_result("over", 8));
    close_fixture(&s);
}

static void
another_workers_lost_claim_is_taken_over(void **state)
{
    struct worker_fixture s;
    struct claim c;
    const struct result *r;
    uint64_t revision;
    int64_t began = loop_now_ms();

    (void)state;
    codec_init(CODEC_CLAIM, &c);
    c.task = "taken";
    c.attempt = 1;
    c.worker = "other";
    c.nonce = "theirs";
    c.state = STATE_RUNNING;
    c.lease_ms = 1200;
    revision = put_claim(&c);
    open_fixture(&s, 1);
    submit_sh("taken", "echo $SHUNT_ATTEMPT");
    r = result("taken", 2);
    /* Not while the lease lasted. */
    assert_true(loop_now_ms() - began >= 1150);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_true(r->fence > revision);
    assert_output(r, "2\n");
    r = result("taken", 1);
    assert_int_equal(r->state, STATE_LOST);
    assert_false(r->final);
    assert_true(r->no_exit_code);
    assert_int_equal(r->fence, revision);
    assert_string_equal(r->nonce, "theirs");
    assert_string_equal(r->worker, "other");
    close_fixture(&s);
}

static void
an_old_claim_is_watched_before_it_is_taken_over(void **state)
{
    int64_t until = loop_now_ms() + PATIENCE_MS, began;
    bool never = false;
    struct lookup l;
    struct claim c;
    struct worker_fixture s;

    (void)state;
    codec_init(CODEC_CLAIM, &c);
    c.task = "watched";
    c.attempt = 1;
    c.worker = "other";
    c.nonce = "theirs";
    c.state = STATE_RUNNING;
    c.lease_ms = 2000;
    (void)put_claim(&c);
    get_claim("watched", &l); /* the bus hears the broker's clock by that */
    mem_pool_free(l.pool);
    began = bus_broker_ms(bus);
    assert_true(began > 0);
    while (bus_broker_ms(bus) - began < 2000 && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    open_fixture(&s, 1);
    began = loop_now_ms();
    submit_sh("watched", "true");
    assert_int_equal(result("watched", 2)->state, STATE_SUCCEEDED);
    /* Its holder may be alive, and only the broker have been away. */
    assert_true(loop_now_ms() - began >= 2000 * 2 / 5);
    close_fixture(&s);
}

/* A claim of another worker that has fallen silent. */
static void
put_silent_claim(const char *task, uint32_t attempt, uint32_t lost)
{
    struct claim c;

    codec_init(CODEC_CLAIM, &c);
    c.task = task;
    c.attempt = attempt;
    c.lost = lost;
    c.worker = "other";
    c.nonce = "theirs";
    c.state = STATE_RUNNING;
    c.lease_ms = 1;
    (void)put_claim(&c);
}

static void
a_task_that_kills_its_workers_is_dead_without_an_exit_code(void **state)
{
    struct worker_fixture s;
    const struct result *r;

    (void)state;
    put_silent_claim("killer", 3, 2);
    open_fixture(&s, 1);
    submit_sh("killer", "echo must not run");
    r = result("killer", 3);
    assert_int_equal(r->state, STATE_DEAD);
    assert_true(r->no_exit_code);
    close_fixture(&s);
}

static void
a_lost_task_that_must_not_repeat_ends_unknown(void **state)
{
    struct worker_fixture s;
    struct order o;
    struct lookup l;
    const struct result *r;

    (void)state;
    put_silent_claim("never", 1, 0);
    open_fixture(&s, 1);
    order(&o, "never", "echo must not run");
    o.task.retry = RETRY_NEVER;
    submit(&o);
    r = result("never", 1);
    assert_int_equal(r->state, STATE_UNKNOWN);
    assert_true(r->final);
    assert_false(task_has_exit_code(r));
    /* Whatever the silent worker may still publish is another's. */
    assert_string_not_equal(r->nonce, "theirs");
    get_claim("never", &l);
    assert_int_equal(l.claim.state, STATE_UNKNOWN);
    assert_string_equal(l.claim.nonce, r->nonce);
    mem_pool_free(l.pool);
    close_fixture(&s);
}

static void
a_task_whose_claim_is_taken_is_killed_in_silence(void **state)
{
    char script[600];
    struct worker_fixture s;
    struct claim c;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    submit_sh("stolen", announcing("sleep 1000", script, sizeof script));
    pid = announced();
    codec_init(CODEC_CLAIM, &c);
    c.task = "stolen";
    c.attempt = 2;
    c.worker = "thief";
    c.nonce = "theirs";
    c.state = STATE_RUNNING;
    c.lease_ms = 600000;
    (void)put_claim(&c);
    assert_true(is_gone(pid));
    /* The slot is free again, and nothing was said. */
    submit_sh("next", "true");
    assert_int_equal(result("next", 1)->state, STATE_SUCCEEDED);
    assert_null(find_result("stolen", 1));
    close_fixture(&s);
}

static void
a_task_closed_in_our_name_stays_closed(void **state)
{
    char script[600];
    struct lookup l;
    struct worker_fixture s;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    submit_sh("closed", announcing("sleep 0.1", script, sizeof script));
    pid = announced();
    get_claim("closed", &l);
    /* Written over by hand. The result leaves before that is known, and the
     * ledger sets it aside, as its claim says otherwise. */
    l.claim.state = STATE_UNKNOWN;
    (void)put_claim(&l.claim);
    mem_pool_free(l.pool);
    assert_true(is_gone(pid));
    submit_sh("after-closed", "true");
    assert_int_equal(result("after-closed", 1)->state, STATE_SUCCEEDED);
    get_claim("closed", &l);
    assert_int_equal(l.claim.state, STATE_UNKNOWN);
    mem_pool_free(l.pool);
    close_fixture(&s);
}

static void
without_renewal_a_task_is_killed(void **state)
{
    char script[600];
    struct worker_fixture s;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    submit_sh("fenced", announcing("sleep 1000", script, sizeof script));
    pid = announced();
    broker_freeze(broker, true);
    assert_true(is_gone(pid));
    broker_freeze(broker, false);
    submit_sh("later", "true");
    assert_int_equal(result("later", 1)->state, STATE_SUCCEEDED);
    assert_null(find_result("fenced", 1));
    close_fixture(&s);
}

static void
a_short_outage_of_the_broker_costs_nothing(void **state)
{
    char script[600], go[300];
    struct worker_fixture s;
    const struct result *r;
    pid_t pid;
    FILE *f;

    (void)state;
    open_fixture(&s, 1);
    (void)snprintf(go, sizeof go, "%s/go", folder);
    (void)snprintf(script, sizeof script,
                   "echo $$ >%s/new; mv %s/new %s/file; "
                   "until [ -e %s ]; do sleep 0.05; done; echo through",
                   folder, folder, folder, go);
    submit_sh("outage", script);
    pid = announced();
    broker_freeze(broker, true);
    f = fopen(go, "we"); /* it ends while the broker is away */
    assert_non_null(f);
    (void)fclose(f);
    assert_true(is_gone(pid));
    broker_freeze(broker, false);
    r = result("outage", 1);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_output(r, "through\n");
    (void)unlink(go);
    close_fixture(&s);
}

struct letters {
    struct dead_letter d;
    struct mem_pool *pool;
    bool came;
};

static void
on_letter(void *ctx, const struct bus_note *note)
{
    struct letters *l = ctx;
    struct err e;

    assert_int_equal(codec_decode(CODEC_DEAD_LETTER, note->data, note->len,
                                  l->pool, &l->d, &e),
                     0);
    l->came = true;
}

static void
what_is_no_task_goes_to_the_dead_letters(void **state)
{
    struct letters l = {.pool = mem_pool_new()};
    struct bus_sub *sub;
    struct err e;
    struct worker_fixture s;
    uint64_t seq;

    (void)state;
    assert_int_equal(bus_subscribe(bus, "dead.local", on_letter, &l, &sub, &e),
                     0);
    open_fixture(&s, 1);
    seq = store("tasks.local.default", "\xff\xff rubbish", 10);
    assert_true(loop_until(loop, &l.came, PATIENCE_MS));
    assert_string_equal(l.d.process, "local");
    assert_string_equal(l.d.subject, "tasks.local.default");
    assert_int_equal(l.d.stream_seq, seq);
    assert_int_equal(l.d.payload_bytes, 10);
    assert_true(*l.d.reason != '\0');
    submit_sh("after-rubbish", "true");
    assert_int_equal(result("after-rubbish", 1)->state, STATE_SUCCEEDED);
    bus_unsubscribe(sub);
    mem_pool_free(l.pool);
    close_fixture(&s);
}

static void
one_slot_runs_one_task_at_a_time(void **state)
{
    char script[600], id[TASK_ID_SIZE];
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 1);
    (void)snprintf(script, sizeof script,
                   "mkdir %s/lock && sleep 0.02; rmdir %s/lock", folder,
                   folder);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof id, "turn%d", i);
        submit_sh(id, script);
    }
    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof id, "turn%d", i);
        assert_int_equal(result(id, 1)->state, STATE_SUCCEEDED);
    }
    close_fixture(&s);
}

static void
a_second_copy_of_a_task_does_not_run_it_again(void **state)
{
    char script[600], path[300];
    struct worker_fixture s;
    struct stat st;

    (void)state;
    open_fixture(&s, 4);
    (void)snprintf(path, sizeof path, "%s/count", folder);
    (void)snprintf(script, sizeof script, "echo x >>%s; sleep 0.2", path);
    for (int i = 0; i < 3; i++)
        submit_sh("twice", script);
    assert_int_equal(result("twice", 1)->state, STATE_SUCCEEDED);
    submit_sh("twice", script);
    submit_sh("twice-after", "true");
    assert_int_equal(result("twice-after", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 2);
    assert_null(find_result("twice", 2));
    (void)unlink(path);
    close_fixture(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_succeeds_and_the_claim_holds_it),
        cmocka_unit_test(a_task_that_takes_too_long_times_out),
        cmocka_unit_test(a_silent_task_times_out_and_a_talking_one_does_not),
        cmocka_unit_test(a_running_task_is_cancelled),
        cmocka_unit_test(
            a_failure_with_retries_left_waits_for_the_next_attempt),
        cmocka_unit_test(the_definition_of_done_decides),
        cmocka_unit_test(what_is_over_is_emitted_again_and_not_run),
        cmocka_unit_test(another_workers_lost_claim_is_taken_over),
        cmocka_unit_test(an_old_claim_is_watched_before_it_is_taken_over),
        cmocka_unit_test(
            a_task_that_kills_its_workers_is_dead_without_an_exit_code),
        cmocka_unit_test(a_lost_task_that_must_not_repeat_ends_unknown),
        cmocka_unit_test(a_task_whose_claim_is_taken_is_killed_in_silence),
        cmocka_unit_test(a_task_closed_in_our_name_stays_closed),
        cmocka_unit_test(without_renewal_a_task_is_killed),
        cmocka_unit_test(a_short_outage_of_the_broker_costs_nothing),
        cmocka_unit_test(what_is_no_task_goes_to_the_dead_letters),
        cmocka_unit_test(one_slot_runs_one_task_at_a_time),
        cmocka_unit_test(a_second_copy_of_a_task_does_not_run_it_again),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
