/*
 * claim_file - reads the tasks in a file and claims it.
 *
 * A file is read before it is claimed: what is still open, incomplete or not
 * wanted now is left as it is, where it is.
 *
 * Thread: any; blocks on the disk.
 */
#ifndef GATEWAYS_FOLDER_CLAIM_FILE_H
#define GATEWAYS_FOLDER_CLAIM_FILE_H

#include "gateways/folder/dir_scan.h"
#include "gateways/folder/folder_layout.h"
#include "gateways/folder/serial.h"
#include "lib/base/str.h"
#include "lib/model/task.h"

enum claim_file_state {
    CLAIM_FILE_READY,  /* claimed, and tasks are filled in */
    CLAIM_FILE_YOUNG,  /* may still be being written: read again */
    CLAIM_FILE_OPEN,   /* a process has it open for writing */
    CLAIM_FILE_SERIAL, /* a file runs in its workdir */
    CLAIM_FILE_REPORT, /* a report, no task: left alone */
    CLAIM_FILE_BUSY,   /* another file of that name is claimed: read again */
    CLAIM_FILE_BAD,    /* claimed, and no task; why tells people the reason */
    CLAIM_FILE_GONE,   /* another process has it */
    CLAIM_FILE_LATER,  /* the disk reports an error, why: read again */
};

struct claim_file_task {
    char id[TASK_ID_SIZE];
    struct str data; /* encoded, for tasks.in */
};

struct claim_file {
    /* in */
    const struct folder_layout *layout;
    struct folder_claim claim; /* its id, owner and name; digest: if known */
    char path[FOLDER_LAYOUT_CLAIM_SIZE]; /* "": it waits; out: where claimed, in
                                            the folder of running files */
    struct file_stamp stamp; /* as last seen, ino 0: never; out: as read */
    struct serial *serial;   /* NULL: other files may run in its workdir */
    bool settled;            /* unchanged for folder.settle */
    bool patient;            /* treat a file that cannot be read as young */
    /* out */
    enum claim_file_state state;
    struct claim_file_task *tasks;
    size_t n;
    struct workdirs workdirs; /* owned, if serial; READY has taken them */
    bool taken;
    bool sidecar; /* its sidecar exists: the task may be delegated, or is */
    char why[512];
};

/* Reads the file, claims it unless it is, and fills in the rest. */
void claim_file_read(struct claim_file *t);
void claim_file_release(struct claim_file *t);

#endif
