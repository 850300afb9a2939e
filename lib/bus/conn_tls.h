/*
 * conn_tls - a connection under TLS, read and written by the library's threads.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_CONN_TLS_H
#define LIB_BUS_CONN_TLS_H

#include "lib/bus/conn.h"

/* As bus_open, with events on. */
int conn_tls_open(struct conn **out, struct loop *loop,
                  const struct bus_conf *conf, const char *role,
                  int64_t timeout_ms, const struct conn_events *on, void *ctx,
                  struct err *e);

#endif
