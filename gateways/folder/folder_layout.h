/*
 * folder_layout - a folder that is watched: where its files wait, where they
 * go, and how a file in work is called. Pure but for place_parse, which looks
 * up the home folder.
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
    PLACE_ID_LEN = 16,    /* of ids made by task_new_id */
    PLACE_NAME_MAX = 200, /* bytes; what is put around it must fit as well */
    PLACE_FILE_SIZE = 256,
};

enum style {
    STYLE_JOBS,        /* jobs/queue: job.json (seed 2) */
    STYLE_CLOUD_QUEUE, /* .cloud-queue/pending (seed 4) */
    STYLE_AGENT_QUEUE, /* Markdown beside done/ and failed/ (seed 3) */
    STYLE_INBOX,       /* codex/inbox with _done/ and run logs */
};

/* All strings owned, all paths absolute. */
struct place {
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
int place_parse(const char *line, const char *cwd, struct place *out,
                struct err *e);
void place_release(struct place *p);

const char *place_style_name(enum style s);

/* Whether a file of that name is work: not hidden, not temporary, of a kind
 * the style reads. */
bool place_takes(const struct place *p, const char *name);

/* The name of a claimed file. */
void place_claim_name(const char *id, const char *name,
                      char out[PLACE_FILE_SIZE]);
/* The reverse; *name points into file. False: it is no claimed file. */
bool place_read_claim(const char *file, char id[TASK_ID_SIZE],
                      const char **name);

/* Another name where name is taken: "job.<8 of id>.json". */
void place_second_name(const char *id, const char *name,
                       char out[PLACE_FILE_SIZE]);
/* "job.result.json" of "job.json", "job.md.result.json" of "job.md". */
void place_result_name(const char *name, char out[PLACE_FILE_SIZE]);
/* name without its last suffix. */
/* "x.md" -> "x.md.delegated" */
void place_marker_name(const char *name, char out[PLACE_FILE_SIZE + 16]);
void place_stem(const char *name, char out[PLACE_FILE_SIZE]);

#endif
