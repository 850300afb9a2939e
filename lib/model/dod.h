/*
 * dod - the definition of done: an expression over the facts of an attempt.
 *
 *   files_changed("reports/x*") >= 1 and tests.failed == 0
 *
 * Operators: or and not == != < <= > >= and parentheses. Values: whole
 * numbers, durations (20m), sizes (10K), text in "" or '', true, false.
 * docs/dod.md has the names. The empty expression is exit_code == 0 (seed 2);
 * one that does not mention exit_code asks for 0 as well.
 *
 * An expression may be true, false or unknown, when what it needs could not
 * be found out: no git, no tests recognised. Pure: the facts are gathered by
 * whoever runs the task.
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

/* What is called with a text, which lives as long as the expression. */
enum dod_fn {
    DOD_FILES_CHANGED, /* of a glob: how many */
    DOD_FILE_EXISTS,   /* of a path or glob: 0 or 1 */
    DOD_LOG_MATCHES,   /* of a pattern (lib/base/regex): 0 or 1 */
    DOD_LOG_CONTAINS,  /* of a text: 0 or 1 */
};

struct dod_call {
    enum dod_fn fn;
    const char *arg;
};

/* What must be gathered while or after the task runs; all zero: nothing. */
struct dod_needs {
    struct dod_call calls[DOD_CALLS_MAX];
    size_t n_calls;
    bool exit_code; /* mentions it: without that, 0 is asked for */
    bool changes;   /* files changed: git looks before and after */
    bool files;     /* files that exist */
    bool log;       /* what was printed */
    bool tests;     /* results of tests in what was printed */
};

struct dod; /* an expression that was read */

/* Memory from pool; text must live as long. The error names the column and
 * shows the place with a caret. */
int dod_parse(const char *text, struct mem_pool *pool, const struct dod **out,
              struct err *e);
const struct dod_needs *dod_needs(const struct dod *d);

/* Parses alone. */
int dod_check(const char *text, struct err *e);

#define DOD_UNKNOWN INT64_MIN

/* DOD_UNKNOWN where it could not be found out. */
struct dod_facts {
    int exit_code, signal;
    uint32_t attempt;
    int64_t duration_ms, output_bytes;
    /* If no test ran, the total is 0 and the others are unknown. */
    int64_t tests_total, tests_passed, tests_failed, tests_skipped;
    int64_t files_changed;        /* all together */
    int64_t calls[DOD_CALLS_MAX]; /* as in the needs */
    /* Why files are unknown: "not a git repository". NULL: not said. */
    const char *no_changes, *no_files;
};

enum dod_verdict {
    DOD_DONE,
    DOD_FAILED,   /* definitely not done */
    DOD_NO_OP,    /* exited 0, and only that nothing changed is wrong */
    DOD_UNPROVEN, /* exited 0, and whether it is done is unknown */
};

/*
 * Judges an attempt that ended by itself. Unless done, *part (from pool) names
 * the part that is not true and the values seen: "tests.failed == 0
 * (tests.failed is 3)"; it is "" if the exit code says all there is to say.
 */
enum dod_verdict dod_judge(const struct dod *d, const struct dod_facts *f,
                           struct mem_pool *pool, const char **part);

#endif
