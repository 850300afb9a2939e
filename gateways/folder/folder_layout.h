/*
 * folder_layout - a folder that is watched: where its files wait, where they
 * go, and how a file in work is called. Pure but for folder_layout_parse, which
 * looks up the home folder.
 *
 * A file is claimed by renaming it to `.claimed-<id>-<name>` in the folder of
 * running files. Who has the name has the work, and the task's id stands in
 * it: whatever is killed afterwards, the file is the same task for ever.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FOLDER_FOLDER_LAYOUT_H
#define GATEWAYS_FOLDER_FOLDER_LAYOUT_H

#include "lib/base/err.h"
#include "lib/model/task.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    FOLDER_LAYOUT_ID_LEN = 16, /* of ids made by task_new_id */
    FOLDER_LAYOUT_NAME_MAX =
        200, /* bytes; what is put around it must fit as well */
    FOLDER_LAYOUT_FILE_SIZE = 256,
};

enum style {
    STYLE_JOBS,        /* jobs/queue: job.json (seed 2) */
    STYLE_CLOUD_QUEUE, /* .cloud-queue/pending (seed 4) */
    STYLE_AGENT_QUEUE, /* Markdown beside done/ and failed/ (seed 3) */
    STYLE_INBOX,       /* codex/inbox with _done/ and run logs */
};

/* All strings owned, all paths absolute. */
struct folder_layout {
    enum style style;
    char *path; /* as configured */
    char *waiting, *running, *done, *failed;
    char *root;    /* where tasks run that name no folder */
    char *project; /* first part of generated names */
    bool pull, push;
};

/*
 * Reads a line of the configuration: PATH [STYLE] [key=value]...; cwd is what
 * a relative PATH begins at. On -1 e names the word and the remedy; *out needs
 * no release.
 */
int folder_layout_parse(const char *line, const char *cwd,
                        struct folder_layout *out, struct err *e);
void folder_layout_release(struct folder_layout *p);

const char *folder_layout_style_name(enum style s);

/* Whether a file of that name is work: not hidden, not temporary, of a kind
 * the style reads. */
bool folder_layout_takes(const struct folder_layout *p, const char *name);

/* The name of a claimed file. */
void folder_layout_claim_name(const char *id, const char *name,
                              char out[FOLDER_LAYOUT_FILE_SIZE]);
/* The reverse; *name points into file. False: it is no claimed file. */
bool folder_layout_read_claim(const char *file, char id[TASK_ID_SIZE],
                              const char **name);

/* Another name where name is taken: "job.<8 of id>.json". */
void folder_layout_second_name(const char *id, const char *name,
                               char out[FOLDER_LAYOUT_FILE_SIZE]);
/* "job.result.json" of "job.json", "job.md.result.json" of "job.md". */
void folder_layout_result_name(const char *name,
                               char out[FOLDER_LAYOUT_FILE_SIZE]);
/* name without its last suffix. */
/* "x.md" -> "x.md.delegated" */
void folder_layout_sidecar_name(const char *name,
                                char out[FOLDER_LAYOUT_FILE_SIZE + 16]);
void folder_layout_stem(const char *name, char out[FOLDER_LAYOUT_FILE_SIZE]);

#endif
