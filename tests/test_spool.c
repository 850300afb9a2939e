/* The spool: what is in it survives, is sent once it can be, then goes. */
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/cancels.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/submit/spool.h"
#include "tests/broker.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 20000 };

struct spool_place {
    char dir[64];
    struct mem_pool *pool;
    struct loop *loop;
    struct bus *bus;
    struct broker *broker;
};

static void
task_init(struct task *t, struct step *s, const char *id, const char *script)
{
    codec_init(CODEC_TASK, t);
    *s = (struct step){
        .name = "", .kind = STEP_SHELL, .script = script, .workdir = ""};
    t->id = id;
    t->name = "n";
    t->steps = s;
    t->n_steps = 1;
}

static int
setup(void **state)
{
    struct spool_place *p = MEM_NEW(struct spool_place);
    struct err e = {0};

    (void)str_copy(p->dir, sizeof p->dir, "/tmp/test-spool-XXXXXX");
    if (!mkdtemp(p->dir) || loop_open(&p->loop, &e) < 0)
        return -1;
    p->pool = mem_pool_new();
    *state = p;
    return 0;
}

/* Removes a folder with files, and one level of folders, in it. */
static void
remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    char path[512];

    while (d && (entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (unlink(path) < 0)
            remove_tree(path);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(dir);
}

static int
teardown(void **state)
{
    struct spool_place *p = *state;

    bus_close(p->bus);
    loop_close(p->loop);
    broker_stop(p->broker);
    mem_pool_free(p->pool);
    remove_tree(p->dir);
    mem_free(p);
    return 0;
}

/* A committed file with n tasks: <name>0, <name>1, ... */
static struct spool_file *
store(struct spool_place *p, const char *name, int n)
{
    struct spool_file *f = NULL;
    struct err e = {0};
    struct task t;
    struct step s;
    char id[64];
    int i;

    assert_int_equal(spool_create(&f, p->dir, name, &e), 0);
    for (i = 0; i < n; i++) {
        (void)snprintf(id, sizeof id, "%s%d", name, i);
        task_init(&t, &s, id, "true");
        assert_int_equal(spool_put(f, &t, &e), 0);
    }
    assert_int_equal(spool_commit(f, &e), 0);
    return f;
}

static void
write_file(struct spool_place *p, const char *name, const void *data,
           size_t len)
{
    char path[256];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    (void)close(fd);
}

static void
records_come_back_in_order(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "a", 3);
    const uint8_t *data;
    size_t at = 0, len, n = 0;
    struct err e = {0};
    struct task t;
    char want[8];

    spool_close(f);
    assert_int_equal(spool_take(&f, p->dir, "a", &e), 0);
    assert_int_equal(spool_count(f), 3);
    for (; spool_next(f, &at, &data, &len); n++) {
        assert_int_equal(codec_decode(CODEC_TASK, data, len, p->pool, &t, &e),
                         0);
        (void)snprintf(want, sizeof want, "a%zu", n);
        assert_string_equal(t.id, want);
    }
    assert_int_equal(n, 3);
    spool_close(f);
}

static void
many_records_pass_through_the_buffer(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "many", 20000);
    struct err e = {0};

    spool_close(f);
    assert_int_equal(spool_take(&f, p->dir, "many", &e), 0);
    assert_int_equal(spool_count(f), 20000);
    spool_close(f);
}

static void
what_was_not_committed_leaves_nothing(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = NULL;
    struct spool_backlog b;
    struct err e = {0};
    struct task t;
    struct step s;
    char path[256];

    assert_int_equal(spool_create(&f, p->dir, "x", &e), 0);
    task_init(&t, &s, "x", "true");
    assert_int_equal(spool_put(f, &t, &e), 0);
    spool_close(f);
    spool_look(p->dir, &b);
    assert_int_equal(b.files, 0);
    (void)snprintf(path, sizeof path, "%s/x.tmp", p->dir);
    assert_int_equal(access(path, F_OK), -1);
}

static void
the_same_name_is_not_written_twice_at_once(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = NULL, *g = NULL;
    struct err e = {0};

    assert_int_equal(spool_create(&f, p->dir, "x", &e), 0);
    assert_int_equal(spool_create(&g, p->dir, "x", &e), -1);
    spool_close(f);
}

static void
only_one_sender_has_a_file(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "a", 1), *g = NULL;
    struct err e = {0};

    assert_int_equal(spool_take(&g, p->dir, "a", &e), -1);
    assert_int_equal(e.code, ERR_CONFLICT);
    spool_close(f);
    assert_int_equal(spool_take(&g, p->dir, "a", &e), 0);
    spool_close(g);
}

static void
a_file_that_is_gone_is_not_found(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "a", 1);
    struct err e = {0};

    spool_remove(f);
    spool_close(f);
    assert_int_equal(spool_take(&f, p->dir, "a", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_false(spool_has(p->dir, "a"));
}

static void
a_damaged_file_is_set_aside(void **state)
{
    static const struct {
        const char *name;
        size_t len;
        uint8_t data[8];
    } bad[] = {
        {"empty", 0, {0}},
        {"short", 3, {1, 0, 0}},
        {"torn", 6, {9, 0, 0, 0, 1, 2}},
        {"huge", 8, {255, 255, 255, 255, 1, 2, 3, 4}},
        {"zero", 4, {0, 0, 0, 0}},
    };
    struct spool_place *p = *state;
    struct spool_backlog b;
    struct spool_file *f = NULL;
    struct err e = {0};
    char name[32];
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(name, sizeof name, "%s.task", bad[i].name);
        write_file(p, name, bad[i].data, bad[i].len);
        assert_int_equal(spool_take(&f, p->dir, bad[i].name, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        spool_look(p->dir, &b);
        assert_int_equal(b.files, 0);
        assert_int_equal(b.corrupt, i + 1);
    }
}

static void
a_task_beyond_the_limit_is_refused(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = NULL;
    struct err e = {0};
    struct task t;
    struct step s;
    char *script = mem_alloc(TASK_MAX_BYTES + 1);

    memset(script, 'x', TASK_MAX_BYTES);
    script[TASK_MAX_BYTES] = '\0';
    assert_int_equal(spool_create(&f, p->dir, "big", &e), 0);
    task_init(&t, &s, "big", script);
    assert_int_equal(spool_put(f, &t, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    task_init(&t, &s, "small", "true");
    assert_int_equal(spool_put(f, &t, &e), 0);
    assert_int_equal(spool_commit(f, &e), 0);
    assert_int_equal(spool_count(f), 1);
    spool_close(f);
    mem_free(script);
}

/* --- with a broker -------------------------------------------------------- */

static void
open_broker(struct spool_place *p)
{
    const struct jetstream_conf conf = {.replicas = 1,
                                        .max_bytes = 64 << 20,
                                        .max_age_ms = 3600000,
                                        .log_retention_ms = 3600000,
                                        .log_max_bytes = 64 << 20};
    char none[] = "", url[128];
    struct bus_conf bus = {.url = url,
                           .token_file = none,
                           .creds_file = none,
                           .nkey_file = none,
                           .ca_file = none,
                           .cert_file = none,
                           .key_file = none};
    struct err e = {0};

    p->broker = broker_start();
    (void)str_copy(url, sizeof url, broker_url(p->broker));
    assert_int_equal(bus_open(&p->bus, p->loop, &bus, "test", 5000, &e), 0);
    assert_int_equal(
        jetstream_provision(p->bus, &conf,
                            &(struct jetstream_rules){.change = true,
                                                      .allow_shrink = true,
                                                      .by = "test"},
                            NULL, NULL, &e),
        0);
}

static int64_t
messages_stored(struct spool_place *p)
{
    struct str answer = {0};
    struct err e = {0};
    json_t *v;
    int64_t n;

    assert_int_equal(bus_call(p->bus, "$JS.API.STREAM.INFO.TASKS_IN", "", 0,
                              5000, &answer, &e),
                     0);
    v = json_loads(str_text(&answer), 0, NULL);
    n = json_integer_value(
        json_object_get(json_object_get(v, "state"), "messages"));
    json_decref(v);
    str_free(&answer);
    return n;
}

struct count {
    int64_t tasks;
    bool all;
};

static void
on_message(void *ctx, struct bus_msg *m)
{
    struct count *c = ctx;
    struct codec_multi tasks;
    struct err e;

    if (strcmp(m->subject, SUBJECT_TASKS_BULK) != 0) {
        c->tasks++;
    } else {
        assert_int_equal(
            codec_multi_open(&tasks, CODEC_TASKS, m->data, m->len, &e), 0);
        c->tasks += (int64_t)tasks.count;
        codec_multi_close(&tasks);
    }
    c->all = m->pending == 0;
    bus_msg_done(m);
}

/* The tasks in the messages that the broker holds. Once in a test. */
static int64_t
stored(struct spool_place *p)
{
    struct bus_consumer *consumer;
    struct count c = {0};
    struct err e;

    if (messages_stored(p) == 0)
        return 0;
    assert_int_equal(bus_consume(p->bus, "TASKS_IN", "ledger", on_message, &c,
                                 &consumer, &e),
                     0);
    bus_consumer_window(consumer, 512);
    assert_true(loop_until(p->loop, &c.all, DEADLINE_MS));
    bus_consumer_close(consumer);
    return c.tasks;
}

struct sent_outcome {
    bool done;
    struct spool_report report;
    struct err e;
};

static void
on_report(void *ctx, const struct spool_report *r)
{
    struct sent_outcome *o = ctx;

    o->report = *r;
    o->done = true;
}

static void
on_sent(void *ctx, const struct err *e)
{
    struct sent_outcome *o = ctx;

    if (e)
        o->e = *e;
    o->done = true;
}

static struct spool_report
drain(struct spool_place *p)
{
    struct sent_outcome o = {0};
    struct spool_drain *d =
        spool_drain_start(p->dir, p->bus, p->loop, on_report, &o);

    assert_true(loop_until(p->loop, &o.done, DEADLINE_MS));
    spool_drain_free(d);
    return o.report;
}

static void
a_drain_sends_everything_and_removes_it(void **state)
{
    struct spool_place *p = *state;
    struct spool_report r;

    open_broker(p);
    spool_close(store(p, "a", 1));
    spool_close(store(p, "b", 1500));
    write_file(p, "c.task", "\1", 1);
    r = drain(p);
    assert_int_equal(r.files, 2);
    assert_int_equal(r.tasks, 1501);
    assert_int_equal(r.corrupt, 1);
    assert_int_equal(stored(p), 1501);
    assert_false(spool_has(p->dir, "a"));
    assert_false(spool_has(p->dir, "b"));
}

static void
on_key(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct sent_outcome *o = ctx;

    assert_null(e);
    assert_non_null(entry);
    o->done = true;
}

static void
a_request_to_cancel_is_sent_before_its_task(void **state)
{
    struct spool_place *p = *state;
    struct sent_outcome o = {0};
    const struct control c = {.task = "a",
                              .verb = "cancel",
                              .by = "me@here",
                              .reason = "",
                              .worker = ""};
    char path[100];
    struct err e;

    open_broker(p);
    spool_close(store(p, "a", 1));
    assert_int_equal(spool_cancel(p->dir, &c, &e), 0);
    (void)snprintf(path, sizeof path, "%s/a.cancel", p->dir);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(drain(p).tasks, 1);
    assert_int_equal(access(path, F_OK), -1);
    cancels_get(p->bus, "a", on_key, &o);
    assert_true(loop_until(p->loop, &o.done, DEADLINE_MS));
}

static void
a_file_in_other_hands_is_left_alone(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "a", 1);
    struct spool_report r;

    open_broker(p);
    r = drain(p);
    assert_int_equal(r.files, 0);
    assert_int_equal(r.left, 1);
    assert_int_equal(stored(p), 0);
    assert_true(spool_has(p->dir, "a"));
    spool_close(f);
}

static void
what_is_sent_twice_is_stored_once(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "a", 5);
    struct spool_sender *s;
    struct sent_outcome o = {0};

    open_broker(p);
    s = spool_send(f, p->bus, p->loop, 5000, on_sent, &o);
    assert_true(loop_until(p->loop, &o.done, DEADLINE_MS));
    assert_int_equal(spool_sender_stored(s), 5);
    assert_int_equal(spool_sender_duplicates(s), 0);
    spool_sender_free(s);
    spool_close(f);
    assert_int_equal(drain(p).tasks, 5);
    assert_int_equal(messages_stored(p), 1);
    assert_int_equal(stored(p), 5);
}

static void
a_sender_gives_up_when_its_patience_ends(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "a", 2);
    struct spool_sender *s;
    struct sent_outcome o = {0};

    open_broker(p);
    broker_kill(p->broker);
    s = spool_send(f, p->bus, p->loop, 300, on_sent, &o);
    assert_true(loop_until(p->loop, &o.done, DEADLINE_MS));
    assert_int_not_equal(o.e.code, ERR_NONE);
    spool_sender_free(s);
    spool_close(f);
    assert_true(spool_has(p->dir, "a"));
}

static void
a_sender_survives_a_broker_that_restarts(void **state)
{
    struct spool_place *p = *state;
    struct spool_file *f = store(p, "a", 3000);
    struct spool_sender *s;
    struct sent_outcome o = {0};

    open_broker(p);
    broker_kill(p->broker);
    s = spool_send(f, p->bus, p->loop, DEADLINE_MS, on_sent, &o);
    assert_false(loop_until(p->loop, &o.done, 300));
    broker_restart(p->broker);
    assert_true(loop_until(p->loop, &o.done, DEADLINE_MS));
    assert_int_equal(o.e.code, ERR_NONE);
    spool_sender_free(s);
    spool_close(f);
    assert_int_equal(stored(p), 3000);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_come_back_in_order),
        TEST(many_records_pass_through_the_buffer),
        TEST(what_was_not_committed_leaves_nothing),
        TEST(the_same_name_is_not_written_twice_at_once),
        TEST(only_one_sender_has_a_file),
        TEST(a_file_that_is_gone_is_not_found),
        TEST(a_damaged_file_is_set_aside),
        TEST(a_task_beyond_the_limit_is_refused),
        TEST(a_drain_sends_everything_and_removes_it),
        TEST(a_request_to_cancel_is_sent_before_its_task),
        TEST(a_file_in_other_hands_is_left_alone),
        TEST(what_is_sent_twice_is_stored_once),
        TEST(a_sender_gives_up_when_its_patience_ends),
        TEST(a_sender_survives_a_broker_that_restarts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
