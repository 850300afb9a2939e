/*
 * What a worker promises when it is frozen, killed, or left by its broker: the
 * real program in a process of its own, with a short lease.
 */
#include "tests/worker_fixture.h"

#include "lib/bus/control_send.h"
#include "lib/os/procs.h"
#include "workers/core/result_spool.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* A worker's process. */
struct hand {
    pid_t pid;
    const char *name;
    char state[200], log[200];
};

static bool never;
static const char *crash_at; /* where the next one hired dies */

static int
setup_alone(void **state)
{
    int rc = setup(state);

    /* The workers' children are theirs, and ours are waited for here. */
    local_close(local);
    local = NULL;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
    return rc;
}

static void
exec_worker(const struct hand *h, const char *lease)
{
    const char *bin = getenv("SHUNT_BIN");
    char path[PATH_MAX];
    int fd = open(h->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(fd, 1);
    (void)dup2(fd, 2);
    (void)setenv("SHUNT_LOG", "debug", 1);
    (void)setenv("SHUNT_CONFIG", "/dev/null", 1);
    if (crash_at)
        (void)setenv("SHUNT_CRASH_AT", crash_at, 1);
    (void)snprintf(path, sizeof path, "%s/shunt-worker-local",
                   bin && *bin ? bin : "build/bin");
    (void)execl(path, path, "--bus-url", broker_url(broker), "--worker-name",
                h->name, "--worker-state-dir", h->state, "--worker-lease",
                lease, "--worker-slots", "1", "--worker-grace", "300ms",
                "--worker-drain-timeout", "20s", (char *)NULL);
    _exit(127);
}

static void
hire(struct hand *h, const char *name, const char *lease)
{
    *h = (struct hand){.name = name};
    (void)snprintf(h->state, sizeof h->state, "%s/%s", folder, name);
    (void)snprintf(h->log, sizeof h->log, "%s/%s.log", folder, name);
    h->pid = fork();
    assert_true(h->pid >= 0);
    if (h->pid == 0)
        exec_worker(h, lease);
}

/* How often text stands in the log. */
static int
told(const struct hand *h, const char *text)
{
    char line[2048];
    FILE *f = fopen(h->log, "re");
    int n = 0;

    while (f && fgets(line, sizeof line, f))
        if (strstr(line, text))
            n++;
    if (f)
        (void)fclose(f);
    return n;
}

static void
wait_told(const struct hand *h, const char *text, int times)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (told(h, text) < times && loop_now_ms() < until)
        (void)loop_until(loop, &never, 10);
    if (told(h, text) < times)
        fail_msg("%s does not say %s", h->log, text);
}

static int
wait_end(struct hand *h)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    int status = 0;
    pid_t pid = 0;

    while ((pid = waitpid(h->pid, &status, WNOHANG)) == 0 &&
           loop_now_ms() < until)
        (void)loop_until(loop, &never, 10);
    assert_int_equal(pid, h->pid);
    h->pid = 0;
    return status;
}

/* The worker, whose guard we have started. */
static pid_t
worker_of(const struct hand *h)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    struct procs_list children = {0};
    pid_t pid;

    while (children.n == 0 && loop_now_ms() < until) {
        procs_push_children(&children, h->pid, false, true);
        if (children.n == 0)
            (void)loop_until(loop, &never, 10);
    }
    assert_int_equal(children.n, 1);
    pid = children.v[0].pid;
    mem_free(children.v);
    return pid;
}

static void
strike(struct hand *h)
{
    (void)kill(worker_of(h), SIGKILL);
    (void)wait_end(h);
}

/* With its guard, which has no time to end what the task leaves. */
static void
strike_both(struct hand *h)
{
    pid_t worker = worker_of(h);

    (void)kill(h->pid, SIGSTOP);
    (void)kill(worker, SIGKILL);
    (void)kill(h->pid, SIGKILL);
    (void)wait_end(h);
}

static void
dismiss(struct hand *h)
{
    (void)kill(h->pid, SIGTERM);
    assert_int_equal(wait_end(h), 0);
}

/* Ended, and perhaps not waited for by the first process. */
static bool
has_ended(pid_t pid)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    struct procs_stat st;

    while (procs_stat(pid, &st) && procs_alive(&st) && loop_now_ms() < until)
        (void)loop_until(loop, &never, 10);
    return !procs_stat(pid, &st) || !procs_alive(&st);
}

static void
touch(const char *name)
{
    char path[300];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "we");
    assert_non_null(f);
    (void)fclose(f);
}

static bool
exists(const struct hand *h, const char *below)
{
    char path[500];

    (void)snprintf(path, sizeof path, "%s/outcomes/%s", h->state, below);
    return access(path, F_OK) == 0;
}

static void
wait_exists(const struct hand *h, const char *below, bool wanted)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (exists(h, below) != wanted && loop_now_ms() < until)
        (void)loop_until(loop, &never, 10);
    assert_int_equal(exists(h, below), wanted);
}

static void
wait_bus(void)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (!bus_is_up(bus) && loop_now_ms() < until)
        (void)loop_until(loop, &never, 10);
    assert_true(bus_is_up(bus));
}

/* Each attempt adds its number to a file. */
static void
assert_runs(const char *id, const char *want)
{
    char path[300], text[64] = "";
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/runs-%s", folder, id);
    f = fopen(path, "re");
    assert_non_null(f);
    (void)!fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    assert_string_equal(text, want);
}

/* Counts itself and says that it runs; attempt 1 waits for the file go-<id>,
 * later ones do not. */
static void
submit_waiting(const char *id)
{
    char script[800];

    (void)snprintf(script, sizeof script,
                   "printf $SHUNT_ATTEMPT >>%s/runs-%s; "
                   "[ $SHUNT_ATTEMPT = 1 ] || exit 0; "
                   "echo $$ >%s/new; mv %s/new %s/file; "
                   "until [ -e %s/go-%s ]; do sleep 0.05; done; echo through",
                   folder, id, folder, folder, folder, folder, id);
    submit_sh(id, script);
}

static void
assert_only_lost(const char *id)
{
    for (size_t i = 0; i < seen.n; i++)
        if (strcmp(seen.r[i].task, id) == 0 && seen.r[i].attempt == 1)
            assert_int_equal(seen.r[i].state, STATE_LOST);
}

/* --- frozen -------------------------------------------------------------- */

static void
a_frozen_worker_kills_its_task_when_it_wakes(void **state)
{
    struct hand a, b;
    pid_t pid;

    (void)state;
    hire(&a, "frozen-a", "3s");
    submit_waiting("frozen");
    pid = announced();
    (void)kill(worker_of(&a), SIGSTOP);
    hire(&b, "frozen-b", "3s");
    submit_waiting("frozen"); /* the copy a reconcile sends */
    assert_int_equal(result("frozen", 2)->state, STATE_SUCCEEDED);
    assert_string_equal(result("frozen", 2)->worker, "frozen-b");
    assert_int_equal(kill(pid, 0), 0);
    (void)kill(worker_of(&a), SIGCONT);
    assert_true(has_ended(pid));
    /* It goes on with other work. */
    dismiss(&b);
    submit_sh("frozen-next", "true");
    assert_string_equal(result("frozen-next", 1)->worker, "frozen-a");
    assert_only_lost("frozen");
    assert_runs("frozen", "12");
    dismiss(&a);
}

static void
what_ended_while_its_worker_was_frozen_never_wins(void **state)
{
    struct hand a, b;
    struct lookup l;
    pid_t pid;

    (void)state;
    hire(&a, "stale-a", "3s");
    submit_waiting("stale");
    pid = announced();
    (void)kill(worker_of(&a), SIGSTOP);
    hire(&b, "stale-b", "3s");
    submit_waiting("stale");
    assert_int_equal(result("stale", 2)->state, STATE_SUCCEEDED);
    touch("go-stale");
    assert_true(has_ended(pid));
    (void)kill(worker_of(&a), SIGCONT);
    dismiss(&b);
    submit_sh("stale-next", "true");
    assert_string_equal(result("stale-next", 1)->worker, "stale-a");
    assert_only_lost("stale");
    get_claim("stale", &l);
    assert_int_equal(l.claim.attempt, 2);
    assert_string_equal(l.claim.worker, "stale-b");
    mem_pool_free(l.pool);
    dismiss(&a);
}

/* Stops a worker and its task, or continues both. */
static void
freeze(const struct hand *h, pid_t task, bool frozen)
{
    (void)kill(worker_of(h), frozen ? SIGSTOP : SIGCONT);
    (void)kill(-task, frozen ? SIGSTOP : SIGCONT);
}

static void
stay_stopped(int64_t ms)
{
    (void)loop_until(loop, &never, ms);
}

static void
a_task_lives_through_a_suspension_of_all(void **state)
{
    /* Who wakes first; the other one 700 ms later. */
    static const char *const first[] = {"worker", "broker"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        char id[20], go[30];
        struct hand a;
        const struct result *r;
        pid_t pid;

        (void)snprintf(id, sizeof id, "lid-%s", first[i]);
        hire(&a, id, "3s");
        submit_waiting(id);
        pid = announced();
        freeze(&a, pid, true);
        broker_freeze(broker, true);
        stay_stopped(4500);
        if (i == 0)
            freeze(&a, pid, false);
        else
            broker_freeze(broker, false);
        stay_stopped(700);
        broker_freeze(broker, false);
        freeze(&a, pid, false);
        wait_told(&a, "worker.suspended", 1);
        (void)snprintf(go, sizeof go, "go-%s", id);
        touch(go);
        r = result(id, 1);
        assert_int_equal(r->state, STATE_SUCCEEDED);
        assert_runs(id, "1");
        assert_int_equal(told(&a, "task.fenced"), 0);
        dismiss(&a);
    }
}

static void
a_suspended_worker_that_cannot_renew_gives_up(void **state)
{
    struct hand a;
    pid_t pid;

    (void)state;
    hire(&a, "alone", "3s");
    submit_waiting("alone");
    pid = announced();
    freeze(&a, pid, true);
    broker_freeze(broker, true);
    stay_stopped(4000);
    freeze(&a, pid, false);
    wait_told(&a, "task.fenced", 1);
    assert_true(has_ended(pid));
    broker_freeze(broker, false);
    wait_bus();
    submit_waiting("alone"); /* the copy a reconcile sends */
    assert_int_equal(result("alone", 2)->state, STATE_SUCCEEDED);
    assert_only_lost("alone");
    dismiss(&a);
}

static void
limits_do_not_count_the_time_of_a_suspension(void **state)
{
    struct hand a;
    struct order o;
    char script[300];
    const struct result *r;
    pid_t pid;

    (void)state;
    hire(&a, "limits", "30s");
    order(&o, "limits", announcing("sleep 1000", script, sizeof script));
    o.task.timeout_ms = 3000;
    o.task.idle_timeout_ms = 2500;
    o.steps[0].timeout_ms = 2000;
    submit(&o);
    pid = announced();
    wait_told(&a, "task.started", 1);
    freeze(&a, pid, true);
    stay_stopped(4500);
    freeze(&a, pid, false);
    wait_told(&a, "worker.suspended", 1);
    r = result("limits", 1);
    assert_int_equal(r->state, STATE_TIMED_OUT);
    assert_int_equal(r->failed_step, 1); /* the shortest of the three */
    assert_true(r->finished_at_ms - r->started_at_ms >= 4500 + 1900);
    assert_non_null(strstr(r->reason, "ran longer than 2"));
    assert_non_null(strstr(r->reason, "suspended for"));
    dismiss(&a);
}

/* --- the broker is away -------------------------------------------------- */

/* The outcome of a run that ended without a broker lies on disk, and the
 * worker is gone. */
static void
leave_outcome(struct hand *h, const char *id, const char *file)
{
    char go[60];

    hire(h, id, "30s");
    submit_waiting(id);
    (void)announced();
    broker_kill(broker);
    (void)snprintf(go, sizeof go, "go-%s", id);
    touch(go);
    wait_exists(h, file, true);
    strike(h);
    broker_restart(broker);
    wait_bus();
    assert_null(find_result(id, 1));
}

static void
an_outcome_survives_broker_and_worker(void **state)
{
    const struct result *r;
    struct hand h;

    (void)state;
    leave_outcome(&h, "spooled", "spooled-1");
    hire(&h, "spooled", "30s");
    r = result("spooled", 1);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_true(r->final);
    assert_output(r, "through\n");
    wait_exists(&h, "spooled-1", false);
    submit_waiting("spooled");
    submit_sh("spooled-next", "true");
    (void)result("spooled-next", 1);
    assert_null(find_result("spooled", 2));
    assert_runs("spooled", "1");
    dismiss(&h);
}

static void
an_outcome_whose_task_has_gone_on_is_set_aside(void **state)
{
    struct claim c;
    struct hand h;

    (void)state;
    leave_outcome(&h, "late", "late-1");
    codec_init(CODEC_CLAIM, &c);
    c.task = "late";
    c.attempt = 2;
    c.worker = "other";
    c.nonce = "theirs";
    c.state = STATE_RUNNING;
    c.lease_ms = 600000;
    (void)put_claim(&c);
    hire(&h, "late", "30s");
    wait_exists(&h, "superseded/late-1", true);
    assert_false(exists(&h, "late-1"));
    assert_int_equal(told(&h, "outcome.superseded"), 1);
    submit_sh("late-next", "true");
    (void)result("late-next", 1);
    assert_null(find_result("late", 1));
    dismiss(&h);
}

static void
an_outcome_that_is_confirmed_late_leaves_no_file(void **state)
{
    struct hand h;

    (void)state;
    hire(&h, "short", "30s");
    submit_waiting("short");
    (void)announced();
    broker_kill(broker);
    touch("go-short");
    wait_exists(&h, "short-1", true);
    broker_restart(broker);
    wait_bus();
    assert_int_equal(result("short", 1)->state, STATE_SUCCEEDED);
    wait_exists(&h, "short-1", false);
    assert_runs("short", "1");
    dismiss(&h);
}

static void
an_outcome_that_finds_no_disk_is_tried_again(void **state)
{
    char path[300], aside[320];
    struct hand h;

    (void)state;
    hire(&h, "full", "30s");
    submit_waiting("full");
    (void)announced();
    (void)snprintf(path, sizeof path, "%s/outcomes", h.state);
    (void)snprintf(aside, sizeof aside, "%s/superseded", path);
    assert_int_equal(rmdir(aside), 0);
    assert_int_equal(rmdir(path), 0);
    broker_kill(broker);
    touch("go-full");
    wait_told(&h, "outcome.not_spooled", 1);
    assert_int_equal(mkdir(path, 0700), 0);
    wait_exists(&h, "full-1", true);
    assert_int_equal(told(&h, "outcome.not_spooled"), 1);
    broker_restart(broker);
    wait_bus();
    assert_int_equal(result("full", 1)->state, STATE_SUCCEEDED);
    dismiss(&h);
}

static void
a_write_without_an_answer_is_read_before_anything_follows(void **state)
{
    const struct result *r;
    struct hand h;
    size_t n = 0;

    (void)state;
    hire(&h, "mute", "30s");
    submit_waiting("mute");
    (void)announced();
    broker_freeze(broker, true);
    touch("go-mute");
    wait_told(&h, "claim.write", 1); /* it was sent, and timed out */
    broker_freeze(broker, false);
    r = result("mute", 1);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    submit_sh("mute-next", "true");
    (void)result("mute-next", 1);
    for (size_t i = 0; i < seen.n; i++)
        n += strcmp(seen.r[i].task, "mute") == 0;
    assert_int_equal(n, 1);
    assert_runs("mute", "1");
    dismiss(&h);
}

/* --- killed -------------------------------------------------------------- */

static void
leave_running(const char *worker, void (*strike_it)(struct hand *h),
              bool orphaned)
{
    char script[800];
    struct hand h;
    pid_t pid;

    hire(&h, worker, "3s");
    /* The grandchild moves to a session of its own and outlives its parent. */
    (void)snprintf(script, sizeof script,
                   "cd %s; printf $SHUNT_ATTEMPT >>runs-%s; "
                   "if [ $SHUNT_ATTEMPT = 2 ]; then "
                   "case $(cut -d' ' -f3 /proc/$(cat child)/stat) in "
                   "''|Z) exit 0;; *) exit 7;; esac; fi; "
                   "setsid sleep 1000 & echo $! >child; "
                   "cp child new; mv new file; wait",
                   folder, worker);
    submit_sh(worker, script);
    pid = announced();
    strike_it(&h);
    if (orphaned)
        assert_int_equal(kill(pid, 0), 0);
    else
        assert_true(has_ended(pid));
    hire(&h, worker, "3s");
    if (orphaned)
        wait_told(&h, "worker.orphan", 1);
    assert_true(has_ended(pid));
    submit_sh(worker, script);
    assert_int_equal(result(worker, 2)->exit_code, 0);
    assert_runs(worker, "12");
    dismiss(&h);
}

static void
what_a_killed_worker_left_running_is_ended_by_its_guard(void **state)
{
    (void)state;
    leave_running("killed", strike, false);
}

static void
what_it_left_without_a_guard_is_gone_before_the_next_attempt(void **state)
{
    (void)state;
    leave_running("unguarded", strike_both, true);
}

static void
a_worker_that_is_killed_amid_many_runs_none_twice(void **state)
{
    static const char *const ids[] = {"amid0", "amid1", "amid2"};
    char scripts[3][400];
    struct order o[3], *together[3];
    struct hand h;

    (void)state;
    hire(&h, "amid", "3s");
    for (int i = 0; i < 3; i++) {
        (void)snprintf(scripts[i], sizeof scripts[i],
                       "cd %s; printf $SHUNT_ATTEMPT >>runs-%s; "
                       "[ %d-$SHUNT_ATTEMPT != 1-1 ] || "
                       "{ echo $$ >new; mv new file; sleep 1000; }",
                       folder, ids[i], i);
        order(together[i] = &o[i], ids[i], scripts[i]);
    }
    submit_together(together, 3);
    (void)announced(); /* the second runs, the third waits for its slot */
    (void)result(ids[0], 1);
    strike(&h);
    hire(&h, "amid", "3s");
    submit_together(together, 3); /* as the broker would, some time later */
    assert_int_equal(result(ids[1], 2)->state, STATE_SUCCEEDED);
    for (int i = 0; i < 3; i += 2)
        assert_int_equal(result(ids[i], 1)->state, STATE_SUCCEEDED);
    assert_runs(ids[0], "1");
    assert_runs(ids[1], "12");
    assert_runs(ids[2], "1");
    dismiss(&h);
}

#ifdef SHUNT_DEBUG
/* It does not wait to hear that the outcome is stored. */
static void
a_result_leaves_along_with_its_outcome(void **state)
{
    const struct result *r;
    struct hand h;

    (void)state;
    crash_at = "worker.after_outcome";
    hire(&h, "along", "3s");
    crash_at = NULL;
    submit_sh("along", "true");
    assert_int_equal(wait_end(&h), SIGKILL);
    r = result("along", 1);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_false(r->emitted_again);
    hire(&h, "along", "3s");
    submit_sh("along", "true");
    submit_sh("along-next", "true");
    (void)result("along-next", 1);
    assert_null(find_result("along", 2));
    dismiss(&h);
}

/* Dies at that point, comes back, and is given a second copy of the task. */
static void
die_at(const char *point, size_t number)
{
    char id[TASK_ID_SIZE], script[300], path[300], runs[64] = "";
    const struct result *r;
    struct hand h;
    FILE *f;

    (void)snprintf(id, sizeof id, "crash%zu", number);
    (void)snprintf(script, sizeof script,
                   "printf $SHUNT_ATTEMPT >>%s/runs-%s; sleep 1.5; echo done",
                   folder, id);
    crash_at = point;
    hire(&h, "crashes", "3s");
    crash_at = NULL;
    submit_sh(id, script);
    assert_int_equal(wait_end(&h), SIGKILL);
    hire(&h, "crashes", "3s");
    wait_told(&h, "worker.ready", 2 * (int)number + 2);
    submit_sh(id, script);
    r = find_result(id, 1);
    if (!r || r->state == STATE_LOST)
        r = result(id, 1);
    if (r->state == STATE_LOST)
        r = result(id, 2);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_output(r, "done\n");
    (void)snprintf(path, sizeof path, "%s/runs-%s", folder, id);
    f = fopen(path, "re");
    assert_non_null(f);
    (void)!fread(runs, 1, sizeof runs - 1, f);
    (void)fclose(f);
    /* Each attempt once; claimed and never started counts as lost. */
    if (strcmp(runs, "1") != 0 && strcmp(runs, "12") != 0 &&
        strcmp(runs, "2") != 0)
        fail_msg("%s: attempts started: %s", point, runs);
    dismiss(&h);
}

static void
a_worker_that_dies_anywhere_starts_no_attempt_twice(void **state)
{
    static const char *const points[] = {
        "worker.after_fetch",  "worker.after_claim", "worker.after_start",
        "worker.mid_run",      "worker.after_exit",  "worker.after_outcome",
        "worker.after_result", "worker.after_ack",
    };

    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        die_at(points[i], i);
}
#endif

static void
two_workers_of_one_name_do_not_share_a_folder(void **state)
{
    struct hand a, b;

    (void)state;
    hire(&a, "single", "30s");
    wait_told(&a, "worker.ready", 1);
    hire(&b, "single", "30s");
    assert_int_equal(wait_end(&b), 1 << 8);
    assert_int_equal(told(&b, "runs already on this machine"), 1);
    dismiss(&a);
    hire(&b, "single", "30s"); /* the lock has gone with it */
    wait_told(&b, "worker.ready", 2);
    dismiss(&b);
}

/* --- stopping ------------------------------------------------------------ */

struct reason_words {
    bool any, draining, stopped;
};

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct mem_pool *pool = mem_pool_new();
    struct reason_words *w = ctx;
    struct heartbeat h;
    struct err e;

    assert_int_equal(
        codec_decode(CODEC_HEARTBEAT, note->data, note->len, pool, &h, &e), 0);
    w->any = true;
    if (h.draining && !h.stopped)
        w->draining = true;
    if (h.stopped)
        w->stopped = w->draining;
    mem_pool_free(pool);
}

/* Asks for a heartbeat, which comes after what was published before. */
static void
call_roll(struct reason_words *w)
{
    struct control roll = control_msg_new(CONTROL_ROLL, "me@here");

    w->any = false;
    control_send(bus, SUBJECT_ROLL, &roll);
    assert_true(loop_until(loop, &w->any, PATIENCE_MS));
}

/* The broker's answer to a publication among them: its sender may have it sent
 * to any subject. */
static void
publish_what_is_no_drain(const char *subject)
{
    static const char answer[] = "{\"stream\":\"TASKS_IN\", \"seq\":7}";
    struct control c = control_msg_new(CONTROL_DRAIN, "me@here");

    bus_publish_core(bus, subject, "", 0);
    bus_publish_core(bus, subject, answer, strlen(answer));
    control_send(bus, subject, &c); /* for no worker */
    c.worker = "another";
    control_send(bus, subject, &c);
    c.worker = "drained";
    c.verb = CONTROL_ROLL;
    control_send(bus, subject, &c);
    c.verb = CONTROL_DRAIN;
    c.version = CONTROL_VERSION + 1;
    control_send(bus, subject, &c);
}

static void
a_worker_drained_over_the_bus_says_stopping_and_stopped(void **state)
{
    char subject[SUBJECT_SIZE], hb[SUBJECT_SIZE];
    struct reason_words w = {0};
    struct control drain;
    struct bus_sub *sub;
    struct hand h;
    struct err e;

    (void)state;
    assert_int_equal(bus_subscribe(bus,
                                   subject_heartbeat(hb, "local", "drained"),
                                   on_heartbeat, &w, &sub, &e),
                     0);
    hire(&h, "drained", "30s");
    submit_waiting("drained");
    (void)announced();
    (void)subject_drain(subject, "local", "drained");
    publish_what_is_no_drain(subject);
    call_roll(&w);
    assert_false(w.draining);
    drain = control_msg_new(CONTROL_DRAIN, "me@here");
    drain.worker = "drained";
    control_send(bus, subject, &drain);
    assert_true(loop_until(loop, &w.draining, PATIENCE_MS));
    assert_false(w.stopped);
    touch("go-drained");
    assert_int_equal(result("drained", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(wait_end(&h), 0);
    assert_true(loop_until(loop, &w.stopped, PATIENCE_MS));
    bus_unsubscribe(sub);
}

static void
the_second_term_kills_what_the_first_let_run(void **state)
{
    struct hand h;
    pid_t pid;

    (void)state;
    hire(&h, "termed", "30s");
    submit_waiting("termed");
    pid = announced();
    (void)kill(h.pid, SIGTERM);
    wait_told(&h, "worker.draining", 1);
    assert_int_equal(kill(pid, 0), 0);
    (void)kill(h.pid, SIGTERM);
    assert_int_equal(result("termed", 1)->state, STATE_PREEMPTED);
    assert_int_equal(wait_end(&h), 0);
    assert_true(has_ended(pid));
}

/* Nobody tells it again: it reads the bucket when it is back. */
static void
a_cancel_that_a_worker_has_missed_stops_its_task(void **state)
{
    struct hand h;
    pid_t pid;

    (void)state;
    hire(&h, "missed", "30s");
    submit_waiting("missed");
    pid = announced();
    assert_int_equal(kill(worker_of(&h), SIGSTOP), 0);
    broker_kill(broker);
    broker_restart(broker);
    (void)loop_until(loop, &never, 10);
    wait_bus();
    request_cancel("missed");
    assert_int_equal(kill(worker_of(&h), SIGCONT), 0);
    assert_int_equal(result("missed", 1)->state, STATE_CANCELLED);
    assert_true(has_ended(pid));
    dismiss(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancel_that_a_worker_has_missed_stops_its_task),
        cmocka_unit_test(a_frozen_worker_kills_its_task_when_it_wakes),
        cmocka_unit_test(a_task_lives_through_a_suspension_of_all),
        cmocka_unit_test(a_suspended_worker_that_cannot_renew_gives_up),
        cmocka_unit_test(limits_do_not_count_the_time_of_a_suspension),
        cmocka_unit_test(what_ended_while_its_worker_was_frozen_never_wins),
        cmocka_unit_test(an_outcome_survives_broker_and_worker),
        cmocka_unit_test(an_outcome_whose_task_has_gone_on_is_set_aside),
        cmocka_unit_test(an_outcome_that_is_confirmed_late_leaves_no_file),
        cmocka_unit_test(an_outcome_that_finds_no_disk_is_tried_again),
        cmocka_unit_test(
            a_write_without_an_answer_is_read_before_anything_follows),
        cmocka_unit_test(
            what_a_killed_worker_left_running_is_ended_by_its_guard),
        cmocka_unit_test(
            what_it_left_without_a_guard_is_gone_before_the_next_attempt),
        cmocka_unit_test(a_worker_that_is_killed_amid_many_runs_none_twice),
#ifdef SHUNT_DEBUG
        cmocka_unit_test(a_result_leaves_along_with_its_outcome),
        cmocka_unit_test(a_worker_that_dies_anywhere_starts_no_attempt_twice),
#endif
        cmocka_unit_test(two_workers_of_one_name_do_not_share_a_folder),
        cmocka_unit_test(
            a_worker_drained_over_the_bus_says_stopping_and_stopped),
        cmocka_unit_test(the_second_term_kills_what_the_first_let_run),
    };

    return cmocka_run_group_tests(tests, setup_alone, teardown);
}
