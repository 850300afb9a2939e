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
    CHUNK_MS = 100,                   /* it leaves so long after its start */
    TAIL_RUNS = 16384,
    UNACKED_MAX = 16,          /* chunks on their way; beyond that: full */
    FINISH_WAIT_MS = 30000,    /* an outcome does not wait for ever for logs */
    ENVELOPE_BYTES = 64 * 1024 /* of a chunk, beside its data */
};

/* Bytes in a row from one stream. */
struct run_of {
    uint32_t stream, len;
};

/* The last so many bytes, and which stream each came from. Memory comes with
 * the first bytes and grows up to the bounds. */
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

/* Adds to the end; what no longer fits is forgotten at the front. */
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
    struct attempt_output *s = MEM_NEW(struct attempt_output);

    s->bus = b;
    s->loop = l;
    s->conf = *conf;
    (void)snprintf(s->task, sizeof s->task, "%s", task);
    s->attempt = attempt;
    s->fence = fence;
    s->recent.most = CHUNK_BYTES;
    s->recent.run_most = CHUNK_RUNS;
    s->tail.most = (size_t)conf->tail_bytes;
    s->tail.run_most = TAIL_RUNS;
    s->last_ms = loop_now_ms();
    return s;
}

/* Bytes a chunk may carry: less on a broker with a small limit. */
static size_t
chunk_bytes(const struct attempt_output *s)
{
    size_t most = bus_max_payload(s->bus);

    if (most >= CHUNK_BYTES + ENVELOPE_BYTES)
        return CHUNK_BYTES;
    return most / 4 + 1;
}

static void pump(struct attempt_output *s);

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct attempt_output *s = ctx;

    (void)stored;
    s->unacked--;
    if (e)
        log_warn("output.lost", "task=%s error=\"%s\"", s->task,
                 LOG_TEXT(e->msg));
    if (s->unacked == 0)
        s->undelivered = 0;
    if (s->finished)
        pump(s);
    else if (s->unacked == UNACKED_MAX - 1 && s->on_room)
        s->on_room(s->room_ctx);
}

/* Sends len bytes of t from skip on as the next chunk. */
static void
send_chunk(struct attempt_output *s, const struct tape *t, size_t skip,
           size_t len, uint64_t offset, uint64_t dropped)
{
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 32];
    struct str bytes = {0};
    struct log_chunk c = {.task = s->task,
                          .attempt = s->attempt,
                          .fence = s->fence,
                          .seq = ++s->seq,
                          .offset = offset,
                          .dropped_bytes = dropped};
    struct bus_publication p = {.id = id, .expect = BUS_ANY_REVISION};

    /* A ring that wraps splits one part in two. */
    c.parts = mem_zero(t->n_runs + 1, sizeof *c.parts);
    c.n_parts = tape_parts(t, skip, len, c.parts);
    codec_encode(CODEC_LOG_CHUNK, &c, &bytes);
    mem_free(c.parts);
    (void)snprintf(id, sizeof id, "%s:%u:l%u", s->task, s->attempt, s->seq);
    p.subject = subject_logs(subject, s->task);
    p.data = bytes.data;
    p.len = bytes.len;
    s->unacked++;
    s->undelivered += len;
    bus_publish_until(s->bus, &p, on_stored, s);
    str_free(&bytes);
}

/* Sends what is waiting, in chunks. */
static void
flush(struct attempt_output *s)
{
    size_t most = chunk_bytes(s), len;

    while (s->unsent > 0) {
        len = s->unsent < most ? s->unsent : most;
        send_chunk(s, &s->recent, s->recent.len - s->unsent, len, s->streamed,
                   0);
        s->streamed += len;
        s->unsent -= len;
    }
}

static void
on_timer(void *ctx)
{
    struct attempt_output *s = ctx;

    if (!s->finished) {
        flush(s);
        return;
    }
    log_warn("output.lost", "task=%s bytes=%llu error=\"not stored in time\"",
             s->task, (unsigned long long)(s->undelivered + s->tail.len));
    bus_forget(s->bus, s);
    s->dropped += s->undelivered + s->tail.len;
    s->tail.len = s->tail.n_runs = 0;
    s->undelivered = 0;
    s->unacked = 0;
    pump(s);
}

static void
set_timer(struct attempt_output *s, int64_t delay_ms)
{
    if (s->timer)
        loop_timer_again(s->timer, delay_ms, 0);
    else
        s->timer = loop_timer_start(s->loop, delay_ms, 0, on_timer, s);
}

/* Takes bytes of the head, at most a chunk of them. */
static void
take_head(struct attempt_output *s, enum stream stream, const uint8_t *data,
          size_t len)
{
    const struct tape *t = &s->recent;
    bool crowded =
        t->n_runs == CHUNK_RUNS && s->unsent + t->runs[t->run_at].len > t->len;

    /* What falls off the front of recent must have been sent. */
    if (s->unsent + len > CHUNK_BYTES || crowded)
        flush(s);
    if (s->unsent == 0)
        set_timer(s, CHUNK_MS);
    tape_add(&s->recent, stream, data, len);
    s->unsent += len;
    if (s->unsent >= CHUNK_BYTES && s->total > CHUNK_BYTES)
        flush(s);
}

bool
output_write(struct attempt_output *s, enum stream stream, const void *data,
             size_t len)
{
    const uint8_t *at = data;
    uint64_t head = (uint64_t)s->conf.head_bytes;
    size_t take;

    s->last_ms = loop_now_ms();
    if (s->tap)
        s->tap(s->tap_ctx, stream, data, len);
    while (len > 0 && s->total < head) {
        take = len < CHUNK_BYTES ? len : CHUNK_BYTES;
        if (take > head - s->total)
            take = (size_t)(head - s->total);
        s->total += take;
        take_head(s, stream, at, take);
        at += take;
        len -= take;
    }
    if (len > 0) {
        flush(s); /* before its bytes fall off the front of recent */
        s->total += len;
        tape_add(&s->recent, stream, at, len);
        tape_add(&s->tail, stream, at, len);
    }
    return s->unacked < UNACKED_MAX;
}

void
output_tap(struct attempt_output *s,
           void (*fn)(void *ctx, enum stream stream, const void *data,
                      size_t len),
           void *ctx)
{
    s->tap = fn;
    s->tap_ctx = ctx;
}

void
output_on_room(struct attempt_output *s, void (*fn)(void *ctx), void *ctx)
{
    s->on_room = fn;
    s->room_ctx = ctx;
}

int64_t
output_last_ms(const struct attempt_output *s)
{
    return s->last_ms;
}

/* --- the end ------------------------------------------------------------- */

/* After the end: sends the tail as chunks are acknowledged, then says so. */
static void
pump(struct attempt_output *s)
{
    void (*done)(void *) = s->done;
    size_t most = chunk_bytes(s), len;
    uint64_t dropped = 0;

    while (s->tail.len > 0 && s->unacked < UNACKED_MAX) {
        if (!s->tail_started) {
            s->tail_started = true;
            dropped = s->total - s->streamed - s->tail.len;
            s->dropped += dropped;
        }
        len = s->tail.len < most ? s->tail.len : most;
        send_chunk(s, &s->tail, 0, len, s->total - s->tail.len, dropped);
        tape_drop(&s->tail, len);
        dropped = 0;
    }
    if (s->unacked > 0 || !done)
        return;
    s->done = NULL;
    done(s->done_ctx);
}

void
output_finish(struct attempt_output *s, void (*done)(void *ctx), void *ctx)
{
    s->finished = true;
    s->on_room = NULL;
    s->done = done;
    s->done_ctx = ctx;
    /* Small and quick output rides in the result alone. */
    if (s->seq > 0 || s->total > TASK_INLINE_OUTPUT)
        flush(s);
    if (s->seq > 0 || s->tail.len > 0)
        set_timer(s, FINISH_WAIT_MS);
    pump(s);
}

void
output_result(struct attempt_output *s, struct mem_pool *pool, struct result *r)
{
    struct tape *t = &s->recent;
    bool whole = s->total == t->len;
    size_t len = whole || t->len < TASK_TAIL_BYTES ? t->len : TASK_TAIL_BYTES;
    uint8_t *copy;

    r->output_bytes = s->total;
    r->dropped_bytes = whole ? 0 : s->dropped;
    r->log_chunks = s->seq;
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
output_close(struct attempt_output *s)
{
    if (!s)
        return;
    if (s->unacked > 0)
        bus_forget(s->bus, s);
    loop_timer_stop(s->timer);
    tape_free(&s->recent);
    tape_free(&s->tail);
    mem_free(s);
}
