#include "lib/os/os.h"
#include "lib/os/proc.h"
#include "tests/worker_fixture.h"

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
    {"a signal is 128 and its number", "kill -9 $$", 137, 9,
     "killed by signal 9 (Killed)"},
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
    struct worker_fixture s;
    const struct result *r;

    (void)snprintf(id, sizeof id, "exit%u", ++n);
    open_fixture(&s, 1);
    submit_sh(id, row->script);
    r = result(id, 1);
    assert_int_equal(r->exit_code, row->exit_code);
    assert_int_equal(r->signal, row->signal);
    assert_non_null(strstr(r->reason, row->reason));
    assert_int_equal(r->state, row->exit_code ? STATE_FAILED : STATE_SUCCEEDED);
    assert_int_equal(r->failed_step, row->exit_code ? 1 : 0);
    close_fixture(&s);
}

static void
steps_stop_at_the_first_failure(void **state)
{
    struct worker_fixture s;
    struct order o;
    const struct result *r;

    (void)state;
    open_fixture(&s, 1);
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
    close_fixture(&s);
}

static void
programs_get_their_arguments_environment_and_folder(void **state)
{
    const char *argv[] = {"sh", "-c", "echo \"$0|$1|$A|$NATS_URL\"; pwd", "a b",
                          "*"};
    struct key_value env[] = {{"A", "x y"}};
    struct worker_fixture s;
    struct order o;
    const struct result *r;

    (void)state;
    (void)setenv("NATS_URL", "nats://secret", 1);
    local_close(local);
    assert_int_equal(local_open(&local, loop, "/bin/bash", 300, NULL), 0);
    open_fixture(&s, 1);
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
    close_fixture(&s);
}

/* As many writes as fit into the pipes even if nobody reads. */
static void
both_streams_keep_the_order_of_their_writes(void **state)
{
    struct str wanted = {0}, got = {0};
    struct worker_fixture s;
    struct os_writes *w = os_writes_open();
    const struct result *r;

    (void)state;
    os_writes_close(w);
    if (!w)
        skip();
    open_fixture(&s, 1);
    submit_sh("ordered", "i=0; while [ $i -lt 14 ]; do echo o$i; echo e$i >&2; "
                         "i=$((i+1)); done; printf p; printf q >&2; printf r");
    r = result("ordered", 1);
    for (int i = 0; i < 14; i++)
        str_addf(&wanted, "o%d\ne%d\n", i, i);
    str_addz(&wanted, "pqr");
    for (size_t i = 0; i < r->n_output; i++)
        str_add(&got, r->output[i].data.data, r->output[i].data.len);
    assert_string_equal(str_text(&got), str_text(&wanted));
    assert_int_equal(r->output[0].stream, STREAM_STDOUT);
    assert_int_equal(r->output[1].stream, STREAM_STDERR);
    assert_int_equal(r->n_output, 31);
    str_free(&wanted);
    str_free(&got);
    close_fixture(&s);
}

static void
a_missing_workdir_is_named(void **state)
{
    struct worker_fixture s;
    struct order o;
    const struct result *r;

    (void)state;
    open_fixture(&s, 1);
    order(&o, "nodir", "true");
    o.task.workdir = "/no/such/folder";
    submit(&o);
    r = result("nodir", 1);
    assert_int_equal(r->exit_code, 125);
    assert_string_equal(r->reason, "workdir /no/such/folder does not exist");
    close_fixture(&s);
}

static void
a_script_longer_than_an_argument_runs(void **state)
{
    struct worker_fixture s;
    struct order o;
    struct str script = {0};

    (void)state;
    open_fixture(&s, 1);
    for (int i = 0; i < 20000; i++)
        str_addz(&script, "# comment\n");
    str_addz(&script, "cat; echo end $#");
    order(&o, "long", script.data);
    submit(&o);
    assert_output(result("long", 1), "end 0\n");
    str_free(&script);
    close_fixture(&s);
}

static void
what_a_task_leaves_behind_is_killed(void **state)
{
    char script[800], text[700];
    struct worker_fixture s;
    const struct result *r;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
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
    assert_int_equal(r->n_warnings, 1);
    /* "2 processes left behind: sh, sleep", unless one is still to come */
    assert_non_null(strstr(r->warnings[0], " left behind: sh"));
    pid = announced();
    assert_int_equal(kill(pid, 0), -1);
    close_fixture(&s);
}

static void
what_is_told_to_live_on_does_unless_the_task_is_cut_short(void **state)
{
    const char *const scripts[] = {"exit 0", "sleep 1000"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        char script[800], id[] = "keeps0";
        struct worker_fixture s;
        const struct result *r;
        struct order o;
        pid_t pid;

        id[5] = (char)('0' + i);
        open_fixture(&s, 1);
        (void)snprintf(script, sizeof script,
                       "SHUNT_KEEP=1 setsid -f sh -c 'echo $$ >%s/new; "
                       "mv %s/new %s/file; exec sleep 1000' >/dev/null 2>&1; "
                       "until [ -e %s/file ]; do :; done; %s",
                       folder, folder, folder, folder, scripts[i]);
        order(&o, id, script);
        o.task.timeout_ms = i ? 500 : 0;
        submit(&o);
        r = result(id, 1);
        pid = announced();
        assert_int_equal(r->n_warnings, 0);
        if (i == 0) {
            assert_int_equal(r->state, STATE_SUCCEEDED);
            submit_sh("beside", "true"); /* whose family is another */
            assert_int_equal(result("beside", 1)->state, STATE_SUCCEEDED);
            assert_int_equal(kill(pid, 0), 0);
            assert_int_equal(kill(pid, SIGKILL), 0);
        } else {
            assert_int_equal(r->state, STATE_TIMED_OUT);
            assert_int_equal(kill(pid, 0), -1);
        }
        close_fixture(&s);
    }
}

static void
a_task_is_ended_before_its_worker_when_memory_runs_out(void **state)
{
    int score = os_oom_score() + PROC_OOM_RAISE;
    struct worker_fixture s;
    char want[16];

    (void)state;
    (void)snprintf(want, sizeof want, "%d\n",
                   score < OS_OOM_SCORE_MOST ? score : OS_OOM_SCORE_MOST);
    open_fixture(&s, 1);
    submit_sh("oom", "cat /proc/self/oom_score_adj");
    assert_output(result("oom", 1), want);
    assert_int_equal(os_oom_score() + PROC_OOM_RAISE, score); /* ours stays */
    close_fixture(&s);
}

static void
a_step_that_takes_too_long_times_out(void **state)
{
    struct worker_fixture s;
    struct order o;
    const struct result *r;

    (void)state;
    open_fixture(&s, 1);
    order(&o, "slowstep", "sleep 1000");
    o.steps[0].timeout_ms = 200;
    submit(&o);
    r = result("slowstep", 1);
    assert_int_equal(r->state, STATE_TIMED_OUT);
    assert_int_equal(r->exit_code, 124);
    assert_int_equal(r->failed_step, 1);
    close_fixture(&s);
}

enum { N_EXITS = sizeof exits / sizeof *exits, N_PLAIN = 8 };

int
main(void)
{
    struct CMUnitTest tests[N_PLAIN + N_EXITS] = {
        cmocka_unit_test(steps_stop_at_the_first_failure),
        cmocka_unit_test(programs_get_their_arguments_environment_and_folder),
        cmocka_unit_test(both_streams_keep_the_order_of_their_writes),
        cmocka_unit_test(a_missing_workdir_is_named),
        cmocka_unit_test(a_script_longer_than_an_argument_runs),
        cmocka_unit_test(what_a_task_leaves_behind_is_killed),
        cmocka_unit_test(
            what_is_told_to_live_on_does_unless_the_task_is_cut_short),
        cmocka_unit_test(
            a_task_is_ended_before_its_worker_when_memory_runs_out),
        cmocka_unit_test(a_step_that_takes_too_long_times_out),
    };

    for (size_t i = 0; i < N_EXITS; i++)
        tests[N_PLAIN + i] =
            (struct CMUnitTest){.name = exits[i].name,
                                .test_func = test_exit,
                                .initial_state = (void *)(uintptr_t)&exits[i]};
    return cmocka_run_group_tests(tests, setup, teardown);
}
