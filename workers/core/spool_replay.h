/*
 * spool_replay - sends the outcomes on disk that belong to no attempt in hand:
 * an earlier life of the worker left them.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_SPOOL_REPLAY_H
#define WORKERS_CORE_SPOOL_REPLAY_H

struct worker;

/* Sends all there are; at start, and each time the broker is back. Goes on at
 * once if it is under way. */
void spool_replay_start(struct worker *w);
void spool_replay_stop(struct worker *w); /* also if none is under way */

#endif
