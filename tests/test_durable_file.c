/*
 * Fails every system call of every writer of durable files in turn. This
 * program stands in for the calls; each either fails or does its work, a write
 * only a part of it. fsync only takes a note: what is on the disk does not
 * matter here, but the order in which it was asked for.
 */
#include "fleet/fleet_dir.h"
#include "gateways/folder/files.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/os/file.h"
#include "lib/submit/secret_file.h"
#include "lib/submit/spool.h"
#include "reaper/report/file.h"
#include "tests/folder.h"
#include "workers/core/result_spool.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- system calls ---------------------------------------------------------
 */

enum { WRITE_MOST = 100 }; /* bytes: longer writes are short */

static struct {
    bool on;
    int at;    /* the call that fails, */
    bool more; /* and all that follow it */
    int error;
    int calls;
    char trace[256]; /* w write, s sync of a file, r rename, m mkdir, d sync
                        of a folder */
} fault;

static bool
fails(char what)
{
    size_t len = strlen(fault.trace);

    if (!fault.on)
        return false;
    fault.calls++;
    if (fault.calls - 1 == fault.at || (fault.more && fault.calls > fault.at)) {
        errno = fault.error;
        return true;
    }
    if (what) {
        assert_true(len + 1 < sizeof fault.trace);
        fault.trace[len] = what;
    }
    return false;
}

/* The C library's own function of that name, in fn. */
static void
real(const char *name, void *fn)
{
    void *found = dlsym(RTLD_NEXT, name);

    assert_non_null(found);
    memcpy(fn, &found, sizeof found);
}

int
openat(int dir, const char *path, int flags, ...)
{
    int (*next)(int, const char *, int, ...);
    mode_t mode = 0;
    va_list args;

    if (flags & O_CREAT) {
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if (fails(0))
        return -1;
    real("openat", &next);
    return next(dir, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    if (flags & O_CREAT) {
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    return openat(AT_FDCWD, path, flags, mode);
}

ssize_t
write(int fd, const void *data, size_t len)
{
    ssize_t (*next)(int, const void *, size_t);

    if (fails('w'))
        return -1;
    real("write", &next);
    return next(fd, data, fault.on && len > WRITE_MOST ? WRITE_MOST : len);
}

int
fsync(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return fails(S_ISDIR(st.st_mode) ? 'd' : 's') ? -1 : 0;
}

/* Closes in any case, as Linux does. */
int
close(int fd)
{
    int (*next)(int);
    bool failed = fails(0);
    int error = errno;

    real("close", &next);
    assert_int_equal(next(fd), 0);
    errno = error;
    return failed ? -1 : 0;
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    int (*next)(int, const char *, int, const char *);

    if (fails('r'))
        return -1;
    real("renameat", &next);
    return next(from_dir, from, to_dir, to);
}

int
mkdirat(int dir, const char *path, mode_t mode)
{
    int (*next)(int, const char *, mode_t);

    if (fails('m'))
        return -1;
    real("mkdirat", &next);
    return next(dir, path, mode);
}

int
unlinkat(int dir, const char *path, int flags)
{
    int (*next)(int, const char *, int);

    if (fails(0))
        return -1;
    real("unlinkat", &next);
    return next(dir, path, flags);
}

/* --- writers --------------------------------------------------------------
 */

static char dir[64];

/* A path in the folder. */
static const char *
in_dir(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int
write_file(const char *text)
{
    if (file_replace(AT_FDCWD, in_dir("f"), text, strlen(text), 0600) < 0)
        return -1;
    return file_sync_dir(AT_FDCWD, dir);
}

static int
write_gateway(const char *text)
{
    struct err e;

    if (files_put(dir, "f", text, strlen(text), &e) < 0)
        return -1;
    return files_sync(dir, &e);
}

static int
write_report(const char *text)
{
    struct err e;

    return report_file_put(&(struct report_root){.path = dir}, "f", text,
                           strlen(text), &e);
}

static int
write_report_below(const char *text)
{
    struct err e;

    return report_file_put(&(struct report_root){.path = dir}, "a/b/f", text,
                           strlen(text), &e);
}

static int
write_fleet_dir(const char *text)
{
    struct fleet_dir d;
    struct err e;

    assert_true(str_copy(d.path, sizeof d.path, dir));
    return fleet_dir_write(&d, "f", text, 0600, &e);
}

static int
write_spool(const char *text)
{
    struct step step = {.name = "", .script = text, .workdir = ""};
    struct task t;
    struct spool_file *f;
    struct err e;
    int rc = spool_create(&f, dir, "f", &e);

    if (rc < 0)
        return -1;
    codec_init(CODEC_TASK, &t);
    t.id = "f";
    t.steps = &step;
    t.n_steps = 1;
    rc = spool_put(f, &t, &e);
    if (rc == 0)
        rc = spool_commit(f, &e);
    spool_close(f);
    return rc;
}

static int
write_secret(const char *text)
{
    struct mem_pool *pool = mem_pool_new();
    struct key_value env = {"F_TOKEN", text};
    const char *name = env.key;
    struct task t;
    struct err e;
    int rc;

    codec_init(CODEC_TASK, &t);
    t.id = "f";
    t.env = &env;
    t.n_env = 1;
    t.secret_env = &name;
    t.n_secret_env = 1;
    rc = secret_file_hide(dir, &t, pool, &e);
    mem_pool_free(pool);
    return rc;
}

static int
write_result(const char *text)
{
    struct spooled_result r = {.subject = "results.local.w"};
    struct err e;

    codec_init(CODEC_CLAIM, &r.claim);
    codec_init(CODEC_RESULT, &r.result);
    r.claim.task = r.result.task = "f";
    r.claim.nonce = r.result.nonce = "n";
    r.claim.state = r.result.state = STATE_FAILED;
    r.claim.attempt = r.result.attempt = 1;
    r.result.reason = text;
    if (result_spool_put(dir, &r, &e) < 0)
        return -1;
    return result_spool_sync(dir, &e);
}

/* --- readers: what the file holds, from pool; NULL if there is none -------
 */

static const char *
read_path(const char *path, struct mem_pool *pool)
{
    struct str text = {0};
    const char *out = NULL;

    if (file_read(path, 4096, &text) == 0)
        out = mem_pool_strdup(pool, str_text(&text));
    str_free(&text);
    return out;
}

static const char *
read_file(struct mem_pool *pool)
{
    return read_path(in_dir("f"), pool);
}

static const char *
read_below(struct mem_pool *pool)
{
    return read_path(in_dir("a/b/f"), pool);
}

static const char *
read_spool(struct mem_pool *pool)
{
    struct spool_file *f;
    const uint8_t *data;
    size_t at = 0, len;
    struct task t;
    struct err e;

    if (spool_take(&f, dir, "f", &e) < 0) {
        assert_int_equal(e.code, ERR_NOT_FOUND);
        return NULL;
    }
    assert_true(spool_next(f, &at, &data, &len));
    assert_int_equal(codec_decode(CODEC_TASK, data, len, pool, &t, &e), 0);
    spool_close(f);
    return t.steps[0].script;
}

static const char *
read_secret(struct mem_pool *pool)
{
    const char *name = "F_TOKEN", *value;
    struct task t;
    struct err e;

    codec_init(CODEC_TASK, &t);
    t.id = "f";
    t.secret_env = &name;
    t.n_secret_env = 1;
    return secret_file_read(dir, &t, pool, &value, &e) < 0 ? NULL : value;
}

static const char *
read_result(struct mem_pool *pool)
{
    const char **names = result_spool_list(dir, pool);
    struct spooled_result r;
    struct err e;

    if (!*names)
        return NULL;
    assert_string_equal(*names, "f-1");
    if (result_spool_load(dir, *names, pool, &r, &e) < 0)
        fail_msg("%s", e.msg);
    return r.result.reason;
}

struct writer {
    const char *name;
    int (*write)(const char *text);
    const char *(*read)(struct mem_pool *pool);
    const char *file; /* what is in the folder in the end */
    bool loses_name;  /* only the content's end is promised */
};

static const struct writer writers[] = {
    {"a file is the old one or the new one, whatever fails", write_file,
     read_file, "f", false},
    {"a gateway's file is the old one or the new one, whatever fails",
     write_gateway, read_file, "f", false},
    {"a report is the old one or the new one, whatever fails", write_report,
     read_file, "f", false},
    {"a report in new folders is whole or absent, whatever fails",
     write_report_below, read_below, "a", false},
    {"the fleet's files are the old or the new ones, whatever fails",
     write_fleet_dir, read_file, "f", true},
    {"a spool file is the old one or the new one, whatever fails", write_spool,
     read_spool, "f.task", false},
    {"a task's secrets are the old ones or the new ones, whatever fails",
     write_secret, read_secret, "secrets", false},
    {"a spooled result is the old one or the new one, whatever fails",
     write_result, read_result, "f-1", false},
};

/* --- the test -------------------------------------------------------------
 */

/* Where c last stands in the trace; -1: nowhere. */
static long
last(char c)
{
    const char *p = strrchr(fault.trace, c);

    return p ? (long)(p - fault.trace) : -1;
}

static void
assert_durable(const struct writer *w)
{
    bool ok = last('w') >= 0 && last('w') < last('s') &&
              last('s') < last('r') && (w->loses_name || last('r') < last('d'));

    for (const char *p = fault.trace; (p = strchr(p, 'm')); p++)
        ok = ok && p[1] == 'd';
    if (!ok)
        fail_msg("%s: not durable: %s", w->name, fault.trace);
}

/* Nothing but the file; what could not be removed is no content. */
static void
assert_no_litter(const struct writer *w, const char *path, bool allowed)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    const char *end;

    assert_non_null(d);
    while ((entry = readdir(d))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            !strcmp(entry->d_name, w->file))
            continue;
        end = strrchr(entry->d_name, '.');
        if (!allowed || !end || strcmp(end, ".tmp") != 0)
            fail_msg("%s: %s is left, call %d", w->name, entry->d_name,
                     fault.at);
    }
    (void)closedir(d);
}

/* Replaces old, NULL for none, while one call fails, or all from it on. False:
 * there were not as many calls. */
static bool
try_writing(const struct writer *w, const char *old, int at, int error,
            bool more)
{
    struct mem_pool *pool = mem_pool_new();
    char text[400] = "";
    const char *found;
    int rc;

    memset(text, 'x', sizeof text - 1);
    (void)folder_remove(dir); /* of a test that failed */
    assert_int_equal(mkdir(dir, 0700), 0);
    if (old)
        assert_int_equal(w->write(old), 0);
    memset(&fault, 0, sizeof fault);
    fault.at = at;
    fault.more = more;
    fault.error = error;
    fault.on = true;
    rc = w->write(text);
    fault.on = false;

    found = w->read(pool);
    if (rc == 0)
        assert_durable(w);
    if (rc < 0 && at >= fault.calls)
        fail_msg("%s: failed by itself", w->name);
    if (!(found && !strcmp(found, text)) &&
        (rc == 0 || (old ? !found || strcmp(found, old) != 0 : !!found)))
        fail_msg("%s: call %d, error %d, ended with %d: '%s'", w->name, at,
                 error, rc, found ? found : "(nothing)");
    assert_no_litter(w, dir, more);
    mem_pool_free(pool);
    assert_int_equal(folder_remove(dir), 0);
    return at < fault.calls;
}

static void
whatever_fails_the_old_content_or_the_new_one_stands(void **state)
{
    static const int errors[] = {ENOSPC, EIO, EINTR};
    const struct writer *w = *state;

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (int mode = 0; mode < 4; mode++) {
            const char *old = mode & 1 ? "old" : NULL;
            bool more = mode & 2;
            int at = 0;

            if (more && errors[i] == EINTR)
                continue; /* interrupted for ever: nothing ends */
            while (try_writing(w, old, at, errors[i], more))
                at++;
            assert_true(at >= 5);
        }
}

int
main(void)
{
    enum { N = sizeof writers / sizeof *writers };
    struct CMUnitTest tests[N];

    (void)snprintf(dir, sizeof dir, "%s/shunt-durable-XXXXXX",
                   getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir) || rmdir(dir) < 0)
        return 1;
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){
            .name = writers[i].name,
            .test_func = whatever_fails_the_old_content_or_the_new_one_stands,
            .initial_state = (void *)(uintptr_t)&writers[i],
        };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
