/*
 * webhook - hears from the platform that something has happened to a job: a
 * POST to any path that ends in "/<key>", whatever it says.
 *
 * Nothing of it is believed: whoever is told looks at the job, as it would have
 * later. So everybody gets the same answer, 204, and a body is thrown away.
 * Bounded: 64 connections, 30 s of silence, 64 KiB of body.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_SECUTOOLS_WEBHOOK_H
#define WORKERS_SECUTOOLS_WEBHOOK_H

#include "lib/base/err.h"
#include "lib/io/loop.h"

struct webhook;

/* key: what somebody sent, perhaps the key of no job. */
typedef void hint_fn(void *ctx, const char *key);

/* address: "127.0.0.1:9000". ERR_INVALID: it is none; ERR_UNAVAILABLE: it is
 * in use. On 0 the caller owns *out. */
int webhook_open(struct webhook **out, struct loop *l, const char *address,
                 hint_fn *fn, void *ctx, struct err *e);
void webhook_close(struct webhook *h); /* NULL is fine */

#endif
