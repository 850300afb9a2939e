/*
 * conn_tcp - a plain TCP connection that the loop thread reads and writes.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_CONN_TCP_H
#define LIB_BUS_CONN_TCP_H

#include "lib/bus/conn.h"

/* As bus_open, with events on. Returns 1 if the broker requires TLS: open a
 * conn_tls instead. */
int conn_tcp_open(struct conn **out, struct loop *loop,
                  const struct bus_conf *conf, const char *role,
                  int64_t timeout_ms, const struct conn_events *on, void *ctx,
                  struct err *e);

#endif
