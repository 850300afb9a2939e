/*
 * loop - the libuv loop: one thread that owns everything, timers, signals and
 * an orderly stop.
 *
 * Thread: the loop thread only, except loop_waker_wake and the first function
 * given to loop_work. Nothing blocks once loop_run has begun.
 */
#ifndef LIB_IO_LOOP_H
#define LIB_IO_LOOP_H

#include "lib/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_timer;
struct loop_waker;
struct loop_signal;
struct loop_fd;
struct loop_poll;
struct loop_hook;
struct loop_watch;

typedef void loop_fn(void *ctx);

/* Also ignores SIGPIPE. On 0 the caller owns *out until loop_close. */
int loop_open(struct loop **out, struct err *e);

/* Runs until loop_stop; returns the rc given there. Callable again. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int rc);

/*
 * Runs until *done is true or timeout_ms (< 0: no limit) has passed; returns
 * *done. For programs that ask one question at a time. Returns early, false,
 * when loop_stop is called.
 */
bool loop_until(struct loop *l, const bool *done, int64_t timeout_ms);

/* Runs the last close callbacks, and frees l with every handle still open; NULL
 * is fine. */
void loop_close(struct loop *l);

/* Milliseconds of the monotonic clock, which steps of the wall clock do not
 * affect; not cached, not comparable across machines. Any thread. */
int64_t loop_now_ms(void);

/*
 * Calls fn when this process was stopped, or the machine suspended, for
 * least_ms or more: the loop woke so much later than it had to. For that it
 * wakes at least every 5 s; a stop may be longer by that than what is noticed.
 * fn is called before any other function of the loop learns how late it is, and
 * within loop_check_gap; a timer that it starts again is put off.
 * stopped_ms: for how long at most it did not run, by loop_now_ms, so that what
 * is due by that clock may be put off; slept_ms: beyond that, by os_boot_ms
 * alone. One fn at a time; NULL: none.
 */
typedef void loop_gap_fn(void *ctx, int64_t stopped_ms, int64_t slept_ms);
void loop_on_gap(struct loop *l, int64_t least_ms, loop_gap_fn *fn, void *ctx);
/* How often the loop wakes for that, instead of every 5 s. */
void loop_gap_period(struct loop *l, int64_t period_ms);
/* Looks now, for who is about to judge by os_boot_ms: functions that were
 * called because of a timer or a descriptor know only of a stop. */
void loop_check_gap(struct loop *l);

/*
 * Calls fn after delay_ms and then every repeat_ms (0: once). The timer is
 * freed by loop_timer_stop, also a one-shot that has fired.
 */
struct loop_timer *loop_timer_start(struct loop *l, int64_t delay_ms,
                                    int64_t repeat_ms, loop_fn *fn, void *ctx);
/* Restarts the timer with new times. */
void loop_timer_again(struct loop_timer *t, int64_t delay_ms,
                      int64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t); /* NULL is fine */

/* Calls fn on the loop thread soon after a call of loop_waker_wake; several
 * may coalesce. */
struct loop_waker *loop_waker_open(struct loop *l, loop_fn *fn, void *ctx);
void loop_waker_wake(struct loop_waker *w);  /* also from signal handlers */
void loop_waker_close(struct loop_waker *w); /* NULL is fine */

/* Calls fn at each signal signo (several may coalesce). */
struct loop_signal *loop_signal_start(struct loop *l, int signo, loop_fn *fn,
                                      void *ctx);
void loop_signal_stop(struct loop_signal *s); /* NULL is fine */
/* Changes whenever a handler is installed or removed here, so that a cached
 * list of them can be checked. */
unsigned loop_signal_changes(void);

/*
 * Calls fn while fd is readable or hung up. The descriptor stays the caller's
 * and is closed after loop_fd_stop.
 */
struct loop_fd *loop_fd_start(struct loop *l, int fd, loop_fn *fn, void *ctx);
void loop_fd_pause(struct loop_fd *f);
void loop_fd_resume(struct loop_fd *f);
/* Starts or stops calling fn while fd is writable as well. Not while paused. */
void loop_fd_writable(struct loop_fd *f, bool wanted);
void loop_fd_stop(struct loop_fd *f); /* NULL is fine */
/* Stops watching *fd and closes it. *watch may be NULL and *fd -1, and are so
 * afterwards. */
void loop_fd_close(struct loop_fd **watch, int *fd);

/* Events of a descriptor; LOOP_BROKEN is only reported, never requested. */
enum { LOOP_READABLE = 1, LOOP_WRITABLE = 2, LOOP_BROKEN = 4 };

/*
 * Calls fn whenever one of events holds. The descriptor stays the caller's,
 * and may be closed once loop_poll_stop has returned.
 */
struct loop_poll *loop_poll_start(struct loop *l, int fd, int events,
                                  void (*fn)(void *ctx, int events), void *ctx);
void loop_poll_change(struct loop_poll *p, int events);
void loop_poll_stop(struct loop_poll *p); /* NULL is fine */

/*
 * Calls fn once per iteration, before the loop sleeps: the place to flush what
 * the iteration has gathered. The newest hook is called first, so that what it
 * sends through something opened earlier leaves in the same iteration. Does not
 * keep the loop running; loop_until notices what fn changes only when the loop
 * wakes again.
 */
struct loop_hook *loop_hook_start(struct loop *l, loop_fn *fn, void *ctx);
void loop_hook_stop(struct loop_hook *h); /* NULL is fine */

/*
 * Calls work on another thread, which may block, then done on the loop thread.
 * Until done is called, what ctx points to belongs to that thread alone. Cannot
 * be cancelled: the owner of ctx waits for done.
 */
void loop_work(struct loop *l, loop_fn *work, loop_fn *done, void *ctx);

/*
 * Calls fn when something in the folder path may have changed. Only a hint: it
 * is missing if the kernel's queue overflows, and on network file systems.
 * ERR_NOT_FOUND: no such folder; ERR_UNAVAILABLE: no more watches.
 */
int loop_watch_start(struct loop_watch **out, struct loop *l, const char *path,
                     loop_fn *fn, void *ctx, struct err *e);
void loop_watch_stop(struct loop_watch *w); /* NULL is fine */

/*
 * Handles TERM and INT: calls fn with nth = 1 at the first, 2 at the second and
 * so on. With fn NULL the loop stops with rc 0. May be called again.
 */
void loop_on_term(struct loop *l, void (*fn)(void *ctx, int nth), void *ctx);

#endif
