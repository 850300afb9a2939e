/*
 * intake - claims waiting files and publishes their tasks, in order of the
 * files' names.
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_INTAKE_H
#define GATEWAYS_FOLDER_INTAKE_H

#include "gateways/folder/claimed_file.h"

/* Claims the next files, if that is possible now. */
void intake_work(struct folder *f, int64_t now_ms);
/* Publishes the tasks of a file together with those of others, at
 * intake_flush at the latest. */
void intake_publish(struct claimed_file *c);
void intake_flush(struct folder *f);

#endif
