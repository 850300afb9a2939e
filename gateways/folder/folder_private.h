/*
 * folder_private - what the parts of the gateway share.
 *
 *   folder.c   opens, looks at folders, stops
 *   claimed.c   files in work, found by their tasks' ids
 *   intake.c   claims files, publishes their tasks
 *   returns.c  learns how tasks ended, carries it back
 *   marker.c   says beside a file that an AI platform has its task
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_FOLDER_PRIVATE_H
#define GATEWAYS_FOLDER_FOLDER_PRIVATE_H

#include "gateways/folder/claim_file.h"
#include "gateways/folder/dir_scan.h"
#include "gateways/folder/folder.h"
#include "gateways/folder/folder_layout.h"
#include "gateways/folder/git_sync.h"
#include "gateways/folder/write_back.h"
#include "lib/base/hash.h"
#include "lib/bus/multi_msg.h"

#include <jansson.h>

enum {
    TAKE_BATCH = 64,   /* files per visit to the disk */
    LOADED_MAX = 1000, /* claims whose tasks' text is in memory */
    CARRY_BATCH = 32,
    CARRY_JOBS = 3,
    ASKS_MAX = 32, /* questions to the ledger at once */
};

enum file_phase {
    PHASE_READ,    /* its text is wanted, at due_ms */
    PHASE_READING, /* a thread has it */
    PHASE_PUBLISH, /* its tasks are on their way to the broker */
    PHASE_OPEN,    /* its tasks are under way; asked about at due_ms */
    PHASE_SOON,    /* the same, with reason to ask soon */
    PHASE_ASKED,   /* the ledger was asked */
    PHASE_CARRY,   /* all is known; carried back at due_ms */
    PHASE_CARRYING,
    N_PHASES
};

/* One task of a file. */
struct file_task {
    struct claimed_file *claim;
    struct file_task *next; /* in its message */
    char id[TASK_ID_SIZE];
    bool stored;  /* by the broker, or known to the ledger */
    json_t *json; /* how it ended; NULL: it has not */
    struct str data;
};

/* A result was heard of, in a message that is kept. */
struct hint {
    struct hint *next;
    struct heard *heard;
    int64_t since_ms;
};

struct id_link {
    struct hash_link link;
    struct claimed_file *claim;
    char id[TASK_ID_SIZE];
};

/* What its marker says. */
enum marked {
    MARKED_NOT,    /* there is none */
    MARKED_INTENT, /* its task may be delegated */
    MARKED_AWAY,   /* it was */
    MARKED_JOB,    /* and the platform's name of the job is known */
};

/* A file in work. */
struct claimed_file {
    struct claimed_file *prev, *next; /* ring of its phase */
    struct folder *f;
    struct watched_folder *w;
    enum file_phase phase;
    char id[TASK_ID_SIZE];
    char *name;
    struct id_link link;  /* by its own id */
    struct id_link *more; /* by ids the file gave its tasks; n of them */
    struct file_task *parts;
    size_t n, waits; /* parts; publications not yet stored */
    struct looks looks;
    int64_t changed_ms; /* its text last changed, or it was taken */
    int64_t due_ms, delay_ms;
    int64_t stored_ms; /* published then; 0: not by us */
    bool fresh;        /* we have just renamed it: nobody published it */
    bool waiting;      /* not yet renamed */
    bool loaded;       /* data is in memory */
    enum marked marked;
    struct hint *hints;
    struct str output;
    char why[512]; /* it cannot be read */
    bool bad;
};

/* A folder, and what is known of it. */
struct watched_folder {
    struct folder *f;
    struct folder_layout place;
    struct listing listing;
    size_t next; /* of the listing, not yet taken */
    struct loop_watch *watch;
    uint64_t watched_ino;
    struct loop_timer *look;
    int64_t look_at_ms; /* when it is due; 0: not set */
    int64_t look_ms;    /* what the last look took */
    bool looking, look_again, sweeping, sweep_again;
    bool changed; /* since the last look, while its files were being taken */
    int64_t swept_ms;
    bool missing;              /* said so already */
    struct git_sync *checkout; /* shared with others in it; NULL: none */
};

struct folder {
    struct bus *bus;
    struct loop *loop;
    const struct folder_conf *conf;
    struct watched_folder *v;
    size_t n;
    struct bus_consumer *results;
    struct bus_sub *started;
    struct loop_timer *tick, *deadline;
    struct claimed_file rings[N_PHASES]; /* heads */
    size_t counts[N_PHASES];
    struct hash_table by_id; /* struct id_link */
    size_t n_claims, loaded;
    struct multi_msg bulk; /* the message that is being made, of bulk_parts */
    struct file_task *bulk_parts;
    int64_t open_seen_ms; /* the last look at all open ones */
    unsigned taking, carrying, asking;
    unsigned jobs; /* on other threads */
    bool idle;     /* none */
    bool draining, closing;
    struct proc_set *procs; /* for git; NULL: no checkout */
    struct git_sync **checkouts;
    size_t n_checkouts;
};

/* --- claimed.c -------------------------------------------------------------
 */

struct claimed_file *claimed_file_new(struct watched_folder *w, const char *id,
                                      const char *name, bool waiting);
void claimed_file_to(struct claimed_file *c, enum file_phase phase,
                     int64_t due_ms);
/* The first claim a task's id belongs to; NULL: none of ours. */
struct claimed_file *claimed_file_find(struct folder *f, const char *task);
/* Takes over what a read file says. */
void claimed_file_fill(struct claimed_file *c, struct claim_file *t);
void claimed_file_unload(struct claimed_file *c); /* forgets the text */
/* settle: what was heard about it may be forgotten by the broker. */
void claimed_file_free(struct claimed_file *c, bool settle);

/* --- folder.c ------------------------------------------------------------- */

/* Does whatever can be done now, and sets the timer for the rest. */
void folder_work(struct folder *f);
void folder_job(struct folder *f, loop_fn *work, loop_fn *done, void *ctx);
/* Every done of a job begins with this; false: forget its results. */
bool folder_job_done(struct folder *f);
void folder_look_soon(struct watched_folder *w, int64_t delay_ms);
/* All that was seen is taken: looks again if something has changed. */
void folder_taken(struct watched_folder *w);
void folder_sweep(struct watched_folder *w);

/* --- intake.c ------------------------------------------------------------- */

void intake_work(struct folder *f, int64_t now_ms);
/* The tasks of a claim leave with those of others, by intake_flush at the
 * latest. */
void intake_publish(struct claimed_file *c);
void intake_flush(struct folder *f);

/* --- returns.c ------------------------------------------------------------ */

void outcomes_on_result(void *folder, struct bus_msg *m);
/* c is done with, or (settle false) we stop: so are its hints. */
void outcomes_forget(struct claimed_file *c, bool settle);
void outcomes_work(struct folder *f, int64_t now_ms);

/* --- marker.c --------------------------------------------------------------
 */

/*
 * The marker of seed 3 beside an agent queue's file, until it is carried back:
 * that its task may be delegated, before it is submitted; then what is known of
 * the job. For people and their scripts; what counts is the claim.
 */
/* A bus_note_fn for started.*, ctx a folder. */
void sidecar_on_started(void *folder, const struct bus_note *note);
/* The ledger has said what outcome_away holds. */
void sidecar_on_delegated(struct claimed_file *c, const json_t *away);

#endif
