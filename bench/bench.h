/*
 * bench - what the programs of this folder share.
 *
 * They exit at the first failure: the kernel cleans up after them.
 *
 * Thread: any.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* The pause between two tasks or messages of a latency measurement, in which
 * the processors go to sleep and shunt writes the report of the first task. */
enum { BENCH_QUIET_MS = 60 };

/* Monotonic clock, nanoseconds. */
int64_t bench_now_ns(void);

/* An option's whole number; exits with status 2 if it is anything else. */
int bench_number(const char *text, int min, int max);

/* Sorts the times and prints "p50_us <n> p99_us <n> max_us <n>". */
void bench_print_times(int64_t *took_ns, size_t n);

/* Prints "rate <per second>". */
void bench_print_rate(double n, int64_t took_ns);

#endif
