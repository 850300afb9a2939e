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
dod_evidence_needs(const struct dod_evidence *f)
{
    return f && f->dod ? dod_needs(f->dod) : &no_needs;
}

/* --- the output ----------------------------------------------------------- */

static void
on_line(void *ctx, const char *line, size_t len)
{
    struct dod_evidence *f = ctx;
    const struct dod_needs *needs = dod_evidence_needs(f);

    for (size_t i = 0; i < needs->n_calls; i++) {
        const char *arg = needs->calls[i].arg;
        int64_t *found = &f->known.calls[i];

        if (*found == 1)
            continue;
        if (needs->calls[i].fn == DOD_LOG_CONTAINS)
            *found = memmem(line, len, arg, strlen(arg)) != NULL;
        else if (needs->calls[i].fn == DOD_LOG_MATCHES)
            *found = regex_finds(f->patterns[i], line, len);
    }
    if (needs->tests)
        test_results_line(&f->tests, line, len);
}

static void
on_output(void *ctx, enum stream stream, const void *data, size_t len)
{
    struct dod_evidence *f = ctx;

    ansi_add(&f->lines[stream == STREAM_STDERR], data, len, on_line, f);
}

/* --- life ----------------------------------------------------------------- */

static void
prepare(struct dod_evidence *f)
{
    const struct dod_needs *needs = dod_evidence_needs(f);
    struct dod_facts *k = &f->known;
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
            regex_new(&f->patterns[i], call->arg, &e) < 0)
            k->calls[i] = DOD_UNKNOWN; /* it was read before: not so */
    }
}

struct dod_evidence *
dod_evidence_open(const char *dod, struct mem_pool *pool,
                  struct attempt_output *output)
{
    struct dod_evidence *f = mem_pool_alloc(pool, sizeof *f);

    if (dod_parse(dod, pool, &f->dod, &f->bad) < 0)
        f->dod = NULL;
    prepare(f);
    if (dod_evidence_needs(f)->log || dod_evidence_needs(f)->tests)
        output_tap(output, on_output, f);
    return f;
}

void
dod_evidence_close(struct dod_evidence *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < DOD_CALLS_MAX; i++)
        regex_free(f->patterns[i]);
    for (int i = 0; i < 2; i++)
        str_free(&f->lines[i].line);
}

/* --- files ---------------------------------------------------------------- */

void
dod_evidence_changed(struct dod_evidence *f, const char *path)
{
    const struct dod_needs *needs = dod_evidence_needs(f);

    f->changed++;
    for (size_t i = 0; i < needs->n_calls; i++)
        if (needs->calls[i].fn == DOD_FILES_CHANGED)
            f->of_glob[i] += glob_match(needs->calls[i].arg, path);
}

void
dod_evidence_changes_done(struct dod_evidence *f, const char *why)
{
    const struct dod_needs *needs = dod_evidence_needs(f);

    if (why) {
        (void)str_copy(f->why, sizeof f->why, why);
        f->known.no_changes = f->why;
        return;
    }
    f->known.files_changed = f->changed;
    for (size_t i = 0; i < needs->n_calls; i++)
        if (needs->calls[i].fn == DOD_FILES_CHANGED)
            f->known.calls[i] = f->of_glob[i];
}

void
dod_evidence_exists(struct dod_evidence *f, size_t call, bool yes)
{
    f->known.calls[call] = yes;
}

void
dod_evidence_files_failed(struct dod_evidence *f, const char *why)
{
    (void)str_copy(f->why_files, sizeof f->why_files, why);
    f->known.no_files = f->why_files;
}

/* --- the end -------------------------------------------------------------- */

/* Where no test ran, none has passed, and that none failed says nothing. */
static void
count_tests(struct dod_evidence *f)
{
    struct dod_facts *k = &f->known;
    struct testcounts tests;

    for (int i = 0; i < 2; i++)
        ansi_end(&f->lines[i], on_line, f);
    tests = test_results_now(&f->tests);
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
dod_evidence_judge(struct dod_evidence *f, const struct dod_evidence_end *end,
                   struct mem_pool *pool, const char **part)
{
    if (!f->dod) {
        *part = mem_pool_printf(pool, "it does not parse: %s", f->bad.msg);
        return DOD_FAILED;
    }
    count_tests(f);
    f->known.exit_code = end->exit_code;
    f->known.signal = end->signal;
    f->known.attempt = end->attempt;
    f->known.duration_ms = end->duration_ms;
    f->known.output_bytes = end->output_bytes;
    return dod_judge(f->dod, &f->known, pool, part);
}
