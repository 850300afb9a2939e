/*
 * secutools - hands tasks to an AI job platform, follows them, brings the
 * results home: the executor of the worker of that name.
 *
 * A job is handed over at most once. Its key stands in the claim before the
 * platform is asked (the intent), its id after; whoever resumes the task asks
 * again with the same key, or goes on with the id. A result is stored the
 * moment it is seen.
 *
 * 402, 401, 403 and a day's budget that is used up pause the lane, in words;
 * 429 pauses it until the platform's reset. What was refused so is handed
 * back and waits, and so is what is in hand of a lane that somebody pauses
 * before it was handed over.
 *
 * A cancel is carried to the platform, also after the worker has given up
 * waiting for its answer.
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
    struct platform_api_conf contract;
    struct breaker_conf gate;
    char *ca_file;
    int64_t max_connections, connect_timeout_ms, request_timeout_ms;
    int64_t poll_first_ms, poll_most_ms;
    int64_t long_poll_ms;    /* the platform may hold an answer; 0: no */
    int64_t lost_after_ms;   /* a 404 for so long: the job is gone */
    int64_t budget_pause_ms; /* after a 402 without Retry-After */
    char *max_cost_per_day;  /* decimal dollars, "" for none */
    char *callback_listen;   /* ADDRESS:PORT for hints; "": none are heard */
};

/*
 * key: the platform's token; copied, wiped at the end, in no message. name:
 * the worker's, for pauses. On 0 the caller owns *out until secutools_close,
 * which comes after the worker's close and before bus and loop end.
 * ERR_INVALID names the key of the configuration.
 */
int secutools_open(struct secutools **out, struct bus *b, struct loop *l,
                   const struct secutools_conf *conf, const char *key,
                   const char *name, struct err *e);
void secutools_close(struct secutools *s); /* NULL is fine */

/* Its ctx is a struct secutools. */
extern const struct executor secutools_executor;

#endif
