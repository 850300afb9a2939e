/*
 * folder_layout - a watched folder: where its files wait, where they go, and
 * the names of claimed files. Pure except for folder_layout_parse, which looks
 * up the home folder.
 *
 * A file is claimed by renaming it to `.claimed-<id>-<name>` in the folder of
 * running files. Whoever succeeds owns it, and the name contains the task's id:
 * whatever is killed afterwards, the file remains the same task.
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
        200, /* bytes; its prefix and suffixes must fit as well */
    FOLDER_LAYOUT_FILE_SIZE = 256,
};

enum style {
    STYLE_JOBS,        /* jobs/queue: job files */
    STYLE_CLOUD_QUEUE, /* .cloud-queue/pending */
    STYLE_AGENT_QUEUE, /* Markdown beside done/ and failed/ */
    STYLE_INBOX,       /* codex/inbox with _done/ and run logs */
};

/* All paths are absolute. */
struct folder_layout {
    struct mem_pool *pool; /* owns the strings */
    enum style style;
    char *path; /* as configured */
    char *waiting, *running, *done, *failed;
    char *root;    /* where tasks without a workdir run */
    char *project; /* first part of generated names */
    bool pull, push;
};

/*
 * Parses a line of the configuration: PATH [STYLE] [key=value]...; a relative
 * PATH starts at cwd. On -1 e names the word and the remedy; *out needs
 * no release.
 */
int folder_layout_parse(const char *line, const char *cwd,
                        struct folder_layout *out, struct err *e);
void folder_layout_release(struct folder_layout *p);

const char *folder_layout_style_name(enum style s);

/* Whether a file of that name holds tasks: not hidden, not temporary, of a kind
 * the style reads. */
bool folder_layout_takes(const struct folder_layout *p, const char *name);

/* The name of a claimed file. */
void folder_layout_claim_name(const char *id, const char *name,
                              char out[FOLDER_LAYOUT_FILE_SIZE]);
/* The reverse; *name points into file. False: not a claimed file. */
bool folder_layout_read_claim(const char *file, char id[TASK_ID_SIZE],
                              const char **name);

/* The name to use if name exists: "job.<8 of id>.json". */
void folder_layout_second_name(const char *id, const char *name,
                               char out[FOLDER_LAYOUT_FILE_SIZE]);
/* "job.result.json" of "job.json", "job.md.result.json" of "job.md". */
void folder_layout_result_name(const char *name,
                               char out[FOLDER_LAYOUT_FILE_SIZE]);
/* "x.md" -> "x.md.delegated" */
void folder_layout_sidecar_name(const char *name,
                                char out[FOLDER_LAYOUT_FILE_SIZE + 16]);
/* name without its last suffix. */
void folder_layout_stem(const char *name, char out[FOLDER_LAYOUT_FILE_SIZE]);

#endif
