/*
 * policy_private - what the two halves of policy share.
 *
 *   policy.c       files, the shipped policy, looking things up
 *   policy_read.c  from YAML to the struct
 */
#ifndef ROUTER_POLICY_PRIVATE_H
#define ROUTER_POLICY_PRIVATE_H

#include "router/policy.h"

uint64_t policy_hash(const void *data, size_t len);
/* Room for n words, added in any order. */
void word_set_init(struct word_set *set, size_t n, struct mem_pool *pool);
/* False if it was there. */
bool word_set_add(struct word_set *set, const char *word);
/* Indexes the keywords. */
void policy_index(struct policy *p, struct mem_pool *pool);

/* Reads all but the version's fingerprint. */
int policy_read(const char *name, const char *text, size_t len,
                struct mem_pool *pool, struct policy *out, struct err *e);

#endif
