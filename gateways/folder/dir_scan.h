/*
 * dir_scan - the files that wait in a folder, in order of their names, and how
 * long each has been seen unchanged.
 *
 * A file is taken only after two looks have seen it alike: what is still being
 * written grows in between.
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

enum { DIR_SCAN_MAX = 100000 }; /* names kept; more wait for the next look */

/* What tells one state of a file from another. */
struct looks {
    uint64_t ino;
    int64_t size, changed_ns;
};

struct waiting_file {
    const char *name;
    struct looks looks;
    int64_t since_ms; /* seen like that since, by the monotonic clock */
};

struct listing {
    struct mem_pool *pool;  /* owns everything; NULL: empty */
    struct waiting_file *v; /* by name */
    size_t n;
    size_t long_names; /* left out: more than FOLDER_LAYOUT_NAME_MAX bytes */
    uint64_t dir_ino;
};

/* On -1 *out is empty; ERR_NOT_FOUND: no such folder. */
int dir_scan_read(const struct folder_layout *p, int64_t now_ms,
                  struct listing *out, struct err *e);
void dir_scan_release(struct listing *l);

/* Lets what looks as it did in before keep its time. */
void dir_scan_compare(struct listing *now, const struct listing *before);

/* The names of claimed files, as they are: a NULL-terminated list in pool. */
const char **dir_scan_claims(const struct folder_layout *p,
                             struct mem_pool *pool, struct err *e);

#endif
