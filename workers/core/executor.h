/*
 * executor - what differs between the workers: how to run one task.
 *
 * Thread: the loop thread; nothing blocks.
 */
#ifndef WORKERS_CORE_EXECUTOR_H
#define WORKERS_CORE_EXECUTOR_H

#include "lib/base/err.h"
#include "lib/model/task.h"
#include "workers/core/dod_evidence.h"

#include <stdbool.h>
#include <stdint.h>

/* What the worker gives an attempt. Valid until free. */
struct run_order {
    const struct task *task;
    const char *lane;         /* it was taken from */
    uint32_t attempt, failed; /* failed: attempts that ended in failure */
    uint64_t fence;
    const char *mark;  /* "SHUNT_RUN=<nonce>", unique to this attempt */
    const char *owner; /* "SHUNT_WORKER=...", the same in every life */
    struct sink *sink; /* where its output goes */
    /* What to gather about files before and after, if the executor can. NULL:
     * nothing. */
    struct dod_evidence *facts;
    const char *remote; /* what an earlier attempt noted, "" if nothing: its
                         * work may go on elsewhere and is to be resumed */
    /* Writes text into the claim, where whoever comes next finds it; noted is
     * called once that is durable, and not if the run ends before. One at a
     * time. */
    void (*note)(void *ctx, const char *text, void (*noted)(void *noted_ctx),
                 void *noted_ctx);
    /* The task's prompt is not needed any more: it is "" from then on. */
    void (*forget)(void *ctx);
    /* Why nothing may be begun on its lane now, or NULL: the lane was paused
     * after the task was taken. Valid until the next turn of the loop. */
    const char *(*paused)(void *ctx);
    /* Call when poll has something new to say, as the last act of a callback:
     * the run may be freed inside. Not from within start or cancel. */
    void (*changed)(void *ctx);
    void *ctx;
};

enum run_status {
    RUN_PREPARES, /* the task's own work has not begun: no limit counts yet */
    RUN_BUSY,
    RUN_CHECKS, /* it is over, and facts are gathered: none counts any more */
    RUN_DONE,
};

/* How the task's own work went; deadlines and dod are the worker's affair. */
struct outcome {
    int exit_code;        /* as a shell: 126, 127, 128+n */
    int signal;           /* that ended it; 0: none */
    uint32_t failed_step; /* counted from 1; 0: none */
    bool timed_out;       /* a step's own limit ended it */
    char reason[256];     /* "" or one sentence */
    uint64_t max_rss_bytes, cpu_ms;
    char provider[32], model[64], cost_usd[32];
    char remote_id[201];
    uint64_t queue_ms, run_ms, input_tokens, output_tokens;
    bool cost_estimated;
    /* The place would not take it now: it is handed back, not failed, and it
     * may be in vain to try again before again_ms; reason says why. */
    bool refused;
    bool
        untouched; /* and nothing of it goes on elsewhere, whatever was noted */
    int64_t again_ms;
};

struct executor {
    const char *name; /* subject token and log field: "local" */
    /* NULL, or what the claim says from the first on that may go on elsewhere,
     * before anything is begun; whoever comes next finds it as remote. */
    void (*intent)(const struct task *t, uint32_t failed, char *out,
                   size_t size);
    /* NULL, or for how long the place would still refuse a task that was handed
     * back before; 0: it may come. Asked before a claim is written, so that an
     * attempt is counted only if there is something new to say. remote: as in
     * run_order. */
    int64_t (*wait_ms)(void *ctx, const struct task *t, const char *lane,
                       const char *remote);
    /* *out is the attempt in progress, a type of the executor's own, which the
     * calls below get as run. On 0 the caller owns it until free.
     * ERR_UNAVAILABLE: nothing ran, and it may work later or elsewhere;
     * anything else is the task's failure. */
    int (*start)(void *ctx, const struct run_order *order, void **out,
                 struct err *e);
    /* Reports what callbacks have recorded; on RUN_DONE fills *out. RUN_DONE
     * means that nothing of the attempt is alive. */
    enum run_status (*poll)(void *run, struct outcome *out);
    /* Asks it to end, politely first; hard: at once. poll reports the end.
     * leave: another worker has taken it over or will; what goes on elsewhere
     * stays untouched, what runs here ends all the same. */
    void (*cancel)(void *run, bool hard, bool leave);
    void (*free)(void *run); /* ended or not; NULL is fine */
};

#endif
