/*
 * write_back - moves a claimed file to its final folder, with its outcome as
 * the folder's style has it. A file that was changed after it was read is no
 * success, whatever its task was: it goes to the failed ones.
 *
 * The order is the promise: the outcome is on the disk before the file leaves
 * the running ones, and doing all of it again changes nothing.
 *
 * Thread: any; blocks on the disk.
 */
#ifndef GATEWAYS_FOLDER_WRITE_BACK_H
#define GATEWAYS_FOLDER_WRITE_BACK_H

#include "gateways/folder/dir_scan.h"
#include "gateways/folder/folder_layout.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

#include <jansson.h>
#include <stdbool.h>

struct write_back {
    /* in */
    const struct folder_layout *layout;
    struct folder_claim claim;
    char path[FOLDER_LAYOUT_CLAIM_SIZE]; /* among the running files */
    struct file_stamp stamp; /* when it was read; ino 0: not known */
    json_t *result;          /* owned; NULL: the file could not be read */
    struct str output;       /* owned */
    char why[512];           /* why not, for a file without a result */
    /* out */
    bool gone;     /* another process has moved it */
    bool changed;  /* since it was read: what ran is not what it says */
    bool ok;       /* the file is in its final folder */
    char at[4096]; /* its path there */
    struct err e;  /* otherwise, why not */
};

/* Writes back n files; those with ok set are durable when this returns. */
void write_back_files(struct write_back **list, size_t n);
void write_back_release(struct write_back *b);

#endif
