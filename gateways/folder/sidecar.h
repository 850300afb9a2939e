/*
 * sidecar - "<name>.delegated" beside a file of an agent queue, until its
 * outcome is written back: before the task is submitted it says that it may be
 * delegated, then what is known of the platform's job. For people and their
 * scripts; what counts is the claim.
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_SIDECAR_H
#define GATEWAYS_FOLDER_SIDECAR_H

#include "gateways/folder/claimed_file.h"
#include "lib/bus/bus.h"

/* A bus_note_fn for started.*, ctx a folder. */
void sidecar_on_started(void *folder, const struct bus_note *note);
/* The reaper has answered with what outcome_delegated builds. */
void sidecar_on_delegated(struct claimed_file *c, const json_t *delegated);

#endif
