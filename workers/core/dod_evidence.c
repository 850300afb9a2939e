/*
 * Gathers what the definition of done asks for while the attempt runs: lines of
 * output are searched and counted as they come, what an executor finds out
 * about files is noted, and at the end dod_judge gets all of it.
 */
#include "workers/core/dod_evidence.h"

#include "lib/base/ansi.h"
#include "lib/base/glob.h"
#include "lib/base/regex.h"
#include "lib/base/str.h"
#include "lib/model/test_results.h"

#include <string.h>

struct dod_evidence {
    const struct dod *dod; /* NULL: it does not parse */
    struct err bad;
    struct dod_facts known;
    struct regex *patterns[DOD_CALLS_MAX]; /* of log_matches */
    struct ansi lines[2];                  /* of stdout, of stderr */
    struct test_results tests;
    int64_t changed;                /* so far */
    int64_t of_glob[DOD_CALLS_MAX]; /* of files_changed */
    char why[128], why_files[128];
};

static const struct dod_needs no_needs;

const struct dod_needs *
dod_evidence_needs(const struct dod_evidence *ev)
{
    return ev && ev->dod ? dod_needs(ev->dod) : &no_needs;
}

/* --- the output ----------------------------------------------------------- */

static void
on_line(void *ctx, const char *line, size_t len)
{
    struct dod_evidence *ev = ctx;
    const struct dod_needs *needs = dod_evidence_needs(ev);

    for (size_t i = 0; i < needs->n_calls; i++) {
        const char *arg = needs->calls[i].arg;
        int64_t *found = &ev->known.calls[i];

        if (*found == 1)
            continue;
        if (needs->calls[i].fn == DOD_LOG_CONTAINS)
            *found = memmem(line, len, arg, strlen(arg)) != NULL;
        else if (needs->calls[i].fn == DOD_LOG_MATCHES)
            *found = regex_finds(ev->patterns[i], line, len);
    }
    if (needs->tests)
        test_results_line(&ev->tests, line, len);
}

static void
on_output(void *ctx, enum stream stream, const void *data, size_t len)
{
    struct dod_evidence *ev = ctx;

    ansi_add(&ev->lines[stream == STREAM_STDERR], data, len, on_line, ev);
}

/* --- life ----------------------------------------------------------------- */

static void
prepare(struct dod_evidence *ev)
{
    const struct dod_needs *needs = dod_evidence_needs(ev);
    struct dod_facts *k = &ev->known;
    struct err e;

    k->tests_total = k->tests_passed = DOD_UNKNOWN;
    k->tests_failed = k->tests_skipped = DOD_UNKNOWN;
    k->files_changed = DOD_UNKNOWN;
    k->no_changes = k->no_files = "this kind of worker does not look at files";
    for (size_t i = 0; i < needs->n_calls; i++) {
        const struct dod_call *call = &needs->calls[i];

        k->calls[i] = DOD_UNKNOWN;
        if (call->fn == DOD_LOG_CONTAINS || call->fn == DOD_LOG_MATCHES)
            k->calls[i] = 0;
        if (call->fn == DOD_LOG_MATCHES &&
            regex_new(&ev->patterns[i], call->arg, &e) < 0)
            k->calls[i] = DOD_UNKNOWN; /* cannot be: dod_parse read it */
    }
}

struct dod_evidence *
dod_evidence_open(const char *dod, struct mem_pool *pool,
                  struct attempt_output *output)
{
    struct dod_evidence *ev = mem_pool_alloc(pool, sizeof *ev);

    if (dod_parse(dod, pool, &ev->dod, &ev->bad) < 0)
        ev->dod = NULL;
    prepare(ev);
    if (dod_evidence_needs(ev)->log || dod_evidence_needs(ev)->tests)
        output_tap(output, on_output, ev);
    return ev;
}

void
dod_evidence_close(struct dod_evidence *ev)
{
    if (!ev)
        return;
    for (size_t i = 0; i < DOD_CALLS_MAX; i++)
        regex_free(ev->patterns[i]);
    for (int i = 0; i < 2; i++)
        str_free(&ev->lines[i].line);
}

/* --- files ---------------------------------------------------------------- */

void
dod_evidence_changed(struct dod_evidence *ev, const char *path)
{
    const struct dod_needs *needs = dod_evidence_needs(ev);

    ev->changed++;
    for (size_t i = 0; i < needs->n_calls; i++)
        if (needs->calls[i].fn == DOD_FILES_CHANGED)
            ev->of_glob[i] += glob_match(needs->calls[i].arg, path);
}

void
dod_evidence_changes_done(struct dod_evidence *ev, const char *why)
{
    const struct dod_needs *needs = dod_evidence_needs(ev);

    if (why) {
        (void)str_copy(ev->why, sizeof ev->why, why);
        ev->known.no_changes = ev->why;
        return;
    }
    ev->known.files_changed = ev->changed;
    for (size_t i = 0; i < needs->n_calls; i++)
        if (needs->calls[i].fn == DOD_FILES_CHANGED)
            ev->known.calls[i] = ev->of_glob[i];
}

void
dod_evidence_exists(struct dod_evidence *ev, size_t call, bool yes)
{
    ev->known.calls[call] = yes;
}

void
dod_evidence_files_failed(struct dod_evidence *ev, const char *why)
{
    (void)str_copy(ev->why_files, sizeof ev->why_files, why);
    ev->known.no_files = ev->why_files;
}

/* --- the end -------------------------------------------------------------- */

/* Where no test ran none has passed, and that none failed proves nothing. */
static void
count_tests(struct dod_evidence *ev)
{
    struct dod_facts *k = &ev->known;
    struct testcounts tests;

    for (int i = 0; i < 2; i++)
        ansi_end(&ev->lines[i], on_line, ev);
    tests = test_results_now(&ev->tests);
    if (!tests.seen)
        return;
    k->tests_total = (int64_t)(tests.passed + tests.failed + tests.skipped);
    if (k->tests_total == 0)
        return;
    k->tests_passed = (int64_t)tests.passed;
    k->tests_failed = (int64_t)tests.failed;
    k->tests_skipped = (int64_t)tests.skipped;
}

enum dod_verdict
dod_evidence_judge(struct dod_evidence *ev, const struct dod_evidence_end *end,
                   struct mem_pool *pool, const char **part)
{
    if (!ev->dod) {
        *part = mem_pool_printf(pool, "it does not parse: %s", ev->bad.msg);
        return DOD_FAILED;
    }
    count_tests(ev);
    ev->known.exit_code = end->exit_code;
    ev->known.signal = end->signal;
    ev->known.attempt = end->attempt;
    ev->known.duration_ms = end->duration_ms;
    ev->known.output_bytes = end->output_bytes;
    return dod_judge(ev->dod, &ev->known, pool, part);
}
