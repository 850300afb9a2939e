/*
 * dir_scan - the waiting files of a folder, in order of their names, and how
 * long each has been unchanged.
 *
 * A file is claimed only after two scans have found it unchanged: one that is
 * still being written grows in between.
 *
 * Thread: any; reading blocks.
 */
#ifndef GATEWAYS_FOLDER_DIR_SCAN_H
#define GATEWAYS_FOLDER_DIR_SCAN_H

#include "gateways/folder/folder_layout.h"
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

struct waiting_file {
    const char *name;
    struct file_stamp stamp;
    int64_t since_ms; /* unchanged since, by the monotonic clock */
};

struct dir_scan {
    struct mem_pool *pool;  /* owns everything; NULL: empty */
    struct waiting_file *v; /* by name */
    size_t n;
    size_t long_names; /* ignored: more than FOLDER_LAYOUT_NAME_MAX bytes */
    uint64_t dir_ino;
};

/* On -1 *out is empty; ERR_NOT_FOUND: no such folder. */
int dir_scan_read(const struct folder_layout *p, int64_t now_ms,
                  struct dir_scan *out, struct err *e);
void dir_scan_release(struct dir_scan *s);

/* Files unchanged since the scan before keep their since_ms. */
void dir_scan_compare(struct dir_scan *now, const struct dir_scan *before);

/* The full names of claimed files: a NULL-terminated list in pool. */
const char **dir_scan_claims(const struct folder_layout *p,
                             struct mem_pool *pool, struct err *e);

#endif
