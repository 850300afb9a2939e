/*
 * Only numeric addresses and "localhost" are accepted: nothing here asks a
 * name server.
 */
#include "lib/io/address.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/os/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 64 };

static bool
set_host(struct address *a, const char *host, uint16_t port)
{
    memset(a, 0, sizeof *a);
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &a->u.four.sin_addr) == 1) {
        a->u.four.sin_family = AF_INET;
        a->u.four.sin_port = htons(port);
        a->len = sizeof a->u.four;
        a->is_loopback = ntohl(a->u.four.sin_addr.s_addr) >> 24 == 127;
        return true;
    }
    if (inet_pton(AF_INET6, host, &a->u.six.sin6_addr) == 1) {
        a->u.six.sin6_family = AF_INET6;
        a->u.six.sin6_port = htons(port);
        a->len = sizeof a->u.six;
        a->is_loopback = IN6_IS_ADDR_LOOPBACK(&a->u.six.sin6_addr);
        return true;
    }
    return false;
}

int
address_read(const char *text, const char *key, struct address *out,
             struct err *e)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2] = "", *start = host;
    uint64_t port;
    size_t len = colon ? (size_t)(colon - text) : 0;

    if (len && len < sizeof host && str_to_u64(colon + 1, 0, 65535, &port)) {
        memcpy(host, text, len);
        if (*host == '[' && host[len - 1] == ']') {
            host[len - 1] = '\0';
            start++;
        } else if (strchr(host, ':')) {
            start = host + len; /* IPv6 without brackets is refused */
        }
        if (set_host(out, start, (uint16_t)port))
            return 0;
    }
    return err_set(e, ERR_INVALID,
                   "%s: \"%s\" is not ADDRESS:PORT, such as "
                   "127.0.0.1:8080 or [::1]:8080",
                   key, LOG_TEXT(text));
}

int
address_local(const char *path, const char *key, struct address *out,
              struct err *e)
{
    memset(out, 0, sizeof *out);
    out->u.local.sun_family = AF_UNIX;
    out->len = sizeof out->u.local;
    out->is_loopback = true;
    if (*path == '/' &&
        str_copy(out->u.local.sun_path, sizeof out->u.local.sun_path, path))
        return 0;
    return err_set(e, ERR_INVALID,
                   "%s: \"%s\" is no absolute path of at most %zu bytes", key,
                   LOG_TEXT(path), sizeof out->u.local.sun_path - 1);
}

/* Whether somebody listens at the path. */
static bool
is_served(const struct address *a)
{
    int fd = os_stream_socket(AF_UNIX, false);
    bool served = fd >= 0 && connect(fd, &a->u.any, a->len) == 0;

    if (fd >= 0)
        (void)close(fd);
    return served;
}

static int
listen_local(const struct address *a, struct err *e)
{
    const char *path = a->u.local.sun_path;
    struct stat st;
    int fd = -1;

    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || is_served(a))
            return err_set(e, ERR_UNAVAILABLE, "%s is in use", path);
        (void)unlink(path);
    }
    fd = os_stream_socket(AF_UNIX, true);
    /* The mode before the name: nobody else gets in between. */
    if (fd >= 0 && fchmod(fd, 0600) == 0 && bind(fd, &a->u.any, a->len) == 0 &&
        chmod(path, 0600) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    err_set(e, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

int
address_listen(const struct address *a, int *port, struct err *e)
{
    struct address bound = *a;
    int fd, on = 1;

    *port = 0;
    if (a->u.any.sa_family == AF_UNIX)
        return listen_local(a, e);
    fd = os_stream_socket(a->u.any.sa_family, true);
    if (fd >= 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, &a->u.any, a->len) == 0 && listen(fd, BACKLOG) == 0 &&
        getsockname(fd, &bound.u.any, &bound.len) == 0) {
        *port =
            ntohs(bound.u.any.sa_family == AF_INET6 ? bound.u.six.sin6_port
                                                    : bound.u.four.sin_port);
        return fd;
    }
    err_set(e, ERR_UNAVAILABLE, "%s", strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}
