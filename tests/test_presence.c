/* What the ledger knows of running tasks, without a broker. */
#include "lib/base/str.h"
#include "lib/io/loop.h"
#include "lib/model/codec.h"
#include "reaper/query/presence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
a_full_heartbeat_says_what_does_not_run_any_more(void **unused)
{
    struct running_task one = {"t1", 1, 5, "", "key t1:0 id job-7"};
    struct heartbeat h;
    int64_t now_ms = loop_now_ms();
    struct claim c;
    struct presence *l;
    struct err e;

    (void)unused;
    assert_int_equal(presence_open(&l, NULL, &e), 0);
    codec_init(CODEC_HEARTBEAT, &h);
    h.worker = "w";
    h.backend = "local";
    h.running = &one;
    h.n_running = h.running_count = 1;
    codec_init(CODEC_CLAIM, &c);
    c.task = "t2";
    c.worker = "w";
    c.attempt = 1;
    presence_on_started(l, &c, "local", now_ms);
    assert_non_null(presence_find(l, "t2"));
    assert_null(presence_find(l, "t2")->remote);
    c.remote = "key t2:0";
    presence_on_started(l, &c, "local", now_ms);
    assert_string_equal(presence_find(l, "t2")->remote, "key t2:0");
    presence_on_heartbeat(l, &h, "", 0, now_ms + 1);
    assert_non_null(presence_find(l, "t1"));
    assert_string_equal(presence_find(l, "t1")->remote, "key t1:0 id job-7");
    assert_null(presence_find(l, "t2"));
    presence_task_ended(l, "t1");
    assert_null(presence_find(l, "t1"));
    presence_close(l);
}

struct faults {
    unsigned lost, twice;
};

static void
on_fault(void *ctx, const char *name, const char *text)
{
    struct faults *f = ctx;

    assert_non_null(strstr(text, "local.w"));
    f->lost += strcmp(name, "worker_lost") == 0;
    f->twice += strcmp(name, "worker_twice") == 0;
}

static struct faults
faults_of(const struct presence *p)
{
    struct faults f = {0};

    presence_each_fault(p, on_fault, &f);
    return f;
}

/* Takes the heartbeat of the instance that began at started_ms. */
static void
beat(struct presence *p, int64_t started_ms, bool stopped, int64_t now_ms)
{
    struct str bytes = {0};
    struct heartbeat h;

    codec_init(CODEC_HEARTBEAT, &h);
    h.worker = "w";
    h.backend = "local";
    h.host = "here";
    h.started_at_ms = started_ms;
    h.stopped = stopped;
    codec_encode(CODEC_HEARTBEAT, &h, &bytes);
    presence_on_heartbeat(p, &h, bytes.data, bytes.len, now_ms);
    str_free(&bytes);
}

static void
a_worker_that_is_lost_or_twice_is_told(void **unused)
{
    int64_t now_ms = loop_now_ms();
    struct presence *p;
    struct err e;

    (void)unused;
    assert_int_equal(presence_open(&p, NULL, &e), 0);
    beat(p, 100, false, now_ms - PRESENCE_MS - 1);
    assert_int_equal(faults_of(p).lost, 1);
    beat(p, 200, false, now_ms); /* it was restarted */
    assert_int_equal(faults_of(p).lost, 0);
    assert_int_equal(faults_of(p).twice, 0);
    beat(p, 100, false, now_ms); /* the earlier one is still there */
    assert_int_equal(faults_of(p).twice, 1);
    beat(p, 200, true, now_ms);
    assert_int_equal(faults_of(p).lost + faults_of(p).twice, 0);
    presence_close(p);
}

static void
files_below_a_watched_folder_are_taken(void **unused)
{
    static const struct {
        const char *path;
        bool taken;
    } rows[] = {
        {"/p/jobs/queue/r.md", true},   {"/p//jobs/./queue/a/r.md", true},
        {"/p/Jobs/QUEUE/r.md", true},   {"/p/jobs/queue", false},
        {"/p/jobs/queue2/r.md", false}, {"/p/jobs/done/r.md", false},
        {"/p/jobs/.queue/r.md", false}, {"/jobs/queue/r.md", false},
    };
    struct folder_state folder = {.path = "/p/jobs/queue", .note = ""};
    struct str message = {0};
    struct heartbeat h;
    struct presence *l;
    struct err e;

    (void)unused;
    assert_int_equal(presence_open(&l, NULL, &e), 0);
    codec_init(CODEC_HEARTBEAT, &h);
    h.worker = "w";
    h.backend = HEARTBEAT_FOLDER;
    h.folders = &folder;
    h.n_folders = 1;
    codec_encode(CODEC_HEARTBEAT, &h, &message);
    presence_on_heartbeat(l, &h, message.data, message.len, loop_now_ms());
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (presence_takes(l, rows[i].path) != rows[i].taken)
            fail_msg("%s", rows[i].path);
    presence_on_heartbeat(l, &h, message.data, message.len,
                          loop_now_ms() - 2 * PRESENCE_MS);
    assert_false(presence_takes(l, "/p/jobs/queue/r.md"));
    str_free(&message);
    presence_close(l);
}
static void
count_task(void *ctx, const struct presence_task *t)
{
    unsigned *n = ctx;

    (void)t;
    ++*n;
}

static void
a_task_whose_worker_fell_silent_does_not_run_but_is_remembered(void **unused)
{
    int64_t now_ms = loop_now_ms();
    unsigned silent = 0, running = 0;
    struct claim c;
    struct presence *l;
    struct err e;

    (void)unused;
    assert_int_equal(presence_open(&l, NULL, &e), 0);
    codec_init(CODEC_CLAIM, &c);
    c.task = "t1";
    c.worker = "w";
    c.attempt = 1;
    presence_on_started(l, &c, "local", now_ms - 60000);
    c.task = "t2";
    presence_on_started(l, &c, "local", now_ms);
    assert_null(presence_find(l, "t1"));
    presence_each_task(l, true, count_task, &silent);
    presence_each_task(l, false, count_task, &running);
    assert_int_equal(silent, 1);
    assert_int_equal(running, 1);
    c.task = "t1";
    c.attempt = 2;
    presence_on_started(l, &c, "local", now_ms);
    assert_non_null(presence_find(l, "t1"));
    silent = 0;
    presence_each_task(l, true, count_task, &silent);
    assert_int_equal(silent, 0);
    presence_close(l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_heartbeat_says_what_does_not_run_any_more),
        cmocka_unit_test(a_worker_that_is_lost_or_twice_is_told),
        cmocka_unit_test(files_below_a_watched_folder_are_taken),
        cmocka_unit_test(
            a_task_whose_worker_fell_silent_does_not_run_but_is_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
