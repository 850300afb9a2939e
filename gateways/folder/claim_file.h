/*
 * claim_file - claims a file and reads the tasks in it.
 *
 * Thread: any; blocks on the disk.
 */
#ifndef GATEWAYS_FOLDER_CLAIM_FILE_H
#define GATEWAYS_FOLDER_CLAIM_FILE_H

#include "gateways/folder/dir_scan.h"
#include "gateways/folder/folder_layout.h"
#include "lib/base/str.h"
#include "lib/model/task.h"

enum claim_file_state {
    CLAIM_FILE_READY, /* its tasks stand in tasks */
    CLAIM_FILE_YOUNG, /* perhaps still being written: look again */
    CLAIM_FILE_BUSY,  /* another file of that name is in work: look again */
    CLAIM_FILE_BAD,   /* cannot be read, and why says so for people */
    CLAIM_FILE_GONE,  /* somebody else has it */
    CLAIM_FILE_LATER, /* the disk refuses: look again; why says so */
};

struct claim_file_task {
    char id[TASK_ID_SIZE];
    struct str data; /* encoded, for tasks.in */
};

struct claim_file {
    /* in */
    const struct folder_layout *place;
    char id[TASK_ID_SIZE]; /* of the claim */
    char name[FOLDER_LAYOUT_FILE_SIZE];
    struct looks looks; /* as last seen, ino 0: never; out: as seen now */
    bool claim;         /* it still waits: rename it first */
    bool patient;       /* a file that cannot be read may yet change */
    /* out */
    enum claim_file_state state;
    struct claim_file_task *tasks;
    size_t n;
    bool marked; /* a marker says that its task may be delegated, or is */
    char why[512];
};

/* Does what t says and fills in the rest. */
void claim_file_read(struct claim_file *t);
void claim_file_release(struct claim_file *t);

#endif
