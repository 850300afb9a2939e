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

/* Closes what is left and frees; NULL is fine. Runs last close callbacks. */
void loop_close(struct loop *l);

/* Monotonic clock, milliseconds, not cached; not comparable across machines
 * and not stopped by a step of the wall clock. */
int64_t loop_now_ms(void);

/*
 * Calls fn after delay_ms and then every repeat_ms (0: once). The timer is
 * freed by loop_timer_stop, also a one-shot that has fired.
 */
struct loop_timer *loop_timer_start(struct loop *l, int64_t delay_ms,
                                    int64_t repeat_ms, loop_fn *fn, void *ctx);
/* Sets it anew, as loop_timer_start would. */
void loop_timer_again(struct loop_timer *t, int64_t delay_ms,
                      int64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t); /* NULL is fine */

/* Calls fn on the loop thread soon after some thread called wake; calls
 * coalesce. */
struct loop_waker *loop_waker_open(struct loop *l, loop_fn *fn, void *ctx);
void loop_waker_wake(struct loop_waker *w);  /* any thread, any handler */
void loop_waker_close(struct loop_waker *w); /* NULL is fine */

/* Calls fn at each signal signo (several may coalesce). */
struct loop_signal *loop_signal_start(struct loop *l, int signo, loop_fn *fn,
                                      void *ctx);
void loop_signal_stop(struct loop_signal *s); /* NULL is fine */
/* Changes whenever a handler was installed or removed here: who keeps a list
 * of them asks whether it is still good. */
unsigned loop_signal_changes(void);

/*
 * Calls fn while fd is readable or hung up. The descriptor stays the caller's
 * and is closed after loop_fd_stop.
 */
struct loop_fd *loop_fd_start(struct loop *l, int fd, loop_fn *fn, void *ctx);
void loop_fd_pause(struct loop_fd *f);
void loop_fd_resume(struct loop_fd *f);
/* Also calls fn while fd is writable, or no longer. Not while it is paused. */
void loop_fd_writable(struct loop_fd *f, bool wanted);
void loop_fd_stop(struct loop_fd *f); /* NULL is fine */
/* Stops watching *fd and closes it; either may be none: NULL, -1, as both are
 * then. */
void loop_fd_close(struct loop_fd **watch, int *fd);

/* Of a descriptor; LOOP_BROKEN is only told, never asked for. */
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
 * Calls fn once per turn, before the loop sleeps: the place for what a turn has
 * gathered. The latest hook is called first, so that what it sends over
 * something opened earlier leaves in the same turn. Does not keep the loop
 * running; what fn changes is noticed by loop_until only when the loop wakes
 * again.
 */
struct loop_hook *loop_hook_start(struct loop *l, loop_fn *fn, void *ctx);
void loop_hook_stop(struct loop_hook *h); /* NULL is fine */

/*
 * Calls work on a thread of its own, which may block, and then done on the
 * loop thread. Between the two, what ctx points to belongs to that thread
 * alone. Cannot be called off: whoever owns ctx waits for done.
 */
void loop_work(struct loop *l, loop_fn *work, loop_fn *done, void *ctx);

/*
 * Calls fn when something in the folder path may have changed: a hint that can
 * be missing (the kernel's queue overflows, network file systems are silent).
 * ERR_NOT_FOUND: no such folder; ERR_UNAVAILABLE: no more watches.
 */
int loop_watch_start(struct loop_watch **out, struct loop *l, const char *path,
                     loop_fn *fn, void *ctx, struct err *e);
void loop_watch_stop(struct loop_watch *w); /* NULL is fine */

/*
 * What TERM and INT do. fn(ctx, n) is called with n = 1 at the first, 2 at
 * the second and so on; without fn the loop stops with rc 0. Idempotent.
 */
void loop_on_term(struct loop *l, void (*fn)(void *ctx, int nth), void *ctx);

#endif
