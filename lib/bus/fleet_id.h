/*
 * fleet_id - what tells one fleet from another: the moment its stream TASKS_IN
 * was created, as a short word.
 *
 * Thread: the loop thread, before loop_run: it blocks.
 */
#ifndef LIB_BUS_FLEET_ID_H
#define LIB_BUS_FLEET_ID_H

#include "lib/bus/bus.h"

enum { FLEET_ID_SIZE = 9 };

int fleet_id_read(struct bus *b, char out[FLEET_ID_SIZE], struct err *e);

#endif
