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

enum take_state {
    TAKE_READY, /* its tasks stand in tasks */
    TAKE_YOUNG, /* perhaps still being written: look again */
    TAKE_BUSY,  /* another file of that name is in work: look again */
    TAKE_BAD,   /* cannot be read, and why says so for people */
    TAKE_GONE,  /* somebody else has it */
    TAKE_LATER, /* the disk refuses: look again; why says so */
};

struct take_task {
    char id[TASK_ID_SIZE];
    struct str data; /* encoded, for tasks.in */
};

struct take {
    /* in */
    const struct place *place;
    char id[TASK_ID_SIZE]; /* of the claim */
    char name[PLACE_FILE_SIZE];
    struct looks looks; /* as last seen, ino 0: never; out: as seen now */
    bool claim;         /* it still waits: rename it first */
    bool patient;       /* a file that cannot be read may yet change */
    /* out */
    enum take_state state;
    struct take_task *tasks;
    size_t n;
    bool marked; /* a marker says that its task may be delegated, or is */
    char why[512];
};

/* Does what t says and fills in the rest. */
void take_file(struct take *t);
void take_release(struct take *t);

#endif
