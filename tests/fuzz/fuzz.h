/*
 * fuzz - one function for each parser that takes bytes from outside.
 *
 * Each takes any bytes and returns; what must hold whatever they are is
 * written with FUZZ_NEED. `make fuzz` lets libFuzzer search for bytes that
 * break it, test_fuzz_seeds runs the inputs kept in tests/fuzz/seeds.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/task.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_target {
    const char *name; /* of its folder in tests/fuzz/seeds, too */
    void (*run)(const uint8_t *data, size_t size);
};

/* Ends with a name of NULL. */
extern const struct fuzz_target fuzz_targets[];

#define FUZZ_NEED(truth)                                                       \
    ((truth) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #truth))

static inline void
fuzz_broken(const char *file, int line, const char *truth)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, truth);
    abort();
}

/* One input while it is worked on. */
struct fuzz {
    struct mem_pool *pool;
    struct err e;
};

static inline struct fuzz
fuzz_begin(void)
{
    return (struct fuzz){.pool = mem_pool_new()};
}

static inline void
fuzz_end(struct fuzz *f)
{
    mem_pool_free(f->pool);
}

/* A failure says why. Always -1. */
static inline int
fuzz_refused(const struct fuzz *f)
{
    FUZZ_NEED(f->e.code != ERR_NONE && *f->e.msg);
    return -1;
}

/* The bytes as text, up to the first NUL. */
static inline char *
fuzz_text(const struct fuzz *f, const uint8_t *data, size_t size)
{
    return mem_pool_strndup(f->pool, (const char *)data,
                            size ? strnlen((const char *)data, size) : 0);
}

/* Room for the plain struct of any message. */
union fuzz_message {
    struct task task;
    struct routed_task routed_task;
    struct decision decision;
    struct claim claim;
    struct result result;
    struct log_chunk log_chunk;
    struct heartbeat heartbeat;
    struct batch batch;
    struct dead_letter dead_letter;
    struct control control;
    struct lane_state lane_state;
    struct tasks tasks;
};

/* A valid message is the same after the way to bytes and back, and its JSON
 * after the way to a message and back. */
void fuzz_round_trip(struct fuzz *f, enum codec_type type, const void *msg);

/* fuzz_codec.c */
void fuzz_task(const uint8_t *data, size_t size);
void fuzz_task_in(const uint8_t *data, size_t size);
void fuzz_tasks(const uint8_t *data, size_t size);
void fuzz_bulk(const uint8_t *data, size_t size);
void fuzz_results(const uint8_t *data, size_t size);
void fuzz_routed_many(const uint8_t *data, size_t size);
void fuzz_routed(const uint8_t *data, size_t size);
void fuzz_result(const uint8_t *data, size_t size);
void fuzz_claim(const uint8_t *data, size_t size);
void fuzz_heartbeat(const uint8_t *data, size_t size);
void fuzz_control(const uint8_t *data, size_t size);
void fuzz_lane_state(const uint8_t *data, size_t size);
void fuzz_log_chunk(const uint8_t *data, size_t size);
void fuzz_batch(const uint8_t *data, size_t size);
void fuzz_json_task(const uint8_t *data, size_t size);

/* fuzz_text.c */
void fuzz_formats(const uint8_t *data, size_t size);
void fuzz_glob(const uint8_t *data, size_t size);
void fuzz_dod(const uint8_t *data, size_t size);
void fuzz_test_results(const uint8_t *data, size_t size);
void fuzz_regex(const uint8_t *data, size_t size);
void fuzz_subject(const uint8_t *data, size_t size);
void fuzz_words(const uint8_t *data, size_t size);
void fuzz_conf(const uint8_t *data, size_t size);

/* fuzz_bus.c */
void fuzz_headers(const uint8_t *data, size_t size);
void fuzz_proto(const uint8_t *data, size_t size);

/* fuzz_router.c; the first byte holds switches. */
void fuzz_admission(const uint8_t *data, size_t size);
void fuzz_decide(const uint8_t *data, size_t size);
void fuzz_policy(const uint8_t *data, size_t size); /* no switches */

#endif
