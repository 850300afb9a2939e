/*
 * keywords - the keywords of the policy that a command has, as whole words.
 *
 * Thread: any.
 */
#ifndef ROUTER_KEYWORDS_H
#define ROUTER_KEYWORDS_H

#include "router/policy.h"

/* Finds for each row of the policy the first of its keywords in the command;
 * found has POLICY_ROWS_MAX members, NULL at first. */
void keywords_find(const char *text, const struct policy *p,
                   const struct keyword **found);

#endif
