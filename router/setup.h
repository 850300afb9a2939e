/*
 * setup - what the router's configuration says, checked. Reads the policy's
 * file, nothing else.
 */
#ifndef ROUTER_SETUP_H
#define ROUTER_SETUP_H

#include "router/router.h"

/* Whether the lists of backends and lanes make sense; e names key and remedy
 * (ERR_INVALID). */
int setup_check(const struct router_conf *conf, struct err *e);

/* The policy in force: the file router.policy names, else the shipped one.
 * Everything lives in pool. */
int setup_policy(const struct router_conf *conf, struct mem_pool *pool,
                 struct policy *out, struct err *e);

#endif
