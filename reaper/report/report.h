/*
 * report - the report of a finished task or batch as text. Pure: rows in,
 * Markdown, JSON or plain text out; nothing depends on when it is rendered.
 *
 * Output of programs is escaped: no control character reaches the reader's
 * terminal, and no fence in it ends the report's own.
 *
 * Thread: any.
 */
#ifndef REAPER_REPORT_REPORT_H
#define REAPER_REPORT_REPORT_H

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "reaper/ingest/fold.h"

#include <jansson.h>
#include <stddef.h>

enum report_format { REPORT_MARKDOWN, REPORT_JSON, REPORT_TEXT };

/* By the extension: .json, .md; anything else is plain text. */
enum report_format report_format_of(const char *path);

/* One attempt, decoded. */
struct report_attempt {
    struct result result;
    bool superseded; /* claimed to be final, but is not the outcome */
    int64_t at_ms;   /* when it reached the ledger's stream */
};

/* A task with all that is known of it; NULL or 0 if unknown. */
struct report_task {
    const struct task_state *row;
    const struct task *task;
    const struct decision *decision;
    const struct report_attempt *attempts;
    size_t n_attempts;
    const struct result *outcome; /* the result of the attempt that counts */
};

/* Decodes what a row and its attempts hold; all of *out lives in pool. The
 * task's secrets are hidden. */
void report_task_fill(const struct task_state *row,
                      const struct attempt_row *attempts, size_t n,
                      struct mem_pool *pool, struct report_task *out);

void report_task(const struct report_task *t, enum report_format format,
                 struct str *out);

/* The same as JSON values, shared with the answers of the ledger. */
json_t *report_row_json(const struct task_state *row);
json_t *report_attempt_json(const struct report_attempt *a);
/* Adds what a service reports of its work: provider, model, cost, ... */
void report_set_service(json_t *o, const struct result *r);
/* Adds warnings, what did not happen as asked: of the importer and of the
 * attempt, each NULL or without any. */
void report_set_warnings(json_t *o, const struct task *t,
                         const struct result *r);
/* {at, state, note}, oldest first. */
json_t *report_timeline_json(const struct report_task *t);
/* Takes over value. */
void report_set(json_t *o, const char *key, json_t *value);
/* Sets key unless text is empty; bytes that are not UTF-8 are replaced. */
void report_set_text(json_t *o, const char *key, const char *text);
/* Sets key to RFC 3339 text unless at_ms is 0. */
void report_set_time(json_t *o, const char *key, int64_t at_ms);

/* A batch: its sums, members in the order of the batch (perhaps only the
 * first), and those that did not succeed (perhaps only the first). */
struct report_batch {
    const struct batch *batch;
    const struct task_state *const *members, *const *failed;
    size_t n_members, n_failed;
};

void report_batch(const struct report_batch *b, enum report_format format,
                  struct str *out);

#endif
