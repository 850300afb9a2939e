/*
 * routing - what commands that judge tasks judge by: the router's policy, and
 * the facts of a fleet.
 *
 * Thread: the loop thread.
 */
#ifndef CLI_ROUTING_H
#define CLI_ROUTING_H

#include "cli/cli.h"
#include "router/decide.h"

/*
 * The policy of the file named given, else of router.policy of the
 * configuration, else the shipped one; lives in c->pool. RC_OK, or it was said
 * what is wrong.
 */
int routing_policy(struct cli *c, const char *given, struct policy *out);

/* The facts of the running fleet, as the router would see them; live in
 * c->pool. RC_OK, or it was said what is wrong. */
int routing_facts(struct cli *c, struct routing_facts *out);

#endif
