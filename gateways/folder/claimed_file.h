/*
 * claimed_file - a file that the gateway has claimed: its tasks, its phase and
 * the results it waits for. Found by the ids of its tasks.
 *
 * Each file is in the list of its phase, so that whoever advances a phase
 * visits only the files in it.
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_CLAIMED_FILE_H
#define GATEWAYS_FOLDER_CLAIMED_FILE_H

#include "gateways/folder/claim_file.h"
#include "gateways/folder/result_hint.h"
#include "lib/base/hash.h"

#include <jansson.h>
#include <sys/queue.h>

struct folder;
struct watched_folder;

enum claimed_phase {
    CLAIMED_READ,       /* its text must be read, at due_ms */
    CLAIMED_READING,    /* a thread reads it */
    CLAIMED_PUBLISH,    /* its tasks are being published */
    CLAIMED_OPEN,       /* its tasks are not finished; query at due_ms */
    CLAIMED_SOON,       /* the same, with reason to query soon */
    CLAIMED_ASKED,      /* a query is under way */
    CLAIMED_WRITE_BACK, /* all outcomes are known; written at due_ms */
    CLAIMED_WRITING,    /* a thread writes them */
    CLAIMED_PHASES
};

/* One task of a file. */
struct file_task {
    struct claimed_file *claim;
    struct file_task *next; /* in its message */
    char id[TASK_ID_SIZE];
    bool stored;  /* by the broker, or known to the reaper */
    json_t *json; /* its outcome; NULL: not finished */
    struct str data;
};

struct id_link {
    struct hash_link link;
    struct claimed_file *claim;
    char id[TASK_ID_SIZE];
};

/* What the sidecar file says. */
enum sidecar_state {
    SIDECAR_NONE,      /* there is no sidecar */
    SIDECAR_INTENT,    /* the task may be delegated */
    SIDECAR_DELEGATED, /* it was */
    SIDECAR_JOB,       /* and the platform's job id is known */
};

struct claimed_file {
    TAILQ_ENTRY(claimed_file) in_phase;
    struct folder *f;
    struct watched_folder *w;
    enum claimed_phase phase;
    char id[TASK_ID_SIZE];
    char *name;
    char *path; /* among the running files; NULL: it waits */
    char digest[FOLDER_LAYOUT_DIGEST_SIZE]; /* of its text; "": not known */
    struct workdirs workdirs; /* that it has; none: not known, or not serial */
    struct id_link link;      /* by its own id */
    struct id_link *more;     /* by ids the file gave its tasks; n of them */
    struct file_task *tasks;
    size_t n, pending; /* tasks; publications not yet stored */
    struct file_stamp stamp;
    int64_t changed_ms; /* when its text last changed or it was claimed */
    int64_t due_ms, delay_ms;
    int64_t stored_ms; /* when it was published; 0: not by this process */
    bool fresh;        /* just renamed by us: not published by anybody else */
    bool loaded;       /* its tasks' data is in memory */
    enum sidecar_state sidecar;
    struct result_hint *hints;
    struct str output;
    char why[512]; /* why it cannot be read */
    bool bad;
};

/* claim says its id and name; path: as in the struct. */
struct claimed_file *claimed_file_new(struct watched_folder *w,
                                      const struct folder_claim *claim,
                                      const char *path);
/* Its id, owner, digest and name. */
void claimed_file_claim(const struct claimed_file *c, struct folder_claim *out);
void claimed_file_to(struct claimed_file *c, enum claimed_phase phase,
                     int64_t due_ms);
/* The file a task's id belongs to; NULL: not one of ours. */
struct claimed_file *claimed_file_find(struct folder *f, const char *task);
/* Moves the tasks of a file that was read into c. */
void claimed_file_fill(struct claimed_file *c, struct claim_file *t);
/* Frees the data of its tasks. */
void claimed_file_unload(struct claimed_file *c);
/* settle: the broker may forget the results that its hints keep. */
void claimed_file_free(struct claimed_file *c, bool settle);

#endif
