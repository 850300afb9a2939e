/*
 * input - fetches a task's standard input from the stream INPUT, where it
 * stands in pieces if it is too large for the task itself.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_INPUT_H
#define WORKERS_LOCAL_INPUT_H

#include "lib/bus/bus.h"
#include "lib/model/task.h"

struct input_fetch;

/* Appends the input of t to fd, which must stay open, and rewinds it; then
 * calls done once, on the loop. */
struct input_fetch *input_fetch_open(struct bus *b, const struct task *t,
                                     int fd, loop_fn *done, void *ctx);
void input_fetch_close(struct input_fetch *f); /* NULL is fine; no call after */

/* Why it is not all there; "" if it is. */
const char *input_fetch_error(const struct input_fetch *f);

#endif
