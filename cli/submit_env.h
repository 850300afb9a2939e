/*
 * submit_env - what a task takes along of the environment it is submitted from:
 * variables, umask and standard input.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_SUBMIT_ENV_H
#define CLI_SUBMIT_ENV_H

#include "cli/args.h"
#include "cli/cli.h"

/*
 * Adds the variables that travel (lib/base/session_vars.h, and submit.env of
 * the configuration) and the umask, where they differ from those of this
 * machine's fleet; nothing for a task with clean_env.
 */
int submit_env_capture(struct cli *c, struct task *t, struct err *e);
void submit_env_release(void); /* at the end of the program */

/*
 * Keeps secrets out of the task: values of --env-secret and what looks like a
 * secret in its environment go to the secret file of this machine's fleet.
 * Called once the task has its id, before it is spooled.
 */
int submit_env_hide_secrets(struct cli *c, struct task *t, struct err *e);

/* Setters of --env-all, --env-secret and --stdin. */
int submit_env_set_all(const struct arg_edit *a, struct err *e);
int submit_env_set_secret(const struct arg_edit *a, struct err *e);
int submit_env_set_stdin(const struct arg_edit *a, struct err *e);

/* Stores input that is too large for the task itself; before that is sent. */
int submit_env_send_input(struct cli *c, const struct task *t, struct err *e);

/* Says that input which is there is not sent. */
void submit_env_note_stdin(const struct cli *c, const struct task *t);

#endif
