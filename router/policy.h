/*
 * policy - decide's policy from the router's configuration. Pure.
 */
#ifndef ROUTER_POLICY_H
#define ROUTER_POLICY_H

#include "router/router.h"

/* Strings live in pool or in conf. ERR_INVALID names key and remedy. */
int policy_from_conf(const struct router_conf *conf, struct mem_pool *pool,
                     struct policy *out, struct err *e);

#endif
