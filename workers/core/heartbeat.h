/*
 * heartbeat - tells the fleet that the worker is alive, what it runs, and
 * whether it is busy.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_HEARTBEAT_H
#define WORKERS_CORE_HEARTBEAT_H

struct worker;

void heartbeat_open(struct worker *w);
void heartbeat_close(struct worker *w);

void heartbeat_send(struct worker *w);
/* Sends one if the number of running tasks changed, or runs became short or
 * long: at once, or a little later if there are very many changes. */
void heartbeat_notify(struct worker *w);
/* Sends one soon, at a random time, so that a fleet does not answer a roll
 * call all at once. */
void heartbeat_answer_roll_call(struct worker *w);

#endif
