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
address_listen(const struct address *a, int *port, struct err *e)
{
    struct address bound = *a;
    int fd = os_tcp_socket(a->u.any.sa_family, true), on = 1;

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
