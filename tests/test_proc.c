#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "SHUNT_RUN=test-proc"

enum { PATIENCE_MS = 20000 };

static const char *const env[] = {"PATH=/usr/bin:/bin", MARK, NULL};
static struct loop *loop;
static struct proc_set *set;

struct ran {
    bool done;
    struct proc_end end;
};

static void
on_end(void *ctx, const struct proc_end *end)
{
    struct ran *r = ctx;

    r->end = *end;
    r->done = true;
}

static int
setup(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(loop_open(&loop, &e), 0);
    assert_int_equal(proc_set_open(&set, loop, true, &e), 0);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    proc_set_close(set);
    loop_close(loop);
    return 0;
}

/* Starts /bin/sh -c script, its output to out (-1: nowhere). */
static struct proc *
start_sh(const char *script, int out, struct proc_family *f, struct ran *r)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct proc_opts o = {.file = "sh",
                          .argv = argv,
                          .env = env,
                          .in = -1,
                          .out = out,
                          .err = -1,
                          .family = f};
    struct err e = {0};
    struct proc *p = NULL;

    *r = (struct ran){0};
    if (proc_start(set, &o, on_end, r, &p, &e) < 0)
        fail_msg("%s", e.msg);
    return p;
}

/* Runs script to its end, and returns what was written until nobody holds its
 * output any more; the caller frees it. */
static char *
run_sh(const char *script, struct proc_family *f, struct ran *r)
{
    struct str text = {0};
    struct err e;
    char buf[256];
    int ours, theirs;
    ssize_t n;

    assert_int_equal(proc_pipe(&ours, &theirs, &e), 0);
    (void)start_sh(script, theirs, f, r);
    (void)close(theirs);
    assert_true(loop_until(loop, &r->done, PATIENCE_MS));
    while (poll(&(struct pollfd){.fd = ours, .events = POLLIN}, 1,
                PATIENCE_MS) == 1 &&
           (n = read(ours, buf, sizeof buf)) > 0)
        str_add(&text, buf, (size_t)n);
    (void)close(ours);
    str_addz(&text, "");
    return text.data;
}

static void
note(void *ctx)
{
    *(bool *)ctx = true;
}

/* Lets the loop run until nobody of f is alive; signo is repeated. */
static bool
family_ends(struct proc_family *f, int signo)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (proc_family_signal(f, signo) > 0) {
        bool passed = false;
        struct loop_timer *t = loop_timer_start(loop, 5, 0, note, &passed);

        (void)loop_until(loop, &passed, 1000);
        loop_timer_stop(t);
        if (loop_now_ms() > until)
            return false;
    }
    return true;
}

static bool
is_gone(pid_t pid)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (kill(pid, 0) == 0) {
        bool passed = false;
        struct loop_timer *t = loop_timer_start(loop, 5, 0, note, &passed);

        (void)loop_until(loop, &passed, 1000);
        loop_timer_stop(t);
        if (loop_now_ms() > until)
            return false;
    }
    return errno == ESRCH;
}

/* Whether f comes to n: who is just executing is counted with every family. */
static bool
family_counts(struct proc_family *f, int n)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (proc_family_signal(f, 0) != n)
        if (loop_now_ms() > until)
            return false;
    return true;
}

static void
wait_for_zombie(pid_t pid)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    char path[64], text[512] = "";

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    while (!strstr(text, ") Z ") && loop_now_ms() < until) {
        int fd = open(path, O_RDONLY);
        ssize_t n = read(fd, text, sizeof text - 1);

        text[n > 0 ? n : 0] = '\0';
        (void)close(fd);
    }
    assert_non_null(strstr(text, ") Z "));
}

static void
the_exit_status_is_reported(void **state)
{
    struct ran r;

    (void)state;
    free(run_sh("exit 7", NULL, &r));
    assert_false(r.end.signalled);
    assert_int_equal(r.end.code, 7);
    assert_true(r.end.max_rss_bytes > 0);
    free(run_sh("kill -KILL $$", NULL, &r));
    assert_true(r.end.signalled);
    assert_int_equal(r.end.code, SIGKILL);
}

static void
on_end_waits_for_the_loop(void **state)
{
    struct ran r;

    (void)state;
    wait_for_zombie(proc_pid(start_sh("exit 0", -1, NULL, &r)));
    assert_false(r.done);
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
}

static void
a_child_starts_clean(void **state)
{
    struct ran r;
    char *text;
    int leak = open("/dev/null", O_RDONLY); /* without close-on-exec */

    (void)state;
    assert_true(leak >= 3);
    text = run_sh("ls /proc/self/fd | tr '\\n' ' '; "
                  "[ \"$(ps -o sid= -p $$)\" -eq $$ ] && echo leads",
                  NULL, &r);
    (void)close(leak);
    /* 3 is ls itself, reading the folder. */
    assert_string_equal(text, "0 1 2 3 leads\n");
    free(text);
    /* SIGPIPE is ignored by us, and must not be by it. */
    text =
        run_sh("grep -E '^Sig(Ign|Blk)' /proc/self/status | cut -f2", NULL, &r);
    assert_string_equal(text, "0000000000000000\n0000000000000000\n");
    free(text);
}

static void
ignore(void *ctx)
{
    (void)ctx;
}

static void
what_is_ignored_later_is_not_ignored_by_a_child(void **state)
{
    struct loop_signal *other;
    struct ran r;
    char *text;

    (void)state;
    free(run_sh("exit 0", NULL, &r)); /* what to reset is known from here on */
    (void)signal(SIGUSR1, SIG_IGN);
    other = loop_signal_start(loop, SIGUSR2, ignore, NULL);
    text = run_sh("grep -E '^SigIgn' /proc/self/status | cut -f2", NULL, &r);
    assert_string_equal(text, "0000000000000000\n");
    free(text);
    loop_signal_stop(other);
    (void)signal(SIGUSR1, SIG_DFL);
}

/* Of two that ended together, the one that is told first ends the other. */
struct twin {
    struct twin *other;
    struct proc *proc;
    struct proc_family *family;
    bool forget;
    pid_t pid;
    bool told, twice;
};

static bool either;

static void
on_twin(void *ctx, const struct proc_end *end)
{
    struct twin *t = ctx, *o = t->other;

    assert_int_equal(end->code, 3);
    either = true;
    t->twice = t->told;
    t->told = true;
    if (o->told)
        return;
    assert_int_equal(kill(o->pid, 0), -1); /* it was waited for */
    assert_false(proc_signal(o->proc, SIGKILL));
    if (o->forget)
        proc_forget(o->proc);
    proc_family_close(o->family);
    o->family = NULL;
}

static void
those_that_end_together_may_end_each_other(void **state)
{
    const char *argv[] = {"sh", "-c", "exit 3", NULL};
    struct proc_opts o = {
        .file = "sh", .argv = argv, .env = env, .in = -1, .out = -1, .err = -1};
    struct twin t[2];
    struct err e;

    (void)state;
    for (int forget = 0; forget < 2; forget++) {
        for (int i = 0; i < 2; i++) {
            t[i] = (struct twin){.other = &t[1 - i], .forget = forget == 1};
            t[i].family = o.family = proc_family_open(set, MARK);
            assert_int_equal(
                proc_start(set, &o, on_twin, &t[i], &t[i].proc, &e), 0);
            t[i].pid = proc_pid(t[i].proc);
        }
        for (int i = 0; i < 2; i++)
            wait_for_zombie(t[i].pid);
        /* Who is told first is not said; both come in one turn. */
        assert_true(loop_until(loop, &either, PATIENCE_MS));
        assert_int_equal(t[0].told + t[1].told, forget ? 1 : 2);
        assert_false(t[0].twice || t[1].twice);
        either = false;
        for (int i = 0; i < 2; i++)
            proc_family_close(t[i].family);
    }
}

static void
a_family_is_gone_when_its_children_are(void **state)
{
    struct proc_family *f = proc_family_open(set, MARK);
    struct ran r, other;

    (void)state;
    assert_true(proc_family_gone(f)); /* nothing was started */
    (void)start_sh("exit 0", -1, f, &r);
    assert_false(proc_family_gone(f));
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
    assert_true(proc_family_gone(f));
    /* Another child is no sign of life, one that leaves something behind is
     * none once f was known to be gone. */
    free(run_sh("sleep 1000 >/dev/null &", NULL, &other));
    assert_true(proc_family_gone(f));
    (void)start_sh("exit 0", -1, f, &r);
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
    assert_false(proc_family_gone(f));
    proc_family_close(f); /* ends what nobody can have started */
}

static void
descriptors_in_each_others_place_arrive_right(void **state)
{
    const char *argv[] = {"sh", "-c", "echo out; echo err >&2", NULL};
    struct proc_opts o = {
        .file = "/bin/sh", .argv = argv, .env = env, .in = -1};
    struct err e;
    struct proc *p;
    struct ran r = {0};
    int ours[2], theirs[2], saved[2];
    char buf[16] = "";

    (void)state;
    assert_int_equal(proc_pipe(&ours[0], &theirs[0], &e), 0);
    assert_int_equal(proc_pipe(&ours[1], &theirs[1], &e), 0);
    /* The child's output is to go to our 2, its errors to our 1. */
    saved[0] = dup(1);
    saved[1] = dup(2);
    (void)dup2(theirs[0], 2);
    (void)dup2(theirs[1], 1);
    o.out = 2;
    o.err = 1;
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), 0);
    (void)dup2(saved[0], 1);
    (void)dup2(saved[1], 2);
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
    assert_int_equal(read(ours[0], buf, sizeof buf), 4);
    assert_memory_equal(buf, "out\n", 4);
    assert_int_equal(read(ours[1], buf, sizeof buf), 4);
    assert_memory_equal(buf, "err\n", 4);
    for (int i = 0; i < 2; i++) {
        (void)close(ours[i]);
        (void)close(theirs[i]);
        (void)close(saved[i]);
    }
}

static void
what_cannot_start_is_named(void **state)
{
    const char *argv[] = {"x", NULL, NULL};
    struct proc_opts o = {.file = "no-such-program",
                          .argv = argv,
                          .env = env,
                          .in = -1,
                          .out = -1,
                          .err = -1};
    struct err e;
    struct ran r;
    struct proc *p;

    (void)state;
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "no-such-program"));
    o.file = "/no/such/program";
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "/no/such/program"));
    o.file = "/etc/passwd";
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);
    o.file = "true";
    o.workdir = "/no/such/folder";
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "folder /no/such/folder"));
}

static void
arguments_that_are_too_long_are_invalid(void **state)
{
    size_t len = 256 * 1024;
    char *big = mem_alloc(len + 1);
    const char *argv[] = {"true", big, NULL};
    struct proc_opts o = {.file = "true",
                          .argv = argv,
                          .env = env,
                          .in = -1,
                          .out = -1,
                          .err = -1};
    struct err e;
    struct ran r;
    struct proc *p;

    (void)state;
    memset(big, 'x', len);
    big[len] = '\0';
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "true"));
    mem_free(big);
}

static void
a_workdir_is_where_it_runs(void **state)
{
    const char *argv[] = {"pwd", NULL};
    struct proc_opts o = {.file = "pwd",
                          .argv = argv,
                          .env = env,
                          .workdir = "/usr",
                          .in = -1,
                          .err = -1};
    struct err e;
    struct ran r = {0};
    struct proc *p;
    char buf[16] = "";
    int ours;

    (void)state;
    assert_int_equal(proc_pipe(&ours, &o.out, &e), 0);
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), 0);
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
    assert_int_equal(read(ours, buf, sizeof buf), 5);
    assert_memory_equal(buf, "/usr\n", 5);
    (void)close(ours);
    (void)close(o.out);
}

static int
open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

static void
two_hundred_children_leave_no_descriptor(void **state)
{
    struct ran r[20];
    int before = open_fds();

    (void)state;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 20; i++)
            (void)start_sh("exit 3", -1, NULL, &r[i]);
        for (int i = 0; i < 20; i++) {
            assert_true(loop_until(loop, &r[i].done, PATIENCE_MS));
            assert_int_equal(r[i].end.code, 3);
        }
    }
    assert_int_equal(open_fds(), before);
}

static void
a_grandchild_in_a_session_of_its_own_is_killed(void **state)
{
    struct proc_family *f = proc_family_open(set, MARK);
    struct ran r;
    char *text;
    pid_t pid;

    (void)state;
    text =
        run_sh("setsid sh -c 'echo $$; exec sleep 1000 <&- >&- 2>&-' &", f, &r);
    pid = (pid_t)strtol(text, NULL, 10);
    assert_true(pid > 0);
    assert_false(proc_family_gone(f));
    assert_true(family_counts(f, 1));
    assert_true(family_ends(f, SIGTERM));
    assert_true(is_gone(pid));
    assert_true(proc_family_gone(f));
    proc_family_close(f);
    free(text);
}

static void
a_daemon_that_forked_twice_is_killed(void **state)
{
    struct proc_family *f = proc_family_open(set, MARK);
    struct ran r;
    char *text;

    (void)state;
    text = run_sh("setsid sh -c '(sleep 1000 >/dev/null 2>&1 & echo $!) & "
                  "wait'",
                  f, &r);
    assert_true(family_counts(f, 1));
    assert_true(family_ends(f, SIGTERM));
    assert_true(is_gone((pid_t)strtol(text, NULL, 10)));
    proc_family_close(f);
    free(text);
}

static void
who_ignores_term_is_killed(void **state)
{
    struct proc_family *f = proc_family_open(set, MARK);
    struct ran r;
    char *text;
    pid_t pid;

    (void)state;
    text =
        run_sh("trap '' TERM; setsid sleep 1000 >/dev/null & echo $!", f, &r);
    pid = (pid_t)strtol(text, NULL, 10);
    assert_true(family_counts(f, 1));
    assert_int_equal(proc_family_signal(f, SIGTERM), 1);
    assert_int_equal(kill(pid, 0), 0);
    assert_true(family_ends(f, SIGKILL));
    assert_true(is_gone(pid));
    proc_family_close(f);
    free(text);
}

static void
an_orphan_without_mark_and_session_dies_with_the_last_family(void **state)
{
    struct proc_family *f = proc_family_open(set, MARK);
    struct ran r;
    char *text;
    pid_t pid;

    (void)state;
    text = run_sh("env -i setsid /bin/sh -c 'echo $$; "
                  "exec /bin/sleep 1000 >/dev/null' &",
                  f, &r);
    pid = (pid_t)strtol(text, NULL, 10);
    assert_true(pid > 0);
    assert_false(proc_family_gone(f));
    assert_true(family_counts(f, 0));
    assert_int_equal(kill(pid, 0), 0);
    proc_family_close(f);
    assert_true(is_gone(pid));
    free(text);
}

static void
a_scrubbed_orphan_seen_below_its_parent_is_remembered(void **state)
{
    struct proc_family *f = proc_family_open(set, MARK);
    struct ran r;
    struct err e;
    char buf[32] = "";
    int ours, theirs;
    bool readable = false;
    struct loop_fd *fd;

    (void)state;
    assert_int_equal(proc_pipe(&ours, &theirs, &e), 0);
    (void)start_sh("env -i setsid /bin/sh -c 'trap \"\" TERM; echo $$; "
                   "while :; do /bin/sleep 1; done' & wait",
                   theirs, f, &r);
    (void)close(theirs);
    fd = loop_fd_start(loop, ours, note, &readable);
    assert_true(loop_until(loop, &readable, PATIENCE_MS));
    loop_fd_stop(fd);
    assert_true(read(ours, buf, sizeof buf - 1) > 0);
    assert_true(proc_family_signal(f, SIGTERM) >= 2);
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
    assert_true(family_ends(f, SIGKILL));
    assert_true(is_gone((pid_t)strtol(buf, NULL, 10)));
    (void)close(ours);
    proc_family_close(f);
}

/* It has no environment between one program and the next. Each family sees it
 * for the first time: later it would be known by its start. */
static void
who_executes_all_the_time_is_not_overlooked(void **state)
{
    struct proc_family *f = proc_family_open(set, MARK), *fresh;
    struct ran r;
    char *text;

    (void)state;
    text = run_sh("export AGAIN='exec /bin/sh -c \"$AGAIN\"'; "
                  "setsid /bin/sh -c \"$AGAIN\" >/dev/null & echo $!",
                  f, &r);
    for (int i = 0; i < 2000; i++) {
        fresh = proc_family_open(set, MARK);
        assert_int_equal(proc_family_signal(fresh, 0), 1);
        proc_family_close(fresh);
    }
    assert_true(family_ends(f, SIGKILL));
    assert_true(is_gone((pid_t)strtol(text, NULL, 10)));
    proc_family_close(f);
    free(text);
}

static void
families_are_told_apart(void **state)
{
    static const char *const other_env[] = {"PATH=/usr/bin:/bin",
                                            MARK "-and-more", NULL};
    const char *argv[] = {"sleep", "1000", NULL};
    struct proc_family *a = proc_family_open(set, MARK);
    struct proc_family *b = proc_family_open(set, MARK "-and-more");
    struct proc_opts o = {.file = "sleep",
                          .argv = argv,
                          .env = other_env,
                          .in = -1,
                          .out = -1,
                          .err = -1,
                          .family = b};
    struct err e;
    struct ran r = {0}, s;
    struct proc *p;
    char *text;

    (void)state;
    assert_int_equal(proc_start(set, &o, on_end, &r, &p, &e), 0);
    text = run_sh("setsid sleep 1000 >/dev/null & echo $!", a, &s);
    assert_true(family_counts(b, 1));
    assert_true(family_ends(a, SIGKILL));
    assert_true(family_counts(b, 1));
    proc_family_close(a);
    assert_int_equal(kill(proc_pid(p), 0), 0);
    assert_true(proc_signal(p, SIGTERM));
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
    assert_int_equal(r.end.code, SIGTERM);
    assert_true(family_counts(b, 0));
    proc_family_close(b);
    free(text);
}

static void
a_process_is_known_by_its_start(void **state)
{
    struct ran r;
    struct proc *p = start_sh("sleep 1000", -1, NULL, &r);
    uint64_t started = proc_started(proc_pid(p));
    pid_t pid = proc_pid(p);

    (void)state;
    assert_true(started > 0);
    assert_int_equal(proc_started(pid), started);
    assert_true(proc_signal(p, SIGKILL));
    assert_true(loop_until(loop, &r.done, PATIENCE_MS));
    assert_int_equal(proc_started(pid), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_status_is_reported),
        cmocka_unit_test(on_end_waits_for_the_loop),
        cmocka_unit_test(a_child_starts_clean),
        cmocka_unit_test(what_is_ignored_later_is_not_ignored_by_a_child),
        cmocka_unit_test(those_that_end_together_may_end_each_other),
        cmocka_unit_test(a_family_is_gone_when_its_children_are),
        cmocka_unit_test(descriptors_in_each_others_place_arrive_right),
        cmocka_unit_test(what_cannot_start_is_named),
        cmocka_unit_test(arguments_that_are_too_long_are_invalid),
        cmocka_unit_test(a_workdir_is_where_it_runs),
        cmocka_unit_test(two_hundred_children_leave_no_descriptor),
        cmocka_unit_test(a_grandchild_in_a_session_of_its_own_is_killed),
        cmocka_unit_test(a_daemon_that_forked_twice_is_killed),
        cmocka_unit_test(who_ignores_term_is_killed),
        cmocka_unit_test(
            an_orphan_without_mark_and_session_dies_with_the_last_family),
        cmocka_unit_test(a_scrubbed_orphan_seen_below_its_parent_is_remembered),
        cmocka_unit_test(who_executes_all_the_time_is_not_overlooked),
        cmocka_unit_test(families_are_told_apart),
        cmocka_unit_test(a_process_is_known_by_its_start),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
