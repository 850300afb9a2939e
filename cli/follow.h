/*
 * follow - prints the output of a task as it arrives and without a gap, until
 * the task has finished.
 *
 * Messages may be lost: chunks are numbered, missing ones are read from the
 * stream, and the reaper is asked about a task that has been silent.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_FOLLOW_H
#define CLI_FOLLOW_H

#include "cli/cli.h"

struct follow;

/* Subscribes. Called before the task is submitted, it misses nothing. */
int follow_open(struct follow **out, struct cli *c, const char *id,
                struct err *e);
void follow_close(struct follow *f); /* NULL is fine */

/* From now on output goes to a terminal as it is, not only its text and
 * colours. */
void follow_raw(struct follow *f);

/* Prints the output of one attempt so far (0: the newest). task: as cli_show
 * has it. */
int follow_print(struct follow *f, const json_t *task, uint32_t attempt,
                 struct err *e);

/* Whether the first ^C, or that nobody reads stdout any more, cancels the task;
 * else it ends following. */
void follow_on_interrupt(struct follow *f, bool cancel);

/* The exit code for output that could not be written: RC_OK if all was. */
int follow_output_rc(const struct follow *f);

/*
 * Prints until the task is terminal, and then what is missing. The result lives
 * as long as f. NULL if ^C ended it before: the task continues.
 */
const struct result *follow_to_end(struct follow *f);

/* The exit code of `run` after that end; of its own if the output could not be
 * written. */
int follow_rc(const struct follow *f, const struct result *r);

#endif
