/*
 * What the server confirms and when, with a disk that takes as long as the test
 * wants: this program replaces fdatasync.
 */
#include "tests/bus_fixture.h"

#include "fleet/fsync_server.h"
#include "lib/model/subject.h"
#include "tests/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the disk ------------------------------------------------------------- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned begun, allowed; /* syncs */
    int fail_with;
} disk = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0};

int
fdatasync(int fd)
{
    int failed;

    (void)fd;
    (void)pthread_mutex_lock(&disk.mutex);
    disk.begun++;
    while (disk.begun > disk.allowed)
        (void)pthread_cond_wait(&disk.cond, &disk.mutex);
    failed = disk.fail_with;
    (void)pthread_mutex_unlock(&disk.mutex);
    errno = failed;
    return failed ? -1 : 0;
}

/* Syncs up to that one end, from now on so. */
static void
allow(unsigned n, int fail_with)
{
    (void)pthread_mutex_lock(&disk.mutex);
    disk.allowed = n;
    disk.fail_with = fail_with;
    (void)pthread_cond_broadcast(&disk.cond);
    (void)pthread_mutex_unlock(&disk.mutex);
}

static unsigned
begun(void)
{
    unsigned n;

    (void)pthread_mutex_lock(&disk.mutex);
    n = disk.begun;
    (void)pthread_mutex_unlock(&disk.mutex);
    return n;
}

static void
wait_begun(struct bus_fixture *f, unsigned n)
{
    int64_t give_up = loop_now_ms() + WAIT_MS;

    while (begun() < n) {
        assert_true(loop_now_ms() < give_up);
        run_for(f, 2);
    }
}

/* --- a store with one stream, and the server ------------------------------ */

static struct {
    char dir[64], block[160];
    struct bus *bus; /* the server's */
    struct fsync_server *server;
    struct bus_sub *sub;
    struct listener heard; /* of what is sent after the requests */
} fixture;

static void
append(void)
{
    int fd = open(fixture.block, O_WRONLY | O_CREAT | O_APPEND, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
}

static void
make_store(void)
{
    static const char *const parts[] = {"jetstream", "$G", "streams", "S",
                                        "msgs"};
    size_t len;

    (void)str_copy(fixture.dir, sizeof fixture.dir,
                   "/tmp/test_fsync_server-XXXXXX");
    assert_non_null(mkdtemp(fixture.dir));
    (void)str_copy(fixture.block, sizeof fixture.block, fixture.dir);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        len = strlen(fixture.block);
        (void)snprintf(fixture.block + len, sizeof fixture.block - len, "/%s",
                       parts[i]);
        assert_int_equal(mkdir(fixture.block, 0700), 0);
    }
    len = strlen(fixture.block);
    (void)snprintf(fixture.block + len, sizeof fixture.block - len, "/1.blk");
    append();
}

static void
ask(struct bus_fixture *f, struct bus_result *r)
{
    *r = (struct bus_result){.done = false};
    bus_request(f->bus, SUBJECT_SYNC, "", 0, WAIT_MS, on_reply, r);
}

/* Until the server has all that was sent so far. */
static void
wait_arrived(struct bus_fixture *f)
{
    static unsigned number;
    int64_t give_up = loop_now_ms() + WAIT_MS;
    char word[16];

    (void)snprintf(word, sizeof word, "%u", ++number);
    while (strcmp(fixture.heard.data, word) != 0) {
        assert_true(loop_now_ms() < give_up);
        bus_publish_core(f->bus, "arrived", word, strlen(word));
        run_for(f, 5);
    }
}

static int
server_setup(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_conf conf = conf_of(f->broker);
    struct err e = {0};

    (void)setup(state);
    make_store();
    disk.begun = 0;
    allow(UINT32_MAX, 0);
    if (bus_open(&fixture.bus, f->loop, &conf, "fsync-server", 10000, &e) < 0 ||
        fsync_server_open(&fixture.server, fixture.bus, f->loop, fixture.dir,
                          &e) < 0 ||
        bus_subscribe(fixture.bus, "arrived", on_note, &fixture.heard,
                      &fixture.sub, &e) < 0)
        fail_msg("%s", e.msg);
    wait_arrived(f);
    return 0;
}

static int
server_teardown(void **state)
{
    allow(UINT32_MAX, 0);
    bus_unsubscribe(fixture.sub);
    fsync_server_close(fixture.server);
    bus_close(fixture.bus);
    (void)folder_remove(fixture.dir);
    return teardown(state);
}

/* --- tests ---------------------------------------------------------------- */

static void
nothing_is_confirmed_before_it_is_on_the_disk(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result r;

    allow(0, 0);
    ask(f, &r);
    wait_begun(f, 1);
    run_for(f, 20);
    assert_false(r.done);
    allow(1, 0);
    finish(f, &r);
    assert_string_equal(r.data, "");
}

static void
what_comes_while_the_disk_is_busy_shares_the_next_sync(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result first, next[3];

    allow(0, 0);
    ask(f, &first);
    wait_begun(f, 1);
    append();
    for (int i = 0; i < 3; i++)
        ask(f, &next[i]);
    wait_arrived(f);
    allow(1, 0);
    finish(f, &first);
    wait_begun(f, 2);
    for (int i = 0; i < 3; i++)
        assert_false(next[i].done); /* stored after the first began */
    allow(2, 0);
    for (int i = 0; i < 3; i++)
        finish(f, &next[i]);
    assert_int_equal(begun(), 2);
}

static void
after_a_failed_sync_nothing_is_confirmed(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result r;

    allow(UINT32_MAX, EIO);
    ask(f, &r);
    finish(f, &r);
    assert_non_null(strstr(r.data, "1.blk"));
    assert_non_null(strstr(r.data, strerror(EIO)));
    allow(UINT32_MAX, 0);
    append();
    r = (struct bus_result){.done = false};
    bus_request(f->bus, SUBJECT_SYNC, "", 0, 200, on_reply, &r);
    finish(f, &r);
    assert_int_equal(r.code, ERR_TIMEOUT);
    assert_int_equal(begun(), 1);
}

#define K(name)                                                                \
    cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        K(nothing_is_confirmed_before_it_is_on_the_disk),
        K(what_comes_while_the_disk_is_busy_shares_the_next_sync),
        K(after_a_failed_sync_nothing_is_confirmed),
    };

    log_level_set(LOG_ERROR);
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
