/*
 * write_back - carries an outcome back to where the file came from.
 *
 * The order is the promise: what is said of the outcome is on the disk before
 * the file leaves the running ones, and doing all of it again changes nothing.
 *
 * Thread: any; blocks on the disk.
 */
#ifndef GATEWAYS_FOLDER_WRITE_BACK_H
#define GATEWAYS_FOLDER_WRITE_BACK_H

#include "gateways/folder/folder_layout.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

#include <jansson.h>
#include <stdbool.h>

struct write_back {
    /* in */
    const struct folder_layout *place;
    char id[TASK_ID_SIZE];
    char name[FOLDER_LAYOUT_FILE_SIZE];
    json_t *result;    /* owned; NULL: the file could not be read */
    struct str output; /* owned */
    char why[512];     /* without a result */
    /* out */
    bool gone;     /* somebody else has carried it */
    bool ok;       /* the file is where it belongs */
    char at[4096]; /* there */
    struct err e;  /* why not */
};

/* Does it for each of the n; what ended well is durable when this returns. */
void write_back_files(struct write_back **list, size_t n);
void write_back_release(struct write_back *c);

#endif
