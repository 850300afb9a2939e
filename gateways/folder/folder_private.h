/*
 * folder_private - the state shared by the files of the gateway.
 *
 *   folder.c          opens, runs and stops the gateway
 *   watched_folder.c  scans folders
 *   claimed_file.c    files in progress, by their tasks' ids
 *   intake.c          claims files, publishes their tasks
 *   outcomes.c        learns outcomes, has them written back
 *   folder_heartbeat.c  tells the reaper what waits, and why
 *   sidecar.c         "<name>.delegated" beside a file
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_FOLDER_PRIVATE_H
#define GATEWAYS_FOLDER_FOLDER_PRIVATE_H

#include "gateways/folder/claimed_file.h"
#include "gateways/folder/folder.h"
#include "gateways/folder/watched_folder.h"
#include "lib/base/hash.h"
#include "lib/bus/multi_msg.h"

enum { FAULTS_MAX = 16 };

struct folder {
    struct bus *bus;
    struct loop *loop;
    const struct folder_conf *conf;
    struct folder_owner owner; /* of what this gateway claims */
    struct watched_folder **v;
    size_t n;
    struct folder_fault { /* lines of the configuration that are of no use */
        char *line, *why;
    } faults[FAULTS_MAX];
    size_t n_faults;
    struct bus_consumer *results;
    struct bus_sub *started;
    struct loop_signal *usr1;
    struct loop_timer *tick, *deadline;
    TAILQ_HEAD(, claimed_file) phases[CLAIMED_PHASES];
    size_t counts[CLAIMED_PHASES];
    struct serial *serial;
    struct folder_heartbeat *heartbeat;
    struct hash_table by_id; /* struct id_link */
    size_t n_claims, loaded;
    struct multi_msg multi; /* the message being collected */
    struct file_task *multi_tasks;
    int64_t open_seen_ms; /* when CLAIMED_OPEN was last visited */
    unsigned intakes, write_backs, queries;
    unsigned jobs; /* on other threads */
    bool idle;     /* no jobs */
    bool draining, closing;
    struct proc_set *procs; /* for git; NULL: no checkout */
    struct git_sync **checkouts;
    size_t n_checkouts;
};

/* Does whatever can be done now, and sets the timer for the rest. */
void folder_work(struct folder *f);
/* Runs work on another thread, then done on this one. */
void folder_job(struct folder *f, loop_fn *work, loop_fn *done, void *ctx);
/* Every done of a job begins with this; false: discard its results. */
bool folder_job_done(struct folder *f);

#endif
