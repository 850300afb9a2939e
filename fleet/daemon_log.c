/*
 * A daemon keeps its log open for as long as it lives, so rotation copies the
 * text away and empties the file under it: it is opened for appending, and the
 * next line goes to its new end.
 */
#include "fleet/daemon_log.h"

#include "lib/os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_MAX = 32 * 1024 * 1024 };

static const char *
log_path(const struct fleet_dir *dir, const char *name, const char *suffix,
         struct fleet_dir_path *out)
{
    char rel[64];

    (void)snprintf(rel, sizeof rel, "log/%s.log%s", name, suffix);
    return fleet_dir_path(dir, rel, out);
}

int
daemon_log_open(const struct fleet_dir *dir, const char *name, struct err *e)
{
    struct fleet_dir_path path;
    int fd = open(log_path(dir, name, "", &path),
                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    return fd >= 0 ? fd
                   : err_set(e, ERR_UNAVAILABLE, "open %s: %s", path.s,
                             strerror(errno));
}

void
daemon_log_rotate(const struct fleet_dir *dir, const char *name, int fd)
{
    struct fleet_dir_path path, old;
    char buf[65536];
    struct stat st;
    off_t at = 0;
    ssize_t n;
    int in, out;

    if (fstat(fd, &st) < 0 || st.st_size <= LOG_MAX)
        return;
    in = open(log_path(dir, name, "", &path), O_RDONLY | O_CLOEXEC);
    out = open(log_path(dir, name, ".1", &old),
               O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (in >= 0 && out >= 0 && (n = pread(in, buf, sizeof buf, at)) > 0 &&
           file_write_all(out, buf, (size_t)n) == 0)
        at += n;
    (void)ftruncate(fd, 0);
    if (in >= 0)
        (void)close(in);
    if (out >= 0)
        (void)close(out);
}

void
daemon_log_last_line(const struct fleet_dir *dir, const char *name, char *out,
                     size_t size, struct fleet_dir_path *path)
{
    char tail[1024], *line;
    struct stat st;
    ssize_t n = 0;
    int fd = open(log_path(dir, name, "", path), O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &st) == 0)
        n = pread(fd, tail, sizeof tail - 1,
                  st.st_size > 1000 ? st.st_size - 1000 : 0);
    if (fd >= 0)
        (void)close(fd);
    while (n > 0 && tail[n - 1] == '\n')
        n--;
    tail[n > 0 ? n : 0] = '\0';
    line = strrchr(tail, '\n');
    (void)snprintf(out, size, "%s", line ? line + 1 : tail);
}
