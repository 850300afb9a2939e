/*
 * dir_scan - the waiting files of a folder, in order of their names, and how
 * long each has been unchanged.
 *
 * A file is claimed only after two scans have found it unchanged, unless the
 * system can tell that nobody writes it, and it was renamed since its last
 * write: what was written in place may be opened once more.
 *
 * Thread: any; reading blocks.
 */
#ifndef GATEWAYS_FOLDER_DIR_SCAN_H
#define GATEWAYS_FOLDER_DIR_SCAN_H

#include "gateways/folder/folder_layout.h"
#include "gateways/folder/serial.h"
#include "lib/base/err.h"
#include "lib/base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { DIR_SCAN_MAX = 100000 }; /* names kept; more wait for the next scan */

/* Tells one state of a file from another. */
struct file_stamp {
    uint64_t ino;
    int64_t size, changed_ns;
};

struct file_stamp file_stamp_of(const struct stat *st);
bool file_stamp_same(const struct file_stamp *a, const struct file_stamp *b);

/* Why a file was left where it waits. */
enum left {
    LEFT_NOT,    /* not tried yet */
    LEFT_TAKEN,  /* it is being claimed, or is claimed */
    LEFT_SERIAL, /* a file runs in one of its workdirs */
    LEFT_REPORT, /* it is a report: not tried again unless it changes */
    /* Tried again at due_ms: */
    LEFT_YOUNG,  /* may still be written */
    LEFT_OPEN,   /* a process has it open for writing */
    LEFT_NAME,   /* a file of its name is among the running ones */
    LEFT_DENIED, /* the disk refuses */
};

struct waiting_file {
    const char *name;
    struct file_stamp stamp;
    int64_t since_ms; /* unchanged since, by the monotonic clock */
    bool renamed;     /* since its last write */
    enum left left;
    int64_t due_ms;           /* when to try it again */
    struct workdirs workdirs; /* owned; of LEFT_SERIAL */
};

struct dir_scan {
    struct mem_pool *pool;  /* owns everything; NULL: empty */
    struct waiting_file *v; /* by name */
    size_t n;
    uint64_t dir_ino;
};

/* On -1 *out is empty; ERR_NOT_FOUND: no such folder. */
int dir_scan_read(const struct folder_layout *p, int64_t now_ms,
                  struct dir_scan *out, struct err *e);
void dir_scan_release(struct dir_scan *s);

/* Files unchanged since the scan before keep what was known of them. */
void dir_scan_compare(struct dir_scan *now, struct dir_scan *before);
/* The file of that name; NULL: it is not there. */
struct waiting_file *dir_scan_find(const struct dir_scan *s, const char *name);

/* The paths of claimed files in the folder of running ones: a NULL-terminated
 * list in pool. */
const char **dir_scan_claims(const struct folder_layout *p,
                             struct mem_pool *pool, struct err *e);

#endif
