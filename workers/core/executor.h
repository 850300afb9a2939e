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
    struct attempt_output *output;
    struct bus *bus; /* the worker's, for input.<task> */
    /* What the definition of done asks about files, for an executor that can
     * look at them before and after. NULL: nothing. */
    struct dod_evidence *evidence;
    const char *remote; /* what an earlier attempt noted, "" if nothing: its
                         * work may go on elsewhere and is to be resumed */
    /* Writes text into the claim, where the next attempt finds it. noted is
     * called once that is durable, and not if the run ends before. One at a
     * time. */
    void (*note)(void *ctx, const char *text, void (*noted)(void *noted_ctx),
                 void *noted_ctx);
    /* Adds a sentence to the result: what did not happen as asked. Copied. */
    void (*warn)(void *ctx, const char *text);
    /* Frees the task's prompt, which is not needed any more: it is "" then. */
    void (*forget)(void *ctx);
    /* Why nothing may start on its lane now, or NULL: the lane was paused after
     * the task was taken. Valid until the next turn of the loop. */
    const char *(*paused)(void *ctx);
    /* Call when poll has something new to say, as the last act of a callback:
     * the run may be freed inside. Not from within start or cancel. */
    void (*changed)(void *ctx);
    void *ctx;
};

enum run_status {
    RUN_PREPARES, /* the task's own work has not begun: no limit counts yet */
    RUN_BUSY,
    RUN_CHECKS, /* it is over, evidence is gathered: no limit counts any more */
    RUN_DONE,
};

/* How the task's own work went. Limits and the definition of done are the
 * worker's affair. */
struct outcome {
    int exit_code;        /* as a shell: 126, 127, 128+n */
    bool no_exit_code;    /* it ended without one */
    int signal;           /* that ended it; 0: none */
    uint32_t failed_step; /* counted from 1; 0: none */
    bool timed_out;       /* a step's own limit ended it */
    char reason[256];     /* "" or one sentence */
    char unproven[256];   /* what it was to leave behind and did not; or "" */
    uint64_t max_rss_bytes, cpu_ms;
    char provider[32], model[64], cost_usd[32];
    char remote_id[201];
    uint64_t queue_ms, run_ms, input_tokens, output_tokens;
    bool cost_estimated;
    /* The platform would not take it now: it is handed back, not failed, and
     * trying again before again_ms may be in vain; reason says why. */
    bool refused;
    bool untouched; /* nothing of it goes on elsewhere, whatever was noted */
    int64_t again_ms;
};

struct executor {
    const char *name; /* subject token and log field: "local" */
    /* NULL, or writes what the claim notes from the start about work that may
     * go on elsewhere, before any has begun; the next attempt gets it as
     * remote. */
    void (*intent)(const struct task *t, uint32_t failed, char *out,
                   size_t size);
    /* NULL, or returns for how long the platform would still refuse a task that
     * was handed back before; 0: it may start. Asked before a claim is written,
     * so that a refusal that is known does not count as an attempt. remote: as
     * in run_order. */
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
     * leave: another worker has taken it over or will. What goes on elsewhere
     * is left alone then; what runs here ends all the same. */
    void (*cancel)(void *run, bool hard, bool leave);
    /* NULL, or: this process has not run for ms, which its limits for the run
     * are not to count. */
    void (*put_off)(void *run, int64_t ms);
    void (*free)(void *run); /* ended or not; NULL is fine */
};

#endif
