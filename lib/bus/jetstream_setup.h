/*
 * jetstream_setup - the streams and consumers of shunt in one table.
 *
 * Only jetstream_provision creates or changes anything (`shunt provision`,
 * which `shunt up` and the Kubernetes init job call). Daemons verify what they
 * use and refuse to start on drift.
 *
 * Blocks: call before loop_run.
 */
#ifndef LIB_BUS_JETSTREAM_SETUP_H
#define LIB_BUS_JETSTREAM_SETUP_H

#include "lib/base/err.h"
#include "lib/bus/bus.h"

#include <stdbool.h>
#include <stdint.h>

/* 0: as the fleet has it (lib/bus/fleet_settings.h). */
struct jetstream_conf {
    int64_t replicas;         /* 1 on one machine, 3 in a cluster */
    int64_t max_bytes;        /* of each durable stream; -1: none */
    int64_t max_age_ms;       /* of task and result streams */
    int64_t log_retention_ms; /* of LOGS */
    int64_t log_max_bytes;    /* of LOGS */
    char **lanes;             /* "backend.lane" beside the built-in ones */
};

/* What may happen to a fleet that is there. */
struct jetstream_rules {
    bool change;       /* it may get more than it has, by conf */
    bool allow_shrink; /* and less, which may delete messages */
    bool keep;         /* where it would get less it keeps what it has */
    bool dry_run;      /* nothing is written */
    const char *by;    /* user@host, for the entry */
};

/* Called for each stream and consumer. what: "created", "updated", "ok", or "to
 * create", "to update"; changes: "field: a -> b, ...", "" if there are none. */
typedef void jetstream_report_fn(void *ctx, const char *what, const char *name,
                                 const char *changes);

/*
 * Creates what is missing, updates what differs and may be changed, and stores
 * the settings of the fleet. The error names the object and the difference;
 * ERR_CONFLICT: rules do not allow it. report may be NULL.
 */
int jetstream_provision(struct bus *b, const struct jetstream_conf *conf,
                        const struct jetstream_rules *rules,
                        jetstream_report_fn *report, void *ctx, struct err *e);

/*
 * Checks that stream exists with the configuration of the table, and so does
 * the durable, unless it is NULL. ERR_NOT_FOUND: not provisioned; ERR_INVALID:
 * drift, with field, wanted and found value; both name `shunt provision` as the
 * remedy.
 */
int jetstream_verify(struct bus *b, const char *stream, const char *durable,
                     struct err *e);

/*
 * Deletes and recreates the durable consumers that the ledger reads from, so
 * that it receives everything the streams still hold: for a ledger that lost
 * its database. After a failure some of them may be missing; calling it again
 * completes the work.
 */
int jetstream_reset_ledger(struct bus *b, struct err *e);

/* Whether the broker has ever delivered anything to one of those consumers. */
int jetstream_ledger_used(struct bus *b, bool *out, struct err *e);

/* What new claims may fill of a bucket KV_claims of max_bytes: the rest is for
 * renewals and outcomes. */
int64_t jetstream_claims_room(int64_t max_bytes);

/* The names of all streams, NULL-terminated. */
const char *const *jetstream_streams(void);

/* The built-in lanes as "backend.lane", NULL-terminated. */
const char *const *jetstream_lanes(void);

#endif
