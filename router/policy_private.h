/*
 * policy_private - shared by the two files of policy.
 *
 *   policy.c       files, the shipped policy, lookup
 *   policy_read.c  YAML to struct policy
 */
#ifndef ROUTER_POLICY_PRIVATE_H
#define ROUTER_POLICY_PRIVATE_H

#include "router/policy.h"

/* Makes room for n words. */
void word_set_init(struct word_set *set, size_t n, struct mem_pool *pool);
/* False if the word was already there. */
bool word_set_add(struct word_set *set, const char *word);
/* Indexes the keywords. */
void policy_index(struct policy *p, struct mem_pool *pool);

/* Reads everything except the version's fingerprint. */
int policy_read(const char *name, const char *text, size_t len,
                struct mem_pool *pool, struct policy *out, struct err *e);

#endif
