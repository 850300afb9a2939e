#include "workers/worker.h"

#include "lib/codec.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "lib/subject.h"
#include "lib/topology.h"
#include "tests/broker.h"
#include "workers/local/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 25000, RESULTS_MAX = 64, LEASE_MS = 1500 };

static struct broker *broker;
static struct loop *loop;
static struct bus *bus; /* the test's own; the worker has another */
static struct local *local;
static struct bus_sub *results;
static char none[] = "";
static char folder[] = "/tmp/shunt-worker-XXXXXX";

/* What came by on results.local.*. */
static struct {
    struct mem_pool *pool;
    struct result r[RESULTS_MAX];
    size_t n;
} seen;

static void
on_result(void *ctx, const struct bus_note *note)
{
    struct err e;

    (void)ctx;
    assert_true(seen.n < RESULTS_MAX);
    assert_int_equal(codec_decode(CODEC_RESULT, note->data, note->len,
                                  seen.pool, &seen.r[seen.n], &e),
                     0);
    seen.n++;
}

static struct bus_conf
bus_conf(void)
{
    struct bus_conf bc = {none, none, none, none, none, none, none};

    bc.url = (char *)(uintptr_t)broker_url(broker);
    return bc;
}

static int
setup(void **state)
{
    struct topology_conf tc = {.replicas = 1,
                               .max_bytes = -1,
                               .max_age_ms = 3600000,
                               .log_retention_ms = 3600000,
                               .log_max_bytes = -1,
                               .lanes = (char *[]){NULL}};
    struct bus_conf bc;
    struct err e;

    (void)state;
    broker = broker_start();
    bc = bus_conf();
    seen.pool = mem_pool_new();
    assert_non_null(mkdtemp(folder));
    log_level_set(LOG_ERROR);
    if (loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &bc, "test", PATIENCE_MS, &e) < 0 ||
        topology_provision(bus, &tc, NULL, NULL, &e) < 0 ||
        bus_subscribe(bus, "results.>", on_result, NULL, &results, &e) < 0 ||
        local_open(&local, loop, "/bin/bash", 300, &e) < 0)
        fail_msg("%s", e.msg);
    return 0;
}

static int
teardown(void **state)
{
    char path[300];

    (void)state;
    local_close(local);
    bus_unsubscribe(results);
    bus_close(bus);
    loop_close(loop);
    broker_stop(broker);
    mem_pool_free(seen.pool);
    (void)snprintf(path, sizeof path, "%s/file", folder);
    (void)unlink(path);
    (void)rmdir(folder);
    return 0;
}

/* --- a worker and its tasks ------------------------------------------------
 */

struct shop {
    struct worker_conf conf;
    struct bus *bus;
    struct worker *worker;
};

static char *lanes[] = {(char[]){"default"}, NULL};

static void
open_shop(struct shop *s, int64_t slots)
{
    char name[] = "w1";
    struct err e;

    *s = (struct shop){.conf = {.bus = bus_conf(),
                                .name = name,
                                .lanes = lanes,
                                .slots = slots,
                                .lease_ms = LEASE_MS,
                                .grace_ms = 300,
                                .drain_timeout_ms = 60000,
                                .output_head = 65536,
                                .output_tail = 65536}};
    if (bus_open(&s->bus, loop, &s->conf.bus, "worker-local", PATIENCE_MS, &e) <
            0 ||
        worker_open(&s->worker, s->bus, loop, &s->conf, &local_executor, local,
                    &e) < 0)
        fail_msg("%s", e.msg);
}

static void
close_shop(struct shop *s)
{
    worker_close(s->worker);
    bus_close(s->bus);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    if (e)
        fail_msg("%s", e->msg);
    *(uint64_t *)ctx = stored->seq;
}

static uint64_t
store(const char *subject, const void *data, size_t len)
{
    struct bus_publication p = {.subject = subject,
                                .data = data,
                                .len = len,
                                .expect = BUS_ANY_REVISION};
    uint64_t seq = 0;
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;

    bus_publish(bus, &p, PATIENCE_MS, on_stored, &seq);
    while (seq == 0 && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_true(seq > 0);
    return seq;
}

/* A task with one shell step, ready to be changed. */
struct order {
    struct task task;
    struct step steps[3];
    struct decision decision;
};

static void
order(struct order *o, const char *id, const char *script)
{
    memset(o, 0, sizeof *o);
    codec_init(CODEC_TASK, &o->task);
    codec_init(CODEC_DECISION, &o->decision);
    o->task.id = id;
    o->task.source = "cli";
    for (int i = 0; i < 3; i++)
        o->steps[i] = (struct step){
            .name = "", .kind = STEP_SHELL, .script = script, .workdir = ""};
    o->task.steps = o->steps;
    o->task.n_steps = 1;
    o->decision.backend = "local";
    o->decision.lane = "default";
    o->decision.rule = o->decision.reason = "test";
}

static void
submit(struct order *o)
{
    struct routed_task rt = {&o->task, &o->decision, 0};
    struct str bytes = {0};

    codec_encode(CODEC_ROUTED_TASK, &rt, &bytes);
    (void)store("tasks.local.default", bytes.data, bytes.len);
    str_free(&bytes);
}

static void
submit_sh(const char *id, const char *script)
{
    struct order o;

    order(&o, id, script);
    submit(&o);
}

static uint64_t
put_claim(const struct claim *c)
{
    char subject[SUBJECT_SIZE];
    struct str bytes = {0};
    uint64_t seq;

    codec_encode(CODEC_CLAIM, c, &bytes);
    seq =
        store(subject_claim(subject, "local", c->task), bytes.data, bytes.len);
    str_free(&bytes);
    return seq;
}

struct lookup {
    struct claim claim;
    struct mem_pool *pool;
    uint64_t revision;
    bool answered, found;
};

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct lookup *l = ctx;
    struct err bad;

    assert_null(e);
    l->answered = true;
    l->found = entry && codec_decode(CODEC_CLAIM, entry->data, entry->len,
                                     l->pool, &l->claim, &bad) == 0;
    l->revision = entry ? entry->revision : 0;
}

/* The claim of a task; free its pool. */
static void
get_claim(const char *task, struct lookup *l)
{
    char subject[SUBJECT_SIZE];

    *l = (struct lookup){.pool = mem_pool_new()};
    bus_get_last(bus, "KV_claims", subject_claim(subject, "local", task),
                 PATIENCE_MS, on_entry, l);
    assert_true(loop_until(loop, &l->answered, PATIENCE_MS));
}

static const struct result *
find_result(const char *task, uint32_t attempt)
{
    for (size_t i = 0; i < seen.n; i++)
        if (strcmp(seen.r[i].task, task) == 0 && seen.r[i].attempt == attempt)
            return &seen.r[i];
    return NULL;
}

static const struct result *
result(const char *task, uint32_t attempt)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    const struct result *r;
    bool never = false;

    while (!(r = find_result(task, attempt)) && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    if (!r)
        fail_msg("no result of %s, attempt %u", task, attempt);
    return r;
}

static char *
output_of(const struct result *r)
{
    struct str s = {0};

    for (size_t i = 0; i < r->n_output; i++)
        str_add(&s, r->output[i].data.data, r->output[i].data.len);
    str_addz(&s, "");
    return s.data;
}

static void
assert_output(const struct result *r, const char *want)
{
    char *text = output_of(r);

    assert_string_equal(text, want);
    free(text);
}

/* A script that says in a file that it runs, then goes on. */
static const char *
announcing(const char *then, char *out, size_t size)
{
    (void)snprintf(out, size, "echo $$ >%s/new; mv %s/new %s/file; %s", folder,
                   folder, folder, then);
    return out;
}

/* Waits until it has said so; returns its pid. */
static pid_t
announced(void)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;
    char path[300];
    int pid = 0;
    FILE *f = NULL;

    (void)snprintf(path, sizeof path, "%s/file", folder);
    while (!(f = fopen(path, "re")) && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    (void)fclose(f);
    (void)unlink(path);
    return (pid_t)pid;
}

static bool
is_gone(pid_t pid)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;

    while (kill(pid, 0) == 0 && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    return kill(pid, 0) < 0 && errno == ESRCH;
}

/* --- tests -----------------------------------------------------------------
 */

static void
a_task_succeeds_and_the_claim_holds_it(void **state)
{
    struct shop s;
    const struct result *r;
    struct lookup l;

    (void)state;
    open_shop(&s, 2);
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
    close_shop(&s);
}

struct exit_row {
    const char *name, *script;
    int exit_code, signal;
    const char *reason;
};

static const struct exit_row exits[] = {
    {"a script's exit code is the task's", "exit 3", 3, 0, "exit code 3"},
    {"a program that does not exist is 127", "no-such-thing a b", 127, 0,
     "exit code 127"},
    {"a file that is no program is 126", "/etc/passwd", 126, 0,
     "exit code 126"},
    {"a signal is 128 and its number", "kill -9 $$", 137, 9, "signal 9"},
    {"a quoted word stays one word", "test 'a b' = \"a b\"", 0, 0, ""},
    {"a builtin is left to the shell", "exit 4", 4, 0, "exit code 4"},
    {"a simple command needs no shell", "true", 0, 0, ""},
};

static void
test_exit(void **state)
{
    const struct exit_row *row = *state;
    static unsigned n;
    char id[TASK_ID_SIZE];
    struct shop s;
    const struct result *r;

    (void)snprintf(id, sizeof id, "exit%u", ++n);
    open_shop(&s, 1);
    submit_sh(id, row->script);
    r = result(id, 1);
    assert_int_equal(r->exit_code, row->exit_code);
    assert_int_equal(r->signal, row->signal);
    assert_non_null(strstr(r->reason, row->reason));
    assert_int_equal(r->state, row->exit_code ? STATE_FAILED : STATE_SUCCEEDED);
    assert_int_equal(r->failed_step, row->exit_code ? 1 : 0);
    close_shop(&s);
}

static void
steps_stop_at_the_first_failure(void **state)
{
    struct shop s;
    struct order o;
    const struct result *r;

    (void)state;
    open_shop(&s, 1);
    order(&o, "steps", "echo one");
    o.steps[1].script = "echo two; false";
    o.steps[1].name = "middle";
    o.steps[2].script = "echo three";
    o.task.n_steps = 3;
    submit(&o);
    r = result("steps", 1);
    assert_int_equal(r->failed_step, 2);
    assert_string_equal(r->reason, "step 2 (middle): exit code 1");
    assert_output(r, "one\ntwo\n");
    close_shop(&s);
}

static void
programs_get_their_arguments_environment_and_folder(void **state)
{
    const char *argv[] = {"sh", "-c", "echo \"$0|$1|$A|$NATS_URL\"; pwd", "a b",
                          "*"};
    struct key_value env[] = {{"A", "x y"}};
    struct shop s;
    struct order o;
    const struct result *r;

    (void)state;
    (void)setenv("NATS_URL", "nats://secret", 1);
    local_close(local);
    assert_int_equal(local_open(&local, loop, "/bin/bash", 300, NULL), 0);
    open_shop(&s, 1);
    order(&o, "args", "");
    o.steps[0].kind = STEP_ARGV;
    o.steps[0].argv = argv;
    o.steps[0].n_argv = 5;
    o.steps[0].workdir = "share";
    o.task.workdir = "/usr";
    o.task.env = env;
    o.task.n_env = 1;
    submit(&o);
    r = result("args", 1);
    assert_output(r, "a b|*|x y|\n/usr/share\n");
    close_shop(&s);
}

static void
a_missing_workdir_is_named(void **state)
{
    struct shop s;
    struct order o;
    const struct result *r;

    (void)state;
    open_shop(&s, 1);
    order(&o, "nodir", "true");
    o.task.workdir = "/no/such/folder";
    submit(&o);
    r = result("nodir", 1);
    assert_int_equal(r->exit_code, 125);
    assert_string_equal(r->reason, "workdir /no/such/folder does not exist");
    close_shop(&s);
}

static void
a_script_longer_than_an_argument_runs(void **state)
{
    struct shop s;
    struct order o;
    struct str script = {0};

    (void)state;
    open_shop(&s, 1);
    for (int i = 0; i < 20000; i++)
        str_addz(&script, "# comment\n");
    str_addz(&script, "cat; echo end $#");
    order(&o, "long", script.data);
    submit(&o);
    assert_output(result("long", 1), "end 0\n");
    str_free(&script);
    close_shop(&s);
}

static void
what_a_task_leaves_behind_is_killed(void **state)
{
    char script[800], text[700];
    struct shop s;
    const struct result *r;
    pid_t pid;

    (void)state;
    open_shop(&s, 1);
    (void)snprintf(text, sizeof text,
                   "setsid sh -c 'trap \"\" TERM; echo $$ >%s/new; "
                   "mv %s/new %s/file; while :; do sleep 1; done' & "
                   "until [ -e %s/file ]; do :; done; echo done",
                   folder, folder, folder, folder);
    (void)snprintf(script, sizeof script, "%s", text);
    submit_sh("leaves", script);
    r = result("leaves", 1);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_output(r, "done\n");
    pid = announced();
    assert_int_equal(kill(pid, 0), -1);
    close_shop(&s);
}

static void
a_task_that_takes_too_long_times_out(void **state)
{
    struct shop s;
    struct order o;
    const struct result *r;

    (void)state;
    open_shop(&s, 1);
    order(&o, "slow", "echo before; trap '' TERM; sleep 1000");
    o.task.timeout_ms = 1000;
    submit(&o);
    r = result("slow", 1);
    assert_int_equal(r->state, STATE_TIMED_OUT);
    assert_int_equal(r->exit_code, 124);
    assert_string_equal(r->reason, "ran longer than 1s");
    assert_output(r, "before\n");
    close_shop(&s);
}

static void
a_step_that_takes_too_long_times_out(void **state)
{
    struct shop s;
    struct order o;
    const struct result *r;

    (void)state;
    open_shop(&s, 1);
    order(&o, "slowstep", "sleep 1000");
    o.steps[0].timeout_ms = 200;
    submit(&o);
    r = result("slowstep", 1);
    assert_int_equal(r->state, STATE_TIMED_OUT);
    assert_int_equal(r->exit_code, 124);
    assert_int_equal(r->failed_step, 1);
    close_shop(&s);
}

static void
a_silent_task_times_out_and_a_talking_one_does_not(void **state)
{
    struct shop s;
    struct order o;
    const struct result *r;

    (void)state;
    open_shop(&s, 2);
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
    close_shop(&s);
}

static void
a_running_task_is_cancelled(void **state)
{
    char script[600], subject[SUBJECT_SIZE];
    struct str bytes = {0};
    struct control c;
    struct shop s;
    const struct result *r;
    pid_t pid;

    (void)state;
    open_shop(&s, 1);
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
    close_shop(&s);
}

static void
a_failure_with_retries_left_waits_for_the_next_attempt(void **state)
{
    struct shop s;
    struct order o;
    const struct result *r;
    struct lookup l;

    (void)state;
    open_shop(&s, 1);
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
    close_shop(&s);
}

static void
the_definition_of_done_decides(void **state)
{
    struct shop s;
    struct order o;
    const struct result *r;

    (void)state;
    open_shop(&s, 1);
    order(&o, "done3", "exit 3");
    o.task.dod = "exit_code == 3";
    submit(&o);
    assert_int_equal(result("done3", 1)->state, STATE_SUCCEEDED);
    order(&o, "notdone", "exit 0");
    o.task.dod = "exit_code == 3";
    submit(&o);
    r = result("notdone", 1);
    assert_int_equal(r->state, STATE_FAILED);
    assert_string_equal(r->reason, "not done: exit_code == 3");
    close_shop(&s);
}

static void
what_is_over_is_emitted_again_and_not_run(void **state)
{
    struct shop s;
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
    open_shop(&s, 1);
    submit_sh("over", "echo must not run");
    r = result("over", 7);
    assert_true(r->emitted_again);
    assert_int_equal(r->state, STATE_FAILED);
    assert_int_equal(r->exit_code, 9);
    assert_output(r, "the end");
    assert_null(find_result("over", 8));
    close_shop(&s);
}

static void
another_workers_lost_claim_is_taken_over(void **state)
{
    struct shop s;
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
    open_shop(&s, 1);
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
    assert_int_equal(r->fence, revision);
    assert_string_equal(r->nonce, "theirs");
    assert_string_equal(r->worker, "other");
    close_shop(&s);
}

static void
a_lost_task_that_must_not_repeat_ends_unknown(void **state)
{
    struct shop s;
    struct order o;
    struct claim c;
    struct lookup l;
    const struct result *r;

    (void)state;
    codec_init(CODEC_CLAIM, &c);
    c.task = "never";
    c.attempt = 1;
    c.worker = "other";
    c.nonce = "theirs";
    c.state = STATE_RUNNING;
    c.lease_ms = 1;
    (void)put_claim(&c);
    open_shop(&s, 1);
    order(&o, "never", "echo must not run");
    o.task.retry = RETRY_NEVER;
    submit(&o);
    r = result("never", 1);
    assert_int_equal(r->state, STATE_UNKNOWN);
    assert_true(r->final);
    assert_string_equal(r->nonce, "theirs");
    get_claim("never", &l);
    assert_int_equal(l.claim.state, STATE_UNKNOWN);
    mem_pool_free(l.pool);
    close_shop(&s);
}

static void
a_task_whose_claim_is_taken_is_killed_in_silence(void **state)
{
    char script[600];
    struct shop s;
    struct claim c;
    pid_t pid;

    (void)state;
    open_shop(&s, 1);
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
    close_shop(&s);
}

static void
without_renewal_a_task_is_killed(void **state)
{
    char script[600];
    struct shop s;
    pid_t pid;

    (void)state;
    open_shop(&s, 1);
    submit_sh("fenced", announcing("sleep 1000", script, sizeof script));
    pid = announced();
    broker_freeze(broker, true);
    assert_true(is_gone(pid));
    broker_freeze(broker, false);
    submit_sh("later", "true");
    assert_int_equal(result("later", 1)->state, STATE_SUCCEEDED);
    assert_null(find_result("fenced", 1));
    close_shop(&s);
}

static void
a_short_outage_of_the_broker_costs_nothing(void **state)
{
    char script[600], go[300];
    struct shop s;
    const struct result *r;
    pid_t pid;
    FILE *f;

    (void)state;
    open_shop(&s, 1);
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
    close_shop(&s);
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
    struct shop s;
    uint64_t seq;

    (void)state;
    assert_int_equal(bus_subscribe(bus, "dead.local", on_letter, &l, &sub, &e),
                     0);
    open_shop(&s, 1);
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
    close_shop(&s);
}

static void
one_slot_runs_one_task_at_a_time(void **state)
{
    char script[600], id[TASK_ID_SIZE];
    struct shop s;

    (void)state;
    open_shop(&s, 1);
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
    close_shop(&s);
}

static void
a_second_copy_of_a_task_does_not_run_it_again(void **state)
{
    char script[600], path[300];
    struct shop s;
    struct stat st;

    (void)state;
    open_shop(&s, 4);
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
    close_shop(&s);
}

static void
an_idle_worker_stops_at_once(void **state)
{
    struct shop s;

    (void)state;
    open_shop(&s, 1);
    worker_drain(s.worker, 1);
    close_shop(&s);
}

static void
a_draining_worker_lets_its_task_finish(void **state)
{
    char script[600];
    struct shop s;

    (void)state;
    open_shop(&s, 1);
    submit_sh("lastone",
              announcing("sleep 0.3; echo finished", script, sizeof script));
    (void)announced();
    worker_drain(s.worker, 1);
    assert_int_equal(loop_run(loop), 0);
    assert_output(result("lastone", 1), "finished\n");
    close_shop(&s);
}

static void
a_task_that_outlasts_the_drain_is_handed_back(void **state)
{
    char script[600];
    struct shop s;
    struct lookup l;
    const struct result *r;
    pid_t pid;

    (void)state;
    open_shop(&s, 1);
    s.conf.drain_timeout_ms = 100;
    submit_sh("handed", announcing("[ $SHUNT_ATTEMPT = 2 ] || sleep 1000",
                                   script, sizeof script));
    pid = announced();
    worker_drain(s.worker, 1);
    assert_int_equal(loop_run(loop), 0);
    assert_true(is_gone(pid));
    r = result("handed", 1);
    assert_int_equal(r->state, STATE_PREEMPTED);
    assert_false(r->final);
    get_claim("handed", &l);
    assert_int_equal(l.claim.state, STATE_PREEMPTED);
    assert_int_equal(l.claim.failed, 0);
    mem_pool_free(l.pool);
    close_shop(&s);
    /* The next worker takes it at once. */
    open_shop(&s, 1);
    assert_int_equal(result("handed", 2)->state, STATE_SUCCEEDED);
    (void)announced();
    close_shop(&s);
}

static void
a_second_term_kills_and_hands_back(void **state)
{
    char script[600];
    struct shop s;
    pid_t pid;

    (void)state;
    open_shop(&s, 1);
    submit_sh("killed",
              announcing("[ $SHUNT_ATTEMPT = 2 ] && exit; trap '' TERM; "
                         "while :; do sleep 1; done",
                         script, sizeof script));
    pid = announced();
    worker_drain(s.worker, 1);
    worker_drain(s.worker, 2);
    assert_int_equal(loop_run(loop), 0);
    assert_true(is_gone(pid));
    assert_int_equal(result("killed", 1)->state, STATE_PREEMPTED);
    close_shop(&s);
    open_shop(&s, 1);
    assert_int_equal(result("killed", 2)->state, STATE_SUCCEEDED);
    (void)announced();
    close_shop(&s);
}

struct pulse {
    unsigned idle, busy, stopped;
    bool any_busy, any_stopped;
};

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct pulse *p = ctx;
    struct mem_pool *pool = mem_pool_new();
    struct heartbeat h;
    struct err e;

    assert_int_equal(
        codec_decode(CODEC_HEARTBEAT, note->data, note->len, pool, &h, &e), 0);
    assert_string_equal(h.worker, "w1");
    assert_int_equal(h.slots, 3);
    assert_int_equal(h.n_lanes, 1);
    assert_int_equal(h.pid, getpid());
    assert_int_equal(h.n_running, h.running_count);
    if (h.stopped)
        p->any_stopped = true;
    if (h.running_count > 0) {
        assert_string_equal(h.running[0].task, "beating");
        p->any_busy = true;
    }
    mem_pool_free(pool);
}

static void
heartbeats_tell_busy_and_stopped(void **state)
{
    char script[600];
    struct pulse p = {0};
    struct bus_sub *sub;
    struct shop s;
    struct err e;

    (void)state;
    assert_int_equal(
        bus_subscribe(bus, SUBJECT_HEARTBEATS, on_heartbeat, &p, &sub, &e), 0);
    open_shop(&s, 3);
    submit_sh("beating", announcing("sleep 1.5", script, sizeof script));
    (void)announced();
    assert_true(loop_until(loop, &p.any_busy, PATIENCE_MS));
    worker_drain(s.worker, 1);
    assert_int_equal(loop_run(loop), 0);
    assert_true(loop_until(loop, &p.any_stopped, PATIENCE_MS));
    bus_unsubscribe(sub);
    close_shop(&s);
}

enum { N_EXITS = sizeof exits / sizeof *exits, N_PLAIN = 26 };

int
main(void)
{
    struct CMUnitTest tests[N_PLAIN + N_EXITS] = {
        cmocka_unit_test(a_task_succeeds_and_the_claim_holds_it),
        cmocka_unit_test(steps_stop_at_the_first_failure),
        cmocka_unit_test(programs_get_their_arguments_environment_and_folder),
        cmocka_unit_test(a_missing_workdir_is_named),
        cmocka_unit_test(a_script_longer_than_an_argument_runs),
        cmocka_unit_test(what_a_task_leaves_behind_is_killed),
        cmocka_unit_test(a_task_that_takes_too_long_times_out),
        cmocka_unit_test(a_step_that_takes_too_long_times_out),
        cmocka_unit_test(a_silent_task_times_out_and_a_talking_one_does_not),
        cmocka_unit_test(a_running_task_is_cancelled),
        cmocka_unit_test(
            a_failure_with_retries_left_waits_for_the_next_attempt),
        cmocka_unit_test(the_definition_of_done_decides),
        cmocka_unit_test(what_is_over_is_emitted_again_and_not_run),
        cmocka_unit_test(another_workers_lost_claim_is_taken_over),
        cmocka_unit_test(a_lost_task_that_must_not_repeat_ends_unknown),
        cmocka_unit_test(a_task_whose_claim_is_taken_is_killed_in_silence),
        cmocka_unit_test(without_renewal_a_task_is_killed),
        cmocka_unit_test(a_short_outage_of_the_broker_costs_nothing),
        cmocka_unit_test(what_is_no_task_goes_to_the_dead_letters),
        cmocka_unit_test(one_slot_runs_one_task_at_a_time),
        cmocka_unit_test(a_second_copy_of_a_task_does_not_run_it_again),
        cmocka_unit_test(an_idle_worker_stops_at_once),
        cmocka_unit_test(a_draining_worker_lets_its_task_finish),
        cmocka_unit_test(a_task_that_outlasts_the_drain_is_handed_back),
        cmocka_unit_test(a_second_term_kills_and_hands_back),
        cmocka_unit_test(heartbeats_tell_busy_and_stopped),
    };
    size_t n = N_PLAIN;

    for (size_t i = 0; i < N_EXITS; i++)
        tests[n++] =
            (struct CMUnitTest){.name = exits[i].name,
                                .test_func = test_exit,
                                .initial_state = (void *)(uintptr_t)&exits[i]};
    return _cmocka_run_group_tests("worker", tests, n, setup, teardown);
}
