/*
 * name_counter - makes generated names differ that one person gives within a
 * minute: the second gets the suffix -2.
 *
 * Thread: any.
 */
#ifndef CLI_NAME_COUNTER_H
#define CLI_NAME_COUNTER_H

#include "fleet/fleet_dir.h"

/* Which use of that generated name this is, from 1, in the state folder; 1,
 * too, if the folder does not exist or cannot be written. */
unsigned name_counter_next(const struct fleet_dir *dir, const char *name);

#endif
