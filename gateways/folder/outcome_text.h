/*
 * outcome_text - the outcome of a task: read from the reaper's answer, written
 * as JSON, as a footer of Markdown or as a run log. Pure.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FOLDER_OUTCOME_TEXT_H
#define GATEWAYS_FOLDER_OUTCOME_TEXT_H

#include "lib/base/err.h"
#include "lib/base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What the reaper knows about one task. */
struct task_outcome {
    bool terminal;
    /* task state exit_code attempts backend lane provider cost_usd worker
     * queue_ms duration_ms decision{rule reason score} reason submitted_at
     * started_at finished_at report; unknown members are left out. Owned;
     * NULL unless terminal. */
    json_t *json;
    struct str output; /* all of it, or its end */
    bool cut;          /* only its end */
    json_t *delegated; /* the sidecar of a task that a platform
                        * has a job for; owned; NULL: it has none */
};

/* Reads an answer to ask.ledger.show. ERR_NOT_FOUND: the task is unknown;
 * ERR_UNAVAILABLE: the reaper could not answer. On -1 *out is empty. */
int outcome_read(const void *data, size_t len, struct task_outcome *out,
                 struct err *e);
void outcome_release(struct task_outcome *o);

/* The content of a sidecar. key: of the submission, "" before it; id of the job
 * at the platform, since and worker: "" while unknown. The caller owns it. */
json_t *outcome_delegated(const char *task, const char *key, const char *id,
                          const char *worker, const char *since);

/* The outcome of the file claimed under that id: that of its only task, or one
 * with all of them in tasks and the state of the first that did not succeed.
 * Takes over list's references. */
json_t *outcome_of_file(json_t **list, size_t n, const char *claim);
bool outcome_succeeded(const json_t *json);

/* Pretty JSON with a newline. */
void outcome_json(const json_t *json, struct str *out);
/* The lines from "---" on that are added to a Markdown file. */
void outcome_footer(const json_t *json, struct str *out);
/* "key: value" lines, and the output below them. */
void outcome_run_log(const json_t *json, const struct str *output,
                     struct str *out);

/* Whether text mentions the task's id. */
bool outcome_tells_of(const struct str *text, const char *task);

/* original, the text of a cloud-queue file, with status and result set. */
int outcome_into_json(const struct str *original, const json_t *json,
                      struct str *out, struct err *e);

#endif
