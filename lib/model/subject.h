/*
 * subject - the subjects on the bus, defined in one place (proto/SUBJECTS.md
 * lists them with senders and readers).
 *
 * Builders write into a caller's buffer of SUBJECT_SIZE. Tokens must have
 * passed subject_token_ok, or the result is a subject that nobody reads.
 *
 * Thread: any.
 */
#ifndef LIB_MODEL_SUBJECT_H
#define LIB_MODEL_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

enum { SUBJECT_SIZE = 192, SUBJECT_TOKEN_MAX = 40 };

#define SUBJECT_TASKS_IN "tasks.in"
#define SUBJECT_TASKS_BULK "tasks.bulk"
#define SUBJECT_HEARTBEATS "hb.>" /* hb.<backend>.<worker> */
#define SUBJECT_ROLL "roll"       /* Control: every worker publishes its hb */
#define SUBJECT_DONE_ALL "done.*" /* done.<task>: final Result */
#define SUBJECT_STARTED_ALL "started.*" /* started.<task>: Claim */
#define SUBJECT_CANCEL_ALL "$KV.control.cancel.*"
#define SUBJECT_LANES_ALL "$KV.control.lane.>" /* lane.<backend>.<lane> */
#define SUBJECT_LEDGER_LEASE "$KV.control.lease.ledger" /* JSON */
#define SUBJECT_FLEET_SETTINGS "$KV.fleet.settings"     /* JSON */
#define SUBJECT_ASK "ask.ledger"  /* requests: ask.ledger.<verb>, JSON */
#define SUBJECT_SYNC "sync.store" /* request: reply once all is on disk */

/* [A-Za-z0-9][A-Za-z0-9_-]{0,39}: valid between dots, as a task's id and as a
 * file name. */
bool subject_token_ok(const char *token);

/* Makes a token of any text: bad characters become '-', long text is cut, ""
 * becomes fallback. out needs SUBJECT_TOKEN_MAX + 1 bytes. */
void subject_token_from(const char *text, const char *fallback, char *out);

char *subject_task(char *out, const char *backend, const char *lane);
char *subject_result(char *out, const char *backend, const char *source);
char *subject_claim(char *out, const char *backend, const char *task);
char *subject_logs(char *out, const char *task);
char *subject_input(char *out, const char *task);
char *subject_dead(char *out, const char *process);
char *subject_cancel(char *out, const char *task);
char *subject_lane_state(char *out, const char *backend, const char *lane);
char *subject_heartbeat(char *out, const char *backend, const char *worker);
char *subject_done(char *out, const char *task);
char *subject_started(char *out, const char *task);
char *subject_batch(char *out, const char *batch);
char *subject_ask(char *out, const char *verb);
char *subject_drain(char *out, const char *backend, const char *worker);

/* Durable consumer of a lane: "<backend>_<lane>". */
char *subject_lane_durable(char *out, const char *backend, const char *lane);

/* The n-th token of subject (from 0) copied to out (SUBJECT_TOKEN_MAX + 1
 * bytes); false if it is missing, too long or not a token. */
bool subject_token_at(const char *subject, int n, char *out);

/* Whether a heartbeat on subject may be about that worker: the broker's
 * permissions guard the subject, not the content. */
bool subject_is_heartbeat_of(const char *subject, const char *backend,
                             const char *worker);

/*
 * Whether subject is the inbox of a client, "_INBOX.…", or the broker's name
 * for one of another account, "_R_.…": the only places where an answer goes.
 * Whoever asks chooses the reply subject, and the broker does not check that
 * he may publish there.
 */
bool subject_is_inbox(const char *subject);

#endif
