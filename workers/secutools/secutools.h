/*
 * secutools - submits tasks to an AI job platform, polls the jobs and fetches
 * their results: the executor of the worker of that name.
 *
 * A job is submitted at most once. Its key is in the claim before the
 * submission (the intent), its id after it; a worker that resumes the task
 * submits again with the same key, or goes on with the id. A result is
 * published as soon as it is fetched.
 *
 * 402, 401, 403 and an exhausted daily budget pause the lane, with the reason;
 * 429 pauses it until the platform's reset. A task refused for such a reason is
 * handed back and waits, and so is one that is claimed but not submitted when
 * its lane is paused.
 *
 * A cancel is sent to the platform even after the worker has stopped waiting
 * for its answer.
 *
 * Thread: the loop thread; nothing blocks.
 */
#ifndef WORKERS_SECUTOOLS_SECUTOOLS_H
#define WORKERS_SECUTOOLS_SECUTOOLS_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "workers/core/executor.h"
#include "workers/secutools/circuit_breaker.h"
#include "workers/secutools/platform_api.h"

struct secutools;

struct secutools_conf {
    struct platform_api_conf api;
    struct breaker_conf breaker;
    char *ca_file;
    int64_t max_connections, connect_timeout_ms, request_timeout_ms;
    int64_t poll_first_ms, poll_most_ms;
    int64_t
        long_poll_ms; /* how long the platform may delay an answer; 0: off */
    int64_t lost_after_ms;   /* of 404 answers: the job is gone */
    int64_t budget_pause_ms; /* after a 402 without Retry-After */
    char *max_cost_per_day;  /* decimal dollars, "" for none */
    char *callback_listen;   /* ADDRESS:PORT for webhook; "": none */
};

/*
 * key: the platform's token; copied, wiped at the end, never in a message.
 * name: the worker's, for pauses. On 0 the caller owns *out until
 * secutools_close, which comes after the worker's close and before bus and loop
 * end. ERR_INVALID names the key of the configuration.
 */
int secutools_open(struct secutools **out, struct bus *b, struct loop *l,
                   const struct secutools_conf *conf, const char *key,
                   const char *name, struct err *e);
void secutools_close(struct secutools *s); /* NULL is fine */

/* Its ctx is a struct secutools. */
extern const struct executor secutools_executor;

#endif
