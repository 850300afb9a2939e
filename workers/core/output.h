/*
 * output - takes what an attempt prints: small output goes into the result, the
 * rest in chunks to logs.<task>. Beyond the cap only the tail is kept; memory
 * is bounded throughout.
 *
 * Secrets are hidden before anything leaves, see lib/base/mask.h. No chunk,
 * part or end begins or ends within a UTF-8 character.
 *
 * Chunks leave at 32 KiB or 100 ms after their first byte. While too many are
 * unacknowledged output_write returns false and the executor stops reading.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_OUTPUT_H
#define WORKERS_CORE_OUTPUT_H

#include "lib/base/mask.h"
#include "lib/bus/bus.h"
#include "lib/model/task.h"

struct attempt_output;

struct output_conf {
    int64_t head_bytes; /* streamed as it comes */
    int64_t tail_bytes; /* beyond that, the last so many are kept */
};

struct attempt_output *output_open(struct bus *b, struct loop *l,
                                   const struct output_conf *conf,
                                   const char *task, uint32_t attempt,
                                   uint64_t fence);

/* What to hide beside secrets known by shape: own, which the output then owns,
 * or if it is NULL shared, which must outlive it. Before anything is written.
 */
void output_mask(struct attempt_output *o, const struct mask *shared,
                 struct mask *own);
/* text, or a copy in pool with its secrets hidden. */
const char *output_masked(const struct attempt_output *o, const char *text,
                          struct mem_pool *pool);

/* Takes all of data. Returns false if the writer should pause until
 * on_room. */
bool output_write(struct attempt_output *o, enum stream stream,
                  const void *data, size_t len);
void output_on_room(struct attempt_output *o, void (*fn)(void *ctx), void *ctx);

/* Calls fn with everything written from now on, before any of it is cut. */
void output_tap(struct attempt_output *o,
                void (*fn)(void *ctx, enum stream stream, const void *data,
                           size_t len),
                void *ctx);

/* Monotonic time of the last byte, for the no-output watchdog. */
int64_t output_last_ms(const struct attempt_output *o);
/* Moves it: the time in between does not count. */
void output_put_off(struct attempt_output *o, int64_t ms);

/*
 * No more output. Calls done once every chunk is stored (or there never
 * sent any: at once, before returning).
 */
void output_finish(struct attempt_output *o, void (*done)(void *ctx),
                   void *ctx);

/* Fills output, output_bytes, dropped_bytes and log_chunks of r; memory from
 * pool. The whole output if it fits TASK_INLINE_OUTPUT, else its last
 * TASK_TAIL_BYTES; its parts lie one behind the other in memory. */
void output_result(struct attempt_output *o, struct mem_pool *pool,
                   struct result *r);

void output_close(struct attempt_output *o); /* NULL is fine */

#endif
