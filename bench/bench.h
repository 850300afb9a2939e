/*
 * bench - what the programs of this folder share.
 *
 * They end at the first thing that fails: the kernel cleans up after them.
 *
 * Thread: any.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Between two tasks, or messages, of an idle machine: its processors sleep,
 * and shunt writes the report of the first. */
enum { BENCH_QUIET_MS = 60 };

/* Monotonic clock, nanoseconds. */
int64_t bench_now_ns(void);

/* A whole number of an option; anything else is a mistake of usage. */
int bench_number(const char *text, int min, int max);

/* Prints "p50_us <n> p99_us <n> max_us <n>"; sorts the times, which are
 * nanoseconds. */
void bench_print_times(int64_t *took_ns, size_t n);

/* Prints "rate <per second>". */
void bench_print_rate(double n, int64_t took_ns);

#endif
