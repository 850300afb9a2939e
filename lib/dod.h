/*
 * dod - the definition of done: an expression over the facts of an attempt.
 *
 *   exit_code == 0 and duration < 20m
 *
 * Operators: or and not == != < <= > >= and parentheses. Values: integers,
 * durations (20m), sizes. No loops, no I/O. The empty expression is
 * exit_code == 0 (seed 2).
 *
 * Thread: any.
 */
#ifndef LIB_DOD_H
#define LIB_DOD_H

#include "lib/err.h"

#include <stdbool.h>
#include <stdint.h>

struct dod_facts {
    int exit_code;
    int64_t duration_ms;
    int64_t output_bytes;
};

/* Parses alone; the error names the column and shows the place with a caret. */
int dod_check(const char *text, struct err *e);

/* *done says whether the facts satisfy text. -1 only if text does not parse. */
int dod_eval(const char *text, const struct dod_facts *facts, bool *done,
             struct err *e);

#endif
