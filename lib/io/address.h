/*
 * address - parses "ADDRESS:PORT" of a configuration, and listens there.
 *
 * Thread: any.
 */
#ifndef LIB_IO_ADDRESS_H
#define LIB_IO_ADDRESS_H

#include "lib/base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address as bind takes it. */
struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_un local;
    } u;
    socklen_t len;
    bool is_loopback;
};

/* Parses "127.0.0.1:8080", "[::1]:0", "localhost:80". ERR_INVALID: the message
 * names key, the configuration's. */
int address_read(const char *text, const char *key, struct address *out,
                 struct err *e);

/* The socket at a path; ERR_INVALID: the path is too long for one. */
int address_local(const char *path, const char *key, struct address *out,
                  struct err *e);

/* Returns a listening socket, owned by the caller, and its port; or -1 with
 * ERR_UNAVAILABLE. A socket at a path, port 0, is for this user alone, and
 * replaces one that nobody listens on. */
int address_listen(const struct address *a, int *port, struct err *e);

#endif
