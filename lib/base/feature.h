/*
 * feature - switches the mechanisms off that exist for speed alone.
 *
 * For measurement only (bench/README.md, BENCH_WITHOUT): SHUNT_WITHOUT names
 * mechanisms, separated by commas, that a process is to do without. It does the
 * same work by the ordinary path then, only slower. No configuration key leads
 * here, and a word that names no mechanism is ignored.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_FEATURE_H
#define LIB_BASE_FEATURE_H

#include <stdbool.h>

enum feature {
    FEATURE_COALESCE,  /* submissions wait for their results */
    FEATURE_ROW_CACHE, /* a row is written once per transaction */
    FEATURE_MULTI,     /* several routed tasks in a message */
    FEATURE_RESULTS,   /* several results in a message */
    FEATURE_PREFETCH,  /* claims beyond the slots */
    FEATURE_EARLY,     /* results sent along with the outcome */
    FEATURE_FSYNC,     /* the fsync server beside the broker */
    FEATURE_TCP,       /* the loop thread reads and writes the socket */
};

bool feature_on(enum feature f);

#endif
