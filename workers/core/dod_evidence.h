/*
 * dod_evidence - the evidence of an attempt for its definition of done.
 *
 * The worker opens it before the attempt starts; an executor that can look at
 * files finds it in its order. Nothing is gathered that the expression does not
 * ask for: for most tasks there is nothing to do.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_DOD_EVIDENCE_H
#define WORKERS_CORE_DOD_EVIDENCE_H

#include "lib/model/dod.h"
#include "workers/core/output.h"

struct dod_evidence;

/* Reads what goes to output from now on. Memory from pool, which must
 * live until they are closed, as must the text. One that does not parse is
 * judged as failed. */
struct dod_evidence *dod_evidence_open(const char *dod, struct mem_pool *pool,
                                       struct attempt_output *output);
void dod_evidence_close(struct dod_evidence *ev); /* NULL is fine */

/* Of NULL: nothing. */
const struct dod_needs *dod_evidence_needs(const struct dod_evidence *ev);

/* --- from an executor ----------------------------------------------------- */

/* A file was changed; its path is relative to the workdir. */
void dod_evidence_changed(struct dod_evidence *ev, const char *path);
/* All changes were reported; or, with why, they could not be found out. */
void dod_evidence_changes_done(struct dod_evidence *ev, const char *why);

/* Whether there is a file, for the call of that number in the needs. */
void dod_evidence_exists(struct dod_evidence *ev, size_t call, bool yes);
/* Whether files exist could not be found out. */
void dod_evidence_files_failed(struct dod_evidence *ev, const char *why);

/* --- the end -------------------------------------------------------------- */

/* Evidence of the worker's own. */
struct dod_evidence_end {
    int exit_code, signal;
    uint32_t attempt;
    int64_t duration_ms, output_bytes;
};

/* As dod_judge. */
enum dod_verdict dod_evidence_judge(struct dod_evidence *ev,
                                    const struct dod_evidence_end *end,
                                    struct mem_pool *pool, const char **part);

#endif
