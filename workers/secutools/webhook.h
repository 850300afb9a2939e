/*
 * webhook - receives the platform's notice that a job has changed: a POST to
 * any path that ends in "/<key>", with any body.
 *
 * It is not trusted: it only makes the job's next poll earlier. So every caller
 * gets the same answer, 204, and the body is discarded.
 * Bounded: 64 connections, 30 s of silence, 64 KiB of body.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_SECUTOOLS_WEBHOOK_H
#define WORKERS_SECUTOOLS_WEBHOOK_H

#include "lib/base/err.h"
#include "lib/io/loop.h"

struct webhook;

/* key: as received; there may be no job with it. */
typedef void webhook_fn(void *ctx, const char *key);

/* address: "127.0.0.1:9000". ERR_INVALID: not an address; ERR_UNAVAILABLE: it
 * is in use. On 0 the caller owns *out. */
int webhook_open(struct webhook **out, struct loop *l, const char *address,
                 webhook_fn *fn, void *ctx, struct err *e);
void webhook_close(struct webhook *h); /* NULL is fine */

#endif
