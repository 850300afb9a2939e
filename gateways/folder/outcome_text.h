/*
 * outcome_text - what is said of a task that has ended: read from the ledger's
 * answer, written as JSON, as a footer of Markdown, as a run log. Pure.
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

/* What the ledger knows of one task. */
struct task_outcome {
    bool terminal;
    /* task state exit_code attempts backend lane provider cost_usd worker
     * queue_ms duration_ms decision{rule reason score} reason submitted_at
     * started_at finished_at report; what is not known is left out. Owned;
     * NULL unless terminal. */
    json_t *json;
    struct str output; /* the end of it, or all */
    bool cut;          /* only the end */
    json_t *away;      /* what a marker says of a task that is at a platform,
                        * with its job's id there; owned; NULL: it is not */
};

/* Reads an answer to ask.ledger.show. ERR_NOT_FOUND: it knows no such task;
 * ERR_UNAVAILABLE: it could not say. On -1 *out is empty. */
int outcome_read(const void *data, size_t len, struct task_outcome *out,
                 struct err *e);
void outcome_release(struct task_outcome *o);

/* What a marker says. key: of the submission, "" before there is one; id: of
 * the job at the platform, since and worker: "" while not known. The caller
 * owns it. */
json_t *outcome_away(const char *task, const char *key, const char *id,
                     const char *worker, const char *since);

/* One for the file claimed under that id: that of its only task, or one with
 * all of them in tasks and the state of the first that did not succeed. Takes
 * list's references. */
json_t *outcome_of_file(json_t **list, size_t n, const char *claim);
bool outcome_succeeded(const json_t *json);

/* Pretty JSON with a newline. */
void outcome_json(const json_t *json, struct str *out);
/* The lines from "---" on that are added to a Markdown file. */
void outcome_footer(const json_t *json, struct str *out);
/* "key: value" lines, and the output below them. */
void outcome_run_log(const json_t *json, const struct str *output,
                     struct str *out);

/* Whether text already tells of the task. */
bool outcome_tells_of(const struct str *text, const char *task);

/* original, the text of a cloud-queue file, with status and result set. */
int outcome_into_json(const struct str *original, const json_t *json,
                      struct str *out, struct err *e);

#endif
