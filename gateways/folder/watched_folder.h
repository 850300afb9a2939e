/*
 * watched_folder - scans one configured folder for waiting files, and its
 * running files for claims that this process does not know.
 *
 * Changes reported by the kernel only make a scan earlier; without them it
 * comes every folder.rescan.
 *
 * Thread: the loop thread; the disk is read by threads of the loop's pool.
 */
#ifndef GATEWAYS_FOLDER_WATCHED_FOLDER_H
#define GATEWAYS_FOLDER_WATCHED_FOLDER_H

#include "gateways/folder/claim_file.h"
#include "gateways/folder/dir_scan.h"
#include "gateways/folder/folder_access.h"
#include "gateways/folder/folder_layout.h"
#include "gateways/folder/git_sync.h"

struct folder;

struct watched_folder {
    bool off; /* it cannot be used as it is configured */
    struct folder *f;
    size_t index; /* among the folder's */
    struct folder_layout layout;
    struct dir_scan scan;
    size_t next; /* the first of the scan not yet claimed */
    struct loop_watch *watch;
    uint64_t watched_ino;
    struct loop_timer *timer;
    int64_t scan_at_ms; /* when the next scan is due; 0: not set */
    int64_t scan_ms;    /* duration of the last scan */
    bool scanning, scan_again, sweeping, sweep_again;
    bool changed; /* since the last scan, while its files were claimed */
    int64_t swept_ms;
    bool swept;                        /* at least once */
    char problem[FOLDER_PROBLEM_SIZE]; /* why nothing can be claimed; "" */
    char denied[FOLDER_PROBLEM_SIZE];  /* why a file could not be; "" */
    size_t foreign; /* files that another fleet has claimed */
    char foreign_why[FOLDER_PROBLEM_SIZE];
    struct git_sync *git; /* shared with others in its checkout; NULL: none */
};

void watched_folder_start(struct watched_folder *w);
void watched_folder_close(struct watched_folder *w); /* frees it, too */

/* A file was left where it waits until due_ms. Takes t's workdirs. */
void watched_folder_left(struct watched_folder *w, const char *name,
                         struct claim_file *t, enum left left, int64_t due_ms);
/* All files of the scan are claimed: scans again if something has changed. */
void watched_folder_on_claimed_all(struct watched_folder *w);
/* Looks for claimed files that are not in memory, at most once a second. */
void watched_folder_sweep(struct watched_folder *w);
/* Does a sweep that was put off; true: it is still to come. */
bool watched_folder_sweep_again(struct watched_folder *w, int64_t now_ms);

#endif
