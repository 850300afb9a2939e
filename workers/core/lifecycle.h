/*
 * lifecycle - what follows on each event of an attempt: it is delivered, its
 * claim is found, taken or lost, something is due, its lease is to be renewed.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_LIFECYCLE_H
#define WORKERS_CORE_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

/* all_settled: a message was settled, and none is left. */
void lifecycle_open(struct worker *w, void (*all_settled)(struct worker *w));
/* Drops all attempts and messages, settling nothing. */
void lifecycle_close(struct worker *w);

/* Renews every claim that would be older than renew_ms when this is called
 * again, in pause_ms; kills what could not be renewed for too long. */
void lifecycle_renew(struct worker *w, int64_t pause_ms);

/* The worker did not run for so long: every attempt's claim is to be renewed
 * before it is judged. */
void lifecycle_resume(struct worker *w, int64_t stopped_ms, int64_t slept_ms);

/* Hands back all there is; hard: without grace. What has ended and is not
 * confirmed goes to disk. */
void lifecycle_hand_back(struct worker *w, bool hard);

#endif
