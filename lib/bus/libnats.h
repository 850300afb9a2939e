/*
 * libnats - the NATS library: its lifetime, its threads, its errors, and
 * retries of the first connection.
 *
 * Thread: any.
 */
#ifndef LIB_BUS_LIBNATS_H
#define LIB_BUS_LIBNATS_H

#include "lib/bus/endpoint.h"

#include <signal.h>

enum {
    CONN_CONNECT_MS = 2000,  /* time limit of one connection attempt */
    CONN_PING_MS = 5000,     /* two missed: the connection is dead */
    CONN_RECONNECT_MS = 250, /* between attempts, and as much jitter */
    CONN_CLOSE_MS = 2000,
};

/* The library is open from the first join to the last leave. */
void libnats_join(void);
void libnats_leave(bool wait); /* wait for its threads if it closes now */

/* What the library's last call on this thread complained of, for people:
 * without places in its source; static or the library's, never NULL. */
const char *libnats_last_error(void);
/* Turns the failure of a connection attempt into an error. Returns -1. */
int libnats_refused(const struct endpoint *r, natsStatus s, struct err *e);
/* Calls attempt until it returns 0, its error is final or timeout_ms have
 * passed. */
int libnats_retry(int (*attempt)(void *ctx, struct err *e), void *ctx,
                  const struct endpoint *r, int64_t timeout_ms, struct err *e);

/*
 * Threads inherit the signal mask of their creator. A signal delivered to a
 * thread of the library would interrupt its wait, which the library takes for
 * the end of the connection; the main thread is there to be interrupted.
 * Signals are blocked only around each call, so that TERM ends a long wait for
 * the broker.
 */
void libnats_block_signals(sigset_t *old);
void libnats_restore_signals(const sigset_t *old);
/* Starts a detached thread with all signals blocked. */
int libnats_thread(void *(*fn)(void *ctx), void *ctx, struct err *e);

#endif
