/*
 * folder_list - folders that were added to a running fleet: a file with their
 * lines of configuration, each with the folder that relative paths start at.
 *
 * `shunt up` writes it, and the gateway reads it at its start and when it is
 * told to. It says what is watched besides the configuration.
 *
 * Thread: any; blocks on the disk.
 */
#ifndef GATEWAYS_FOLDER_FOLDER_LIST_H
#define GATEWAYS_FOLDER_FOLDER_LIST_H

#include "lib/base/err.h"

#include <jansson.h>

/* An array of {line, from}, empty if there is no such file. On 0 the caller
 * owns *out. */
int folder_list_read(const char *path, json_t **out, struct err *e);
int folder_list_write(const char *path, const json_t *list, struct err *e);

#endif
