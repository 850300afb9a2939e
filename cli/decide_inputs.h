/*
 * decide_inputs - what decide() is given by commands: the router's policy, and
 * the facts of a running fleet.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_DECIDE_INPUTS_H
#define CLI_DECIDE_INPUTS_H

#include "cli/cli.h"
#include "router/decide.h"

/*
 * Reads the policy from the given file, else from the configuration's
 * router.policy, else takes the shipped one; it lives in c->pool. RC_OK, or the
 * exit code after the error was printed.
 */
int decide_inputs_policy(struct cli *c, const char *given, struct policy *out);

/* Asks the reaper for the facts of the running fleet, as the router would see
 * them; c is connected, and they live in c->pool. */
int decide_inputs_ask(struct cli *c, struct routing_facts *out, struct err *e);
/* Connects and does the same. RC_OK, or the exit code after the error was
 * printed. */
int decide_inputs_facts(struct cli *c, struct routing_facts *out);

#endif
