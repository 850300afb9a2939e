/*
 * task_ops - what several commands do to tasks and batches.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_TASK_OPS_H
#define CLI_TASK_OPS_H

#include "cli/cli.h"

/* Publishes a durable cancel; fn as bus_publish calls it. */
void task_ops_cancel(struct cli *c, const char *id, bus_stored_fn *fn,
                     void *ctx);

/* One line on stderr about a task that has not started: no worker on its
 * lane, held, waiting for others. Nothing if there is nothing to say. */
void task_ops_say_why_waiting(struct cli *c, const char *id);

/* Whether the task a selector names by its id (or last) waits in our own
 * spool, which no ledger knows of; its id. */
bool task_ops_spooled(const struct cli *c, const char *selector,
                      char id[TASK_ID_SIZE]);

/*
 * The tasks behind selectors, batches included. On RC_OK the caller owns
 * *ids, an array of {id, state}; else it was said what is wrong.
 */
int task_ops_resolve(struct cli *c, const char *const *selectors, size_t n,
                     const char *what, json_t **ids);

/* All rows of ask.ledger.list for that request (taken over), limit 0: all. */
int task_ops_list(struct cli *c, json_t *request, int64_t limit, json_t **rows,
                  struct err *e);

/*
 * Waits until every task of ids is terminal; members "state" are brought up
 * to date. False at the timeout (< 0: none) or when interrupted.
 */
bool task_ops_wait(struct cli *c, json_t *ids, int64_t timeout_ms);

#endif
