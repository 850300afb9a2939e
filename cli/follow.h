/*
 * follow - prints what a task prints, as it comes and without a gap, until it
 * is over.
 *
 * News may be lost: chunks are numbered, missing ones are read from the
 * stream, and a task that fell silent is looked up in the ledger.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_FOLLOW_H
#define CLI_FOLLOW_H

#include "cli/cli.h"

struct follow;

struct follow_end {
    enum state state; /* terminal */
    int exit_code;
    char reason[256];
};

/* Subscribes; do it before the task is submitted, and nothing is missed. */
int follow_open(struct follow **out, struct cli *c, const char *id,
                struct err *e);
void follow_close(struct follow *f); /* NULL is fine */

/* Prints what one attempt has written so far (0: the newest). task: what
 * the ledger's show says. */
int follow_print(struct follow *f, const json_t *task, uint32_t attempt,
                 struct err *e);

/* Whether the first ^C cancels the task; else it leaves. */
void follow_on_interrupt(struct follow *f, bool cancel);

/*
 * Prints until the task is terminal, and then what is missing. False if ^C
 * ended it before: the task goes on.
 */
bool follow_to_end(struct follow *f, struct follow_end *out);

/* The exit code of `run` for that end. */
int follow_rc(const struct follow_end *end);

#endif
