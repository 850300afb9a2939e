/*
 * dod_private - the parsed expression, shared by parsing and evaluation.
 *
 * Thread: any.
 */
#ifndef LIB_MODEL_DOD_PRIVATE_H
#define LIB_MODEL_DOD_PRIVATE_H

#include "lib/model/dod.h"

enum dod_type {
    TYPE_LITERAL, /* a number whose unit depends on the other side */
    TYPE_NUMBER,
    TYPE_DURATION, /* milliseconds */
    TYPE_SIZE,     /* bytes */
    TYPE_TRUTH,
    TYPE_TEXT,
};

enum dod_fact {
    FACT_NONE, /* a literal */
    FACT_EXIT_CODE,
    FACT_SIGNAL,
    FACT_ATTEMPT,
    FACT_DURATION,
    FACT_OUTPUT_BYTES,
    FACT_TESTS_TOTAL,
    FACT_TESTS_PASSED,
    FACT_TESTS_FAILED,
    FACT_TESTS_SKIPPED,
    FACT_FILES_CHANGED,
    FACT_CALL,
};

/* A piece of the text. */
struct dod_span {
    size_t from, to;
};

struct dod_value {
    enum dod_type type;
    enum dod_fact fact;
    size_t call;    /* of FACT_CALL: its index in the needs */
    int64_t number; /* of FACT_NONE */
    struct dod_span span;
};

enum dod_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

enum dod_kind { NODE_OR, NODE_AND, NODE_NOT, NODE_COMPARE, NODE_TRUTH };

struct dod_node {
    enum dod_kind kind;
    const struct dod_node *a, *b; /* of OR and AND; a alone of NOT */
    struct dod_value left, right; /* of COMPARE; left alone of TRUTH */
    enum dod_op op;
    struct dod_span span;
};

struct dod {
    const char *text;
    const struct dod_node *top; /* NULL: the text is empty */
    struct dod_needs needs;
};

#endif
