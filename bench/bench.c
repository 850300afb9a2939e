/*
 * The clock, the reading of numbers and the output format that the benchmark
 * programs share. bench/lib.bash reads the lines that are printed here.
 */
#include "bench/bench.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int64_t
bench_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int
bench_number(const char *text, int min, int max)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n < min || n > max)
        errx(2, "'%s' is not a number from %d to %d", text, min, max);
    return (int)n;
}

static int
by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

void
bench_print_times(int64_t *took_ns, size_t n)
{
    qsort(took_ns, n, sizeof *took_ns, by_size);
    printf("p50_us %.1f p99_us %.1f max_us %.1f\n",
           (double)took_ns[n / 2] / 1e3,
           (double)took_ns[(size_t)((double)(n - 1) * 0.99)] / 1e3,
           (double)took_ns[n - 1] / 1e3);
}

void
bench_print_rate(double n, int64_t took_ns)
{
    printf("rate %.1f\n", n * 1e9 / (double)took_ns);
}
