/*
 * dod - the definition of done: an expression over the facts of an attempt.
 *
 *   files_changed("reports/x*") >= 1 and tests.failed == 0
 *
 * Operators: or and not == != < <= > >= and parentheses. Values: whole
 * numbers, durations (20m), sizes (10K), text in "" or '', true, false.
 * docs/dod.md has the names. The empty expression is exit_code == 0;
 * one that does not mention exit_code requires 0 as well.
 *
 * An expression is true, false or unknown; unknown when a fact is missing: no
 * git, no tests recognised. Pure: the executor of the task gathers the facts.
 *
 * Thread: any.
 */
#ifndef LIB_MODEL_DOD_H
#define LIB_MODEL_DOD_H

#include "lib/base/err.h"
#include "lib/base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DOD_MAX = 1024,    /* bytes of an expression */
    DOD_CALLS_MAX = 16 /* functions it may call */
};

/* Functions with one text argument, which lives as long as the expression. */
enum dod_fn {
    DOD_FILES_CHANGED, /* number of changed files that match a glob */
    DOD_FILE_EXISTS,   /* a path or glob: 0 or 1 */
    DOD_LOG_MATCHES,   /* a pattern (lib/base/regex): 0 or 1 */
    DOD_LOG_CONTAINS,  /* a text: 0 or 1 */
};

struct dod_call {
    enum dod_fn fn;
    const char *arg;
};

/* What must be gathered while or after the task runs; all zero: nothing. */
struct dod_needs {
    struct dod_call calls[DOD_CALLS_MAX];
    size_t n_calls;
    bool exit_code; /* mentioned; if not, 0 is required */
    bool changes;   /* files changed: git looks before and after */
    bool files;     /* files that exist */
    bool log;       /* the output */
    bool tests;     /* test results in the output */
};

struct dod; /* a parsed expression */

/* Memory from pool; text must live as long. The error names the column and
 * shows the place with a caret. */
int dod_parse(const char *text, struct mem_pool *pool, const struct dod **out,
              struct err *e);
const struct dod_needs *dod_needs(const struct dod *d);

/* Parses only. */
int dod_check(const char *text, struct err *e);

#define DOD_UNKNOWN INT64_MIN

/* DOD_UNKNOWN: the fact is missing. */
struct dod_facts {
    int exit_code, signal;
    uint32_t attempt;
    int64_t duration_ms, output_bytes;
    /* If no test ran, the total is 0 and the others are unknown. */
    int64_t tests_total, tests_passed, tests_failed, tests_skipped;
    int64_t files_changed;        /* in total */
    int64_t calls[DOD_CALLS_MAX]; /* as in the needs */
    /* Why files are unknown: "not a git repository". NULL: no reason given. */
    const char *no_changes, *no_files;
};

enum dod_verdict {
    DOD_DONE,
    DOD_FAILED,   /* definitely not done */
    DOD_NO_OP,    /* exited 0, and fails only because nothing changed */
    DOD_UNPROVEN, /* exited 0, and whether it is done is unknown */
};

/*
 * Judges an attempt that ended by itself. Unless done, *part (from pool) names
 * every condition that is not true and the values seen, an exit code that is
 * not 0 first: "exit code 3; tests.failed == 0 (tests.failed is 3)"; "" if the
 * exit code is the whole reason.
 */
enum dod_verdict dod_judge(const struct dod *d, const struct dod_facts *f,
                           struct mem_pool *pool, const char **part);

#endif
