/*
 * address - "ADDRESS:PORT" of a configuration, and a socket that listens there.
 *
 * Thread: any.
 */
#ifndef LIB_IO_ADDRESS_H
#define LIB_IO_ADDRESS_H

#include "lib/base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

/* An address as bind takes it. */
struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } u;
    socklen_t len;
    bool is_loopback;
};

/* "127.0.0.1:8080", "[::1]:0", "localhost:80". ERR_INVALID names key, the
 * configuration's. */
int address_read(const char *text, const char *key, struct address *out,
                 struct err *e);

/* A socket that listens there, which the caller owns, and the port it has; -1
 * with ERR_UNAVAILABLE. */
int address_listen(const struct address *a, int *port, struct err *e);

#endif
