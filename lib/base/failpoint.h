/*
 * failpoint - named points at which a debug build (make DEBUG=1) can be made to
 * crash, to prove that nothing is lost there. Other builds contain none of it.
 *
 *   SHUNT_CRASH_AT=worker.after_claim     crashes there, the first time
 *   SHUNT_CRASH_AT=worker.after_claim#7   the seventh time
 *   SHUNT_CRASH_AT=*                      at any point, with SHUNT_CRASH_RATE
 *                                         (chances in 10,000, default 10) and
 *                                         SHUNT_CRASH_SEED
 *   SHUNT_CRASH_HOW=kill|exit             by SIGKILL (default) or by _exit
 *   SHUNT_CRASH_ONCE=FILE                 only if FILE can be created: once,
 *                                         even across restarts
 *
 * A point is named <process>.<where>; docs/reliability.md lists them.
 */
#ifndef LIB_BASE_FAILPOINT_H
#define LIB_BASE_FAILPOINT_H

#ifdef SHUNT_DEBUG
void failpoint_hit(const char *name);
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
