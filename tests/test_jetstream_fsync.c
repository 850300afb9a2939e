/*
 * Which files are synced, and when: this program replaces fdatasync and fsync
 * and records their calls.
 */
#include "fleet/jetstream_fsync.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char synced[4096]; /* "a/1.blk b/2.blk ...", in order */
static int fail_with;

static void
note(int fd)
{
    char link[64], path[1024], *stream, *file;
    size_t len = strlen(synced);
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = '\0';
    stream = strstr(path, "/streams/");
    assert_non_null(stream);
    file = strrchr(path, '/') + 1;
    stream += strlen("/streams/");
    (void)snprintf(synced + len, sizeof synced - len, "%.*s/%s ",
                   (int)strcspn(stream, "/"), stream, file);
}

int
fdatasync(int fd)
{
    note(fd);
    errno = fail_with;
    return fail_with ? -1 : 0;
}

int
fsync(int fd)
{
    note(fd);
    return 0;
}

/* --- a store ---------------------------------------------------------------
 */

struct store_fixture {
    char dir[64];
    struct jetstream_fsync *sync;
};

static void
make_dirs(const char *path)
{
    char part[256];

    for (size_t i = 1; path[i]; i++)
        if (path[i] == '/') {
            (void)snprintf(part, sizeof part, "%.*s", (int)i, path);
            (void)mkdir(part, 0700);
        }
}

static void
path_of(struct store_fixture *s, const char *stream, const char *file,
        char out[256])
{
    (void)snprintf(out, 256, "%s/jetstream/$G/streams/%s/msgs/%s", s->dir,
                   stream, file);
    make_dirs(out);
}

static void
append(struct store_fixture *s, const char *stream, const char *file)
{
    char path[256];
    int fd;

    path_of(s, stream, file, path);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
}

/* What one run syncs. */
static const char *
run(struct store_fixture *s)
{
    struct err e;

    synced[0] = '\0';
    if (jetstream_fsync_run(s->sync, &e) < 0)
        fail_msg("%s", e.msg);
    return synced;
}

/* Runs until the folders count as settled: then nothing is synced. */
static void
settle(struct store_fixture *s)
{
    time_t give_up = time(NULL) + 10;

    while (*run(s))
        assert_true(time(NULL) < give_up);
}

static int
setup(void **state)
{
    struct store_fixture *s = MEM_NEW(struct store_fixture);

    (void)str_copy(s->dir, sizeof s->dir, "/tmp/test_jetstream_fsync-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    s->sync = jetstream_fsync_new(s->dir);
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    struct store_fixture *s = *state;

    fail_with = 0;
    jetstream_fsync_free(s->sync);
    (void)folder_remove(s->dir);
    mem_free(s);
    return 0;
}

/* --- tests -----------------------------------------------------------------
 */

static void
an_absent_store_is_durable(void **state)
{
    assert_string_equal(run(*state), "");
}

static void
a_new_stream_is_synced_with_its_folder(void **state)
{
    struct store_fixture *s = *state;

    append(s, "TASKS", "1.blk");
    append(s, "TASKS", "1.idx"); /* rebuilt by the server */
    assert_string_equal(run(s), "TASKS/1.blk TASKS/msgs ");
}

static void
what_was_appended_is_synced_and_nothing_else(void **state)
{
    struct store_fixture *s = *state;

    append(s, "TASKS", "1.blk");
    append(s, "TASKS", "2.blk");
    append(s, "RESULTS", "1.blk");
    settle(s);
    append(s, "TASKS", "2.blk");
    assert_string_equal(run(s), "TASKS/2.blk ");
    assert_string_equal(run(s), "");
}

static void
a_block_that_was_begun_takes_over(void **state)
{
    struct store_fixture *s = *state;

    append(s, "TASKS", "9.blk");
    settle(s);
    append(s, "TASKS", "9.blk");
    append(s, "TASKS", "10.blk");
    assert_non_null(strstr(run(s), "TASKS/9.blk "));
    assert_non_null(strstr(synced, "TASKS/10.blk "));
    assert_non_null(strstr(synced, "TASKS/msgs "));
    settle(s);
    append(s, "TASKS", "10.blk");
    assert_string_equal(run(s), "TASKS/10.blk ");
}

static void
a_block_written_anew_in_place_of_an_old_one_is_synced(void **state)
{
    struct store_fixture *s = *state;
    char from[256], to[256];

    append(s, "KV_claims", "1.blk");
    append(s, "KV_claims", "2.blk");
    settle(s);
    append(s, "KV_claims", "1.tmp"); /* of the same size */
    path_of(s, "KV_claims", "1.tmp", from);
    path_of(s, "KV_claims", "1.blk", to);
    assert_int_equal(rename(from, to), 0);
    assert_non_null(strstr(run(s), "KV_claims/1.blk "));
    assert_null(strstr(synced, "2.blk"));
}

static void
blocks_and_streams_that_are_gone_are_forgotten(void **state)
{
    struct store_fixture *s = *state;
    char path[256];

    append(s, "LOGS", "1.blk");
    append(s, "LOGS", "2.blk");
    append(s, "DEAD", "1.blk");
    settle(s);
    path_of(s, "LOGS", "1.blk", path);
    assert_int_equal(unlink(path), 0);
    path_of(s, "DEAD", "1.blk", path);
    assert_int_equal(unlink(path), 0);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
    settle(s);
    append(s, "LOGS", "2.blk");
    append(s, "DEAD", "1.blk"); /* made anew */
    assert_non_null(strstr(run(s), "LOGS/2.blk "));
    assert_non_null(strstr(synced, "DEAD/1.blk "));
}

static void
one_run_syncs_all_streams(void **state)
{
    struct store_fixture *s = *state;

    append(s, "TASKS", "1.blk");
    append(s, "RESULTS", "1.blk");
    append(s, "KV_claims", "1.blk");
    settle(s);
    append(s, "RESULTS", "1.blk");
    append(s, "KV_claims", "1.blk");
    assert_non_null(strstr(run(s), "RESULTS/1.blk "));
    assert_non_null(strstr(synced, "KV_claims/1.blk "));
    assert_null(strstr(synced, "TASKS"));
    assert_string_equal(run(s), "");
}

/* As chattr +S does; skips the test where the file system cannot. */
static void
write_through(struct store_fixture *s, const char *stream, const char *file,
              bool on)
{
    int flags = 0, fd;
    char path[256];

    path_of(s, stream, file, path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) {
        (void)close(fd);
        skip();
    }
    flags = on ? flags | FS_SYNC_FL : flags & ~FS_SYNC_FL;
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0) {
        (void)close(fd);
        skip();
    }
    (void)close(fd);
}

static void
what_is_written_through_is_synced_once(void **state)
{
    struct store_fixture *s = *state;

    append(s, "TASKS_IN", "1.blk");
    settle(s);
    append(s, "TASKS_IN", "1.blk"); /* before it was written through */
    write_through(s, "TASKS_IN", "1.blk", true);
    assert_string_equal(run(s), "TASKS_IN/1.blk ");
    append(s, "TASKS_IN", "1.blk");
    assert_string_equal(run(s), "");
    write_through(s, "TASKS_IN", "1.blk", false);
    append(s, "TASKS_IN", "1.blk");
    assert_string_equal(run(s), "TASKS_IN/1.blk ");
}

static void
a_failed_sync_is_told_with_the_file(void **state)
{
    struct store_fixture *s = *state;
    struct err e;

    append(s, "TASKS", "1.blk");
    fail_with = EIO;
    assert_int_equal(jetstream_fsync_run(s->sync, &e), -1);
    assert_non_null(strstr(e.msg, "TASKS/msgs/1.blk"));
    assert_non_null(strstr(e.msg, strerror(EIO)));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_absent_store_is_durable),
        T(a_new_stream_is_synced_with_its_folder),
        T(what_was_appended_is_synced_and_nothing_else),
        T(a_block_that_was_begun_takes_over),
        T(a_block_written_anew_in_place_of_an_old_one_is_synced),
        T(blocks_and_streams_that_are_gone_are_forgotten),
        T(one_run_syncs_all_streams),
        T(what_is_written_through_is_synced_once),
        T(a_failed_sync_is_told_with_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
