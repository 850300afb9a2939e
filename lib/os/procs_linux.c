/*
 * Reads /proc. A child that is just executing looks as if it had no
 * environment: that is told apart here.
 */
#include "lib/os/procs.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    ENVIRON_MAX = 8 << 20, /* a larger environment is not searched */
    EMPTY_CHECKS = 3,      /* before an environment counts as empty */
};

/* Reads a whole file of /proc; false if it cannot be read or is too long. */
static bool
read_file(int dir, const char *path, size_t most, struct str *out)
{
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC), rc;

    str_reset(out);
    if (fd < 0)
        return false;
    rc = file_read_all(fd, most, out);
    (void)close(fd);
    return rc == 0;
}

bool
procs_stat(pid_t pid, struct procs_stat *st)
{
    char path[64], buf[1024], *name, *p;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, buf, sizeof buf - 1);
    (void)close(fd);
    if (n <= 0)
        return false;
    buf[n] = '\0';
    name = strchr(buf, '(');
    p = strrchr(buf, ')'); /* the name before it may contain anything */
    if (!name || !p)
        return false;
    *p = '\0';
    (void)str_copy(st->name, sizeof st->name, name + 1);
    return sscanf(p + 1,
                  " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d"
                  " %*d %*d %*d %d %*d %" SCNu64,
                  &st->state, &st->parent, &st->group, &st->session,
                  &st->threads, &st->started) == 6;
}

bool
procs_alive(const struct procs_stat *st)
{
    return (st->state != 'Z' && st->state != 'X') || st->threads > 1;
}

void
procs_push(struct procs_list *ns, pid_t pid, bool ours)
{
    ns->v = mem_grow(ns->v, ns->n, &ns->cap, sizeof *ns->v);
    ns->v[ns->n++] = (struct procs_node){pid, ours};
}

static void
push_list(struct procs_list *ns, const char *text, bool ours)
{
    char *end;
    long pid;

    for (;; text = end) {
        pid = strtol(text, &end, 10);
        if (end == text)
            return;
        procs_push(ns, (pid_t)pid, ours);
    }
}

void
procs_push_all(struct procs_list *ns)
{
    struct dirent *d;
    long pid;
    DIR *dir;

    dir = opendir("/proc");
    while (dir && (d = readdir(dir)) != NULL) {
        pid = strtol(d->d_name, NULL, 10);
        if (pid > 0)
            procs_push(ns, (pid_t)pid, false);
    }
    if (dir)
        (void)closedir(dir);
}

/* Searches all processes for the children of pid. */
static void
search_children(struct procs_list *l, pid_t pid, bool ours)
{
    struct procs_list all = {0};
    struct procs_stat st;

    procs_push_all(&all);
    for (size_t i = 0; i < all.n; i++)
        if (procs_stat(all.v[i].pid, &st) && st.parent == pid)
            procs_push(l, all.v[i].pid, ours);
    mem_free(all.v);
}

void
procs_push_children(struct procs_list *l, pid_t pid, bool ours, bool lists)
{
    struct str text = {0};
    struct dirent *d;
    char path[300];
    DIR *dir;

    if (!lists) {
        search_children(l, pid, ours);
        return;
    }
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while (dir && (d = readdir(dir)) != NULL) {
        if (d->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/children", d->d_name);
        if (read_file(dirfd(dir), path, SIZE_MAX - 1, &text))
            push_list(l, str_text(&text), ours);
    }
    if (dir)
        (void)closedir(dir);
    str_free(&text);
}

static bool
has_entry(const struct str *environ_text, const char *entry)
{
    const char *text = environ_text->data;
    size_t len = strlen(entry), size = environ_text->len;

    for (size_t at = 0; at + len <= size;
         at += strnlen(text + at, size - at) + 1)
        if (memcmp(text + at, entry, len) == 0 &&
            (at + len == size || text[at + len] == '\0'))
            return true;
    return false;
}

/* During exec a process has neither environment nor arguments until the kernel
 * has placed them. Arguments without an environment mean that it is empty,
 * unless the kernel finished between the two reads. */
enum procs_env
procs_env(pid_t pid, const char *entry)
{
    enum procs_env found = PROCS_ENV_LACKS;
    char env_path[64], args_path[64];
    struct str text = {0};

    (void)snprintf(env_path, sizeof env_path, "/proc/%d/environ", (int)pid);
    (void)snprintf(args_path, sizeof args_path, "/proc/%d/cmdline", (int)pid);
    for (int i = 0; i < EMPTY_CHECKS; i++) {
        if (!read_file(AT_FDCWD, env_path, ENVIRON_MAX, &text))
            break;
        if (text.len > 0) {
            if (has_entry(&text, entry))
                found = PROCS_ENV_HOLDS;
            break;
        }
        if (!read_file(AT_FDCWD, args_path, ENVIRON_MAX, &text))
            break;
        if (text.len == 0) {
            found = PROCS_ENV_UNREADY;
            break;
        }
    }
    str_free(&text);
    return found;
}

uint64_t
procs_ticks(void)
{
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
    struct timespec ts;

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * hz + (uint64_t)ts.tv_nsec * hz / 1000000000;
}
