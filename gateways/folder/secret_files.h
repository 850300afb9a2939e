/*
 * secret_files - which changed files of a checkout have a secret and must not
 * be pushed.
 *
 * Thread: any; blocks while it reads files.
 */
#ifndef GATEWAYS_FOLDER_SECRET_FILES_H
#define GATEWAYS_FOLDER_SECRET_FILES_H

#include "lib/base/mask.h"

/*
 * Reads the files that git status --porcelain -z lists in status and calls
 * found with each that has a secret: its path in the checkout top, and the
 * number of the line. Secrets are those of m, those known by shape, and what a
 * line gives to a telling name. A file that cannot be read, or is too large to
 * look at, is found as well, with line 0.
 */
typedef void secret_files_fn(void *ctx, const char *path, size_t line);

void secret_files_find(const struct mask *m, const char *top,
                       const struct str *status, secret_files_fn *found,
                       void *ctx);

#endif
