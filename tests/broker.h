/*
 * broker - a real nats-server on a free port for a C test, with its store in a
 * temporary folder that is removed with it.
 */
#ifndef TESTS_BROKER_H
#define TESTS_BROKER_H

#include <stdbool.h>

struct broker;

/* Starts a server with JetStream and waits until it answers; skips the test
 * (cmocka skip()) if there is no nats-server on PATH. */
struct broker *broker_start(void);
/* The same with more lines of configuration, with or without JetStream. */
struct broker *broker_start_with(const char *more, bool jetstream);
const char *broker_url(const struct broker *b);
/* kill -9, the store and the port stay. */
void broker_kill(struct broker *b);
/* The same, but it may write first what it knows of its consumers. */
void broker_shut_down(struct broker *b);
/* Starts it again on the same port and store. */
void broker_restart(struct broker *b);
/* SIGSTOP / SIGCONT. */
void broker_freeze(struct broker *b, bool frozen);
void broker_stop(struct broker *b); /* NULL is fine */

#endif
