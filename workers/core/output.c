/*
 * Keeps the last chunk of an attempt's output in a ring buffer, from which it
 * is sent in chunks and from which the result takes its copy, and beyond the
 * head the end in a second one. Each ring remembers which stream its bytes came
 * from. Output that is small and quick is never sent: the result has it.
 */
#include "workers/core/output.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>

enum {
    CHUNK_BYTES = TASK_INLINE_OUTPUT, /* of one message on logs.<task> */
    CHUNK_RUNS = 2048,                /* changes of stream within it */
    CHUNK_MS = 100,                   /* from its first byte until it leaves */
    TAIL_RUNS = 16384,
    UNACKED_MAX = 16,          /* chunks on their way: the output is full */
    FINISH_WAIT_MS = 30000,    /* that an outcome waits for the logs */
    ENVELOPE_BYTES = 64 * 1024 /* of a chunk, beside its data */
};

/* Bytes in a row from one stream. */
struct run_of {
    uint32_t stream, len;
};

/* The last bytes, and which stream each came from. Memory is allocated with the
 * first bytes and grows up to the bounds. */
struct tape {
    uint8_t *data;
    size_t at, len, cap, most; /* ring: first byte, count, size, bound */
    struct run_of *runs;
    size_t run_at, n_runs, run_cap, run_most;
};

struct attempt_output {
    struct bus *bus;
    struct loop *loop;
    struct output_conf conf;
    char task[TASK_ID_SIZE];
    uint32_t attempt;
    uint64_t fence;
    struct tape recent;   /* the last CHUNK_BYTES, sent or not */
    struct tape tail;     /* the end of what came after the head */
    size_t unsent;        /* bytes at the end of recent not yet sent */
    uint64_t total;       /* bytes written */
    uint64_t streamed;    /* sent from the head */
    uint64_t dropped;     /* left out for good */
    uint64_t undelivered; /* bytes of unacknowledged chunks */
    uint32_t seq;         /* chunks sent */
    unsigned unacked;
    bool finished;     /* output_finish was called */
    bool tail_started; /* the first chunk of the tail was sent */
    int64_t last_ms;
    struct loop_timer *timer;
    void (*tap)(void *ctx, enum stream stream, const void *data, size_t len);
    void *tap_ctx;
    void (*on_room)(void *ctx);
    void *room_ctx;
    void (*done)(void *ctx);
    void *done_ctx;
};

/* --- tape ---------------------------------------------------------------- */

static void
tape_free(struct tape *t)
{
    mem_free(t->data);
    mem_free(t->runs);
}

/* Doubles one of the rings; what it holds is moved to the front. */
static void *
grown(void *ring, size_t size, size_t at, size_t n, size_t cap, size_t new_cap)
{
    uint8_t *out = mem_alloc(new_cap * size);
    size_t first = n < cap - at ? n : cap - at;

    if (n > 0) {
        memcpy(out, (uint8_t *)ring + at * size, first * size);
        memcpy(out + first * size, ring, (n - first) * size);
    }
    mem_free(ring);
    return out;
}

static size_t
next_cap(size_t cap, size_t least, size_t wanted, size_t most)
{
    if (cap < least)
        cap = least;
    while (cap < wanted)
        cap *= 2;
    return cap < most ? cap : most;
}

static void
tape_reserve(struct tape *t, size_t more)
{
    size_t cap;

    if (t->len + more > t->cap && t->cap < t->most) {
        cap = next_cap(t->cap, 512, t->len + more, t->most);
        t->data = grown(t->data, 1, t->at, t->len, t->cap, cap);
        t->at = 0;
        t->cap = cap;
    }
    if (t->n_runs == t->run_cap && t->run_cap < t->run_most) {
        cap = next_cap(t->run_cap, 8, t->n_runs + 1, t->run_most);
        t->runs = grown(t->runs, sizeof *t->runs, t->run_at, t->n_runs,
                        t->run_cap, cap);
        t->run_at = 0;
        t->run_cap = cap;
    }
}

/* Forgets n bytes from the front. */
static void
tape_drop(struct tape *t, size_t n)
{
    t->at = t->cap ? (t->at + n) % t->cap : 0;
    t->len -= n;
    while (n > 0) {
        struct run_of *r = &t->runs[t->run_at];

        if (r->len > n) {
            r->len -= (uint32_t)n;
            return;
        }
        n -= r->len;
        t->run_at = (t->run_at + 1) % t->run_cap;
        t->n_runs--;
    }
}

static struct run_of *
last_run(const struct tape *t)
{
    if (t->n_runs == 0)
        return NULL;
    return &t->runs[(t->run_at + t->n_runs - 1) % t->run_cap];
}

/* Adds to the end, and forgets at the front what does not fit any more. */
static void
tape_add(struct tape *t, enum stream stream, const uint8_t *data, size_t len)
{
    struct run_of *last;
    size_t to, first;

    if (len > t->most) {
        data += len - t->most;
        len = t->most;
    }
    tape_reserve(t, len);
    if (t->len + len > t->cap)
        tape_drop(t, t->len + len - t->cap);
    last = last_run(t);
    if (!last || last->stream != (uint32_t)stream) {
        if (t->n_runs == t->run_cap)
            tape_drop(t, t->runs[t->run_at].len);
        t->n_runs++;
        last = last_run(t);
        *last = (struct run_of){(uint32_t)stream, 0};
    }
    last->len += (uint32_t)len;
    to = (t->at + t->len) % t->cap;
    first = len < t->cap - to ? len : t->cap - to;
    memcpy(t->data + to, data, first);
    memcpy(t->data, data + first, len - first);
    t->len += len;
}

/* Parts for len bytes from skip on, pointing into the tape; room for
 * n_runs + 1 of them. */
static size_t
tape_parts(const struct tape *t, size_t skip, size_t len,
           struct output_part *out)
{
    size_t n = 0, at = t->at;

    for (size_t i = 0; i < t->n_runs && len > 0; i++) {
        const struct run_of *r = &t->runs[(t->run_at + i) % t->run_cap];
        size_t left = r->len;

        if (skip >= left) {
            skip -= left;
            at = (at + left) % t->cap;
            continue;
        }
        at = (at + skip) % t->cap;
        left -= skip;
        skip = 0;
        if (left > len)
            left = len;
        len -= left;
        while (left > 0) {
            size_t piece = left < t->cap - at ? left : t->cap - at;

            out[n++] = (struct output_part){(enum stream)r->stream,
                                            {t->data + at, piece}};
            at = (at + piece) % t->cap;
            left -= piece;
        }
    }
    return n;
}

/* --- chunks -------------------------------------------------------------- */

struct attempt_output *
output_open(struct bus *b, struct loop *l, const struct output_conf *conf,
            const char *task, uint32_t attempt, uint64_t fence)
{
    struct attempt_output *o = MEM_NEW(struct attempt_output);

    o->bus = b;
    o->loop = l;
    o->conf = *conf;
    (void)snprintf(o->task, sizeof o->task, "%s", task);
    o->attempt = attempt;
    o->fence = fence;
    o->recent.most = CHUNK_BYTES;
    o->recent.run_most = CHUNK_RUNS;
    o->tail.most = (size_t)conf->tail_bytes;
    o->tail.run_most = TAIL_RUNS;
    o->last_ms = loop_now_ms();
    return o;
}

/* Bytes a chunk may carry: less on a broker with a small limit. */
static size_t
chunk_bytes(const struct attempt_output *o)
{
    size_t most = bus_max_payload(o->bus);

    if (most >= CHUNK_BYTES + ENVELOPE_BYTES)
        return CHUNK_BYTES;
    return most / 4 + 1;
}

static void pump(struct attempt_output *o);

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct attempt_output *o = ctx;

    (void)stored;
    o->unacked--;
    if (e)
        log_warn("output.lost", "task=%s error=\"%s\"", o->task,
                 LOG_TEXT(e->msg));
    if (o->unacked == 0)
        o->undelivered = 0;
    if (o->finished)
        pump(o);
    else if (o->unacked == UNACKED_MAX - 1 && o->on_room)
        o->on_room(o->room_ctx);
}

/* Sends len bytes of t from skip on as the next chunk. */
static void
send_chunk(struct attempt_output *o, const struct tape *t, size_t skip,
           size_t len, uint64_t offset, uint64_t dropped)
{
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 32];
    struct str bytes = {0};
    struct log_chunk c = {.task = o->task,
                          .attempt = o->attempt,
                          .fence = o->fence,
                          .seq = ++o->seq,
                          .offset = offset,
                          .dropped_bytes = dropped};
    struct bus_publication p = {.id = id, .expect = BUS_ANY_REVISION};

    /* A ring that wraps splits one part in two. */
    c.parts = mem_zero(t->n_runs + 1, sizeof *c.parts);
    c.n_parts = tape_parts(t, skip, len, c.parts);
    codec_encode(CODEC_LOG_CHUNK, &c, &bytes);
    mem_free(c.parts);
    (void)snprintf(id, sizeof id, "%s:%u:l%u", o->task, o->attempt, o->seq);
    p.subject = subject_logs(subject, o->task);
    p.data = bytes.data;
    p.len = bytes.len;
    o->unacked++;
    o->undelivered += len;
    bus_publish_until(o->bus, &p, on_stored, o);
    str_free(&bytes);
}

/* Sends what is waiting, in chunks. */
static void
flush(struct attempt_output *o)
{
    size_t most = chunk_bytes(o), len;

    while (o->unsent > 0) {
        len = o->unsent < most ? o->unsent : most;
        send_chunk(o, &o->recent, o->recent.len - o->unsent, len, o->streamed,
                   0);
        o->streamed += len;
        o->unsent -= len;
    }
}

static void
on_timer(void *ctx)
{
    struct attempt_output *o = ctx;

    if (!o->finished) {
        flush(o);
        return;
    }
    log_warn("output.lost", "task=%s bytes=%llu error=\"not stored in time\"",
             o->task, (unsigned long long)(o->undelivered + o->tail.len));
    bus_forget(o->bus, o);
    o->dropped += o->undelivered + o->tail.len;
    o->tail.len = o->tail.n_runs = 0;
    o->undelivered = 0;
    o->unacked = 0;
    pump(o);
}

static void
set_timer(struct attempt_output *o, int64_t delay_ms)
{
    if (o->timer)
        loop_timer_again(o->timer, delay_ms, 0);
    else
        o->timer = loop_timer_start(o->loop, delay_ms, 0, on_timer, o);
}

/* Takes bytes of the head, at most a chunk of them. */
static void
take_head(struct attempt_output *o, enum stream stream, const uint8_t *data,
          size_t len)
{
    const struct tape *t = &o->recent;
    bool crowded =
        t->n_runs == CHUNK_RUNS && o->unsent + t->runs[t->run_at].len > t->len;

    /* What falls off the front of recent must have been sent. */
    if (o->unsent + len > CHUNK_BYTES || crowded)
        flush(o);
    if (o->unsent == 0)
        set_timer(o, CHUNK_MS);
    tape_add(&o->recent, stream, data, len);
    o->unsent += len;
    if (o->unsent >= CHUNK_BYTES && o->total > CHUNK_BYTES)
        flush(o);
}

bool
output_write(struct attempt_output *o, enum stream stream, const void *data,
             size_t len)
{
    const uint8_t *at = data;
    uint64_t head = (uint64_t)o->conf.head_bytes;
    size_t take;

    o->last_ms = loop_now_ms();
    if (o->tap)
        o->tap(o->tap_ctx, stream, data, len);
    while (len > 0 && o->total < head) {
        take = len < CHUNK_BYTES ? len : CHUNK_BYTES;
        if (take > head - o->total)
            take = (size_t)(head - o->total);
        o->total += take;
        take_head(o, stream, at, take);
        at += take;
        len -= take;
    }
    if (len > 0) {
        flush(o); /* before its bytes fall off the front of recent */
        o->total += len;
        tape_add(&o->recent, stream, at, len);
        tape_add(&o->tail, stream, at, len);
    }
    return o->unacked < UNACKED_MAX;
}

void
output_tap(struct attempt_output *o,
           void (*fn)(void *ctx, enum stream stream, const void *data,
                      size_t len),
           void *ctx)
{
    o->tap = fn;
    o->tap_ctx = ctx;
}

void
output_on_room(struct attempt_output *o, void (*fn)(void *ctx), void *ctx)
{
    o->on_room = fn;
    o->room_ctx = ctx;
}

int64_t
output_last_ms(const struct attempt_output *o)
{
    return o->last_ms;
}

/* --- the end ------------------------------------------------------------- */

/* After the end: sends the tail as chunks are acknowledged, then calls done. */
static void
pump(struct attempt_output *o)
{
    void (*done)(void *) = o->done;
    size_t most = chunk_bytes(o), len;
    uint64_t dropped = 0;

    while (o->tail.len > 0 && o->unacked < UNACKED_MAX) {
        if (!o->tail_started) {
            o->tail_started = true;
            dropped = o->total - o->streamed - o->tail.len;
            o->dropped += dropped;
        }
        len = o->tail.len < most ? o->tail.len : most;
        send_chunk(o, &o->tail, 0, len, o->total - o->tail.len, dropped);
        tape_drop(&o->tail, len);
        dropped = 0;
    }
    if (o->unacked > 0 || !done)
        return;
    o->done = NULL;
    done(o->done_ctx);
}

void
output_finish(struct attempt_output *o, void (*done)(void *ctx), void *ctx)
{
    o->finished = true;
    o->on_room = NULL;
    o->done = done;
    o->done_ctx = ctx;
    /* Small and quick output is in the result alone. */
    if (o->seq > 0 || o->total > TASK_INLINE_OUTPUT)
        flush(o);
    if (o->seq > 0 || o->tail.len > 0)
        set_timer(o, FINISH_WAIT_MS);
    pump(o);
}

void
output_result(struct attempt_output *o, struct mem_pool *pool, struct result *r)
{
    struct tape *t = &o->recent;
    bool whole = o->total == t->len;
    size_t len = whole || t->len < TASK_TAIL_BYTES ? t->len : TASK_TAIL_BYTES;
    uint8_t *copy;

    r->output_bytes = o->total;
    r->dropped_bytes = whole ? 0 : o->dropped;
    r->log_chunks = o->seq;
    if (len == 0)
        return;
    r->output = mem_pool_alloc(pool, (t->n_runs + 1) * sizeof *r->output);
    r->n_output = tape_parts(t, t->len - len, len, r->output);
    copy = mem_pool_alloc(pool, len);
    for (size_t i = 0; i < r->n_output; i++) {
        memcpy(copy, r->output[i].data.data, r->output[i].data.len);
        r->output[i].data.data = copy;
        copy += r->output[i].data.len;
    }
}

void
output_close(struct attempt_output *o)
{
    if (!o)
        return;
    if (o->unacked > 0)
        bus_forget(o->bus, o);
    loop_timer_stop(o->timer);
    tape_free(&o->recent);
    tape_free(&o->tail);
    mem_free(o);
}
