/*
 * task_ops - operations on tasks and batches that several commands need.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_TASK_OPS_H
#define CLI_TASK_OPS_H

#include "cli/cli.h"

/* The request to cancel a task. id is borrowed. */
struct control task_ops_cancel_msg(const struct cli *c, const char *id);
/* Publishes a durable cancel; bus_publish calls fn. */
void task_ops_cancel(struct cli *c, const char *id, bus_stored_fn *fn,
                     void *ctx);

/* Prints one line on stderr about what a task waits for, if it waits. */
void task_ops_say_why_waiting(struct cli *c, const char *id);

/* Whether the task that a selector names by its id, or `last`, waits in this
 * machine's spool, where the reaper does not see it; its id. */
bool task_ops_spooled(struct cli *c, const char *selector,
                      char id[TASK_ID_SIZE]);

/*
 * The tasks of selectors, which may name batches. On RC_OK the caller owns
 * *ids, an array of {id, state}; else the exit code after the error was
 * printed.
 */
int task_ops_resolve(struct cli *c, const char *const *selectors, size_t n,
                     const char *what, json_t **ids);

/* The names of the states that --state selects, NULL: all. RC_OK, or the exit
 * code after the error was printed. */
int task_ops_states(struct cli *c, const struct arg_list *wanted, json_t **out);

/* Waits for a while until the reaper has read what was submitted before: a list
 * of tasks would lack it. */
void task_ops_catch_up(struct cli *c);

/* The rows of ask.ledger.list for the request, which it takes over; at most
 * limit, 0 for all. */
int task_ops_list(struct cli *c, json_t *request, int64_t limit, json_t **rows,
                  struct err *e);

/*
 * Waits until every task of ids is terminal, and updates the members "state".
 * begin, unless NULL, is called once no end can be missed any more, and false
 * of it ends the wait. False after the timeout (< 0: none) or ^C.
 */
bool task_ops_wait(struct cli *c, json_t *ids, int64_t timeout_ms,
                   bool (*begin)(void *ctx), void *ctx);

/*
 * On a terminal, waits a moment for the router and says what a person would
 * miss: that a task did not get the backend it wanted, or that it waits for
 * something that does not come by itself. rejection: also that it was rejected,
 * for callers that do not follow it to its end.
 */
void task_ops_say_routing(struct cli *c, const char *id, bool rejection);

#endif
