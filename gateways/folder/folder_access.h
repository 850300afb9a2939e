/*
 * folder_access - whether files can be moved through the folders of a layout.
 *
 * Thread: any; blocks on the disk.
 */
#ifndef GATEWAYS_FOLDER_FOLDER_ACCESS_H
#define GATEWAYS_FOLDER_FOLDER_ACCESS_H

#include "gateways/folder/folder_layout.h"

enum { FOLDER_PROBLEM_SIZE = 1024 }; /* of a sentence that names folders */

/* True, or why says what is wrong and what to do; else it is "". */
bool folder_access_check(const struct folder_layout *p, char *why, size_t size);
/* What an error of moving a file from waiting to running means, likewise. */
void folder_access_explain(const struct folder_layout *p, int error, char *why,
                           size_t size);

/* Whether no folder of p below its project is a symbolic link, which a commit
 * may have brought: nothing is read, moved or written through one. */
bool folder_access_is_plain(const struct folder_layout *p, char *why,
                            size_t size);

#endif
