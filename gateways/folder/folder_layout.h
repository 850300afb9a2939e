/*
 * folder_layout - a watched folder: where its files wait, where they go, and
 * the names of claimed files. Pure except for folder_layout_parse, which looks
 * up the home folder.
 *
 * A file is claimed by renaming it to `.claimed-<id>.<fleet>.<host>.<digest>-`
 * and its own name in the folder of running files. Whoever succeeds owns it,
 * and the name contains the task's id: whatever is killed afterwards, the file
 * remains the same task, of the same fleet and with the same text. Where that
 * name would be too long, the file keeps its own in a folder of the name
 * without it.
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
    FOLDER_LAYOUT_FLEET_SIZE = 17,
    FOLDER_LAYOUT_HOST_SIZE = 33,
    FOLDER_LAYOUT_DIGEST_SIZE = 9,
    FOLDER_LAYOUT_NAME_MAX = 255,  /* bytes, where the disk does not say less */
    FOLDER_LAYOUT_FILE_SIZE = 256, /* of a name */
    FOLDER_LAYOUT_CLAIM_SIZE = 512, /* of a claimed file's path */
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
    bool serial;       /* no two files run in one workdir at the same time */
    bool serial_given; /* by the line, and not the style's default */
    size_t name_max;   /* bytes in the name of a file */
};

/* Who claims files: what tells its fleet from others, and its machine. */
struct folder_owner {
    char fleet[FOLDER_LAYOUT_FLEET_SIZE];
    char host[FOLDER_LAYOUT_HOST_SIZE];
};

/* What the name of a claimed file says. */
struct folder_claim {
    char id[TASK_ID_SIZE];
    struct folder_owner owner; /* "": claimed by an earlier version */
    char digest[FOLDER_LAYOUT_DIGEST_SIZE]; /* of its text; "": the same */
    char name[FOLDER_LAYOUT_FILE_SIZE];     /* its own; "": it is in a folder */
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
/* Reads "workdir" or "no" as in serial=. */
int folder_layout_read_serial(const char *value, bool *out, struct err *e);

/* Whether a file of that name holds tasks: not hidden, not temporary, of a kind
 * the style reads. */
bool folder_layout_takes(const struct folder_layout *p, const char *name);

/* The path of a claimed file in the folder of running ones. */
void folder_layout_claim_path(const struct folder_layout *p,
                              const struct folder_claim *c,
                              char out[FOLDER_LAYOUT_CLAIM_SIZE]);
/* The reverse, of that path or of its folder alone. False: not a claimed
 * file. */
bool folder_layout_read_claim(const char *path, struct folder_claim *out);
/* Which text a file has. */
void folder_layout_digest(const void *text, size_t len,
                          char out[FOLDER_LAYOUT_DIGEST_SIZE]);
/* Fills in the owner; what does not belong into a name is left out. */
void folder_layout_owner(struct folder_owner *out, const char *fleet,
                         const char *host);

/*
 * The names of what is written beside a file. A name that would be too long is
 * cut between two characters, and "~" and a hash of the whole follow.
 */
/* The name to use if name exists: "job.<8 of id>.json". */
void folder_layout_second_name(const struct folder_layout *p, const char *id,
                               const char *name,
                               char out[FOLDER_LAYOUT_FILE_SIZE]);
/* "job.result.json" of "job.json", "job.md.result.json" of "job.md". */
void folder_layout_result_name(const struct folder_layout *p, const char *name,
                               char out[FOLDER_LAYOUT_FILE_SIZE]);
/* "x.md" -> "x.md.delegated" */
void folder_layout_sidecar_name(const struct folder_layout *p, const char *name,
                                char out[FOLDER_LAYOUT_FILE_SIZE]);
/* "x.md" -> "x.md.error" */
void folder_layout_error_name(const struct folder_layout *p, const char *name,
                              char out[FOLDER_LAYOUT_FILE_SIZE]);
/* name without its last suffix. */
void folder_layout_stem(const char *name, char out[FOLDER_LAYOUT_FILE_SIZE]);

#endif
