/*
 * metrics - the answers `status` and `costs` in the text format of Prometheus,
 * 0.0.4.
 *
 * Pure: no clock, no I/O, no globals. Thread: any.
 */
#ifndef REAPER_HTTP_METRICS_H
#define REAPER_HTTP_METRICS_H

#include "lib/base/str.h"

#include <jansson.h>
#include <stdbool.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_facts {
    bool ready;
    bool bus_up;
    const char *version;
};

/* Appends to out. status, costs (of today): answers of reaper/query/query. A
 * value that is missing is 0, a missing list a family without samples. */
void metrics_text(const json_t *status, const json_t *costs,
                  const struct metrics_facts *f, struct str *out);

#endif
