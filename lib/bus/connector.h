/*
 * connector - connects to the broker over plain TCP, the first time on the
 * caller's thread, later on a thread of its own.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_CONNECTOR_H
#define LIB_BUS_CONNECTOR_H

#include "lib/bus/endpoint.h"

struct connector;

/* waker is woken, from another thread, when connector_take has something. */
int connector_open(struct connector **out, const struct bus_conf *conf,
                   const char *role, struct loop_waker *waker, struct err *e);
/* False if an attempt is still under way: it ends by itself later. */
bool connector_close(struct connector *c); /* NULL is fine */
const struct endpoint *connector_endpoint(const struct connector *c);

/* A connection: the library's, and our own duplicate of its socket. */
struct connected {
    natsConnection *nc; /* NULL: none */
    int fd, library_fd;
};

/* Retries for timeout_ms, blocking. *tls: the broker requires TLS. */
int connector_connect(struct connector *c, int64_t timeout_ms,
                      struct connected *out, bool *tls, struct err *e);
/* Retries on a thread until it succeeds; does nothing if that thread runs.
 * False if no thread could be started. */
bool connector_start(struct connector *c);
/* True once after it has succeeded. *denied is set, to text that is valid until
 * the next call, once per connector_start if the broker refuses us. */
bool connector_take(struct connector *c, struct connected *out,
                    const char **denied);
void connected_close(struct connected *c);

#endif
