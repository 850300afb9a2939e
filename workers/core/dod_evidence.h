/*
 * dod_evidence - what an attempt shows for its definition of done.
 *
 * The worker opens them before the attempt starts; an executor that can look
 * at files is asked to, in its order. Nothing is gathered that the expression
 * does not ask for: for most tasks there is nothing to do.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_DOD_EVIDENCE_H
#define WORKERS_CORE_DOD_EVIDENCE_H

#include "lib/model/dod.h"
#include "workers/core/output.h"

struct facts;

/* Reads the output that goes to sink from now on. Memory from pool, which must
 * live until they are closed, as must the text. One that does not parse is
 * judged as failed. */
struct facts *facts_open(const char *dod, struct mem_pool *pool,
                         struct sink *sink);
void facts_close(struct facts *f); /* NULL is fine */

/* Of NULL: nothing. */
const struct dod_needs *facts_needs(const struct facts *f);

/* --- what an executor tells -------------------------------------------- */

/* A file was changed; its path is relative to the workdir. */
void facts_changed(struct facts *f, const char *path);
/* That were all of them; or, with why, it could not be found out. */
void facts_changes_done(struct facts *f, const char *why);

/* The answer to the call of that number in the needs. */
void facts_exists(struct facts *f, size_t call, bool yes);
/* Files that exist could not be looked for. */
void facts_files_failed(struct facts *f, const char *why);

/* --- the end -------------------------------------------------------------- */

/* What the worker knows by itself. */
struct facts_end {
    int exit_code, signal;
    uint32_t attempt;
    int64_t duration_ms, output_bytes;
};

/* As dod_judge. */
enum dod_verdict facts_judge(struct facts *f, const struct facts_end *end,
                             struct mem_pool *pool, const char **part);

#endif
