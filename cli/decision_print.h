/*
 * decision_print - a decision for people: the template of the cloud routing
 * rules, in English or wholly in Japanese.
 *
 * Thread: any.
 */
#ifndef CLI_DECISION_PRINT_H
#define CLI_DECISION_PRINT_H

#include "lib/base/str.h"
#include "lib/model/task.h"

#include <jansson.h>
#include <stdbool.h>

/* Whether the reader wants Japanese: LC_ALL, else LC_MESSAGES, else LANG. */
bool decision_in_japanese(void);

/* A decision and what it is about; texts are never NULL. */
struct decided {
    const char *task;                /* the command or prompt */
    const char *agent;               /* "" for none */
    const struct decision *decision; /* the decision; NULL: not known */
    const char *refusal;       /* if not known: why it never got one, or "" */
    const char *state, *waits; /* "": left out */
    const char *here; /* what the running fleet does instead; NULL: the same */
};

/* Prints the template on stdout, fit for a terminal. */
void decision_print(const struct decided *j, bool japanese);

/* The members of shunt.decision/1, all of which are there. */
json_t *decision_json(const struct decision *d);

#endif
