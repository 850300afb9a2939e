/*
 * Keeps the last chunk of an attempt's output on a tape, from which it is sent
 * in chunks and from which the result takes its copy. Secrets are hidden before
 * anything is kept there. Beyond the head a second tape keeps the end as it
 * comes, so that bytes nobody will see cost nothing: its secrets are hidden
 * once it is known to be the end. Output that is small and quick is never sent:
 * the result has it.
 */
#include "workers/core/output.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "workers/core/tape.h"

#include <stdio.h>
#include <string.h>

enum {
    CHUNK_BYTES = TASK_INLINE_OUTPUT, /* of one message on logs.<task> */
    CHUNK_RUNS = 2048,                /* changes of stream within it */
    CHUNK_MS = 100,                   /* from its first byte until it leaves */
    TAIL_RUNS = 16384,
    UNACKED_MAX = 16,          /* chunks on their way: the output is full */
    FINISH_WAIT_MS = 30000,    /* that an outcome waits for the logs */
    MARGIN_BYTES = 16 * 1024,  /* before the tail: a secret may begin there */
    ENVELOPE_BYTES = 64 * 1024 /* of a chunk, beside its data */
};

struct attempt_output {
    struct bus *bus;
    struct loop *loop;
    struct output_conf conf;
    char task[TASK_ID_SIZE];
    uint32_t attempt;
    uint64_t fence;
    struct mask_stream streams[2]; /* stdout, stderr */
    struct mask *mask;             /* of this attempt alone; NULL: none */
    struct tape recent;            /* the last CHUNK_BYTES, sent or not */
    struct tape tail;     /* the end of what came after the head; until the end
                           * with its secrets and the margin before it */
    size_t unsent;        /* bytes at the end of recent not yet sent */
    uint64_t total;       /* bytes written, with secrets hidden */
    uint64_t streamed;    /* sent from the head */
    uint64_t dropped;     /* left out for good */
    uint64_t undelivered; /* bytes of unacknowledged chunks */
    uint32_t seq;         /* chunks sent */
    unsigned unacked;
    bool beyond;       /* the head is full */
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

/* --- chunks -------------------------------------------------------------- */

static void
set_mask(struct attempt_output *o, const struct mask *m)
{
    for (int i = 0; i < 2; i++) {
        mask_stream_free(&o->streams[i]);
        mask_stream_init(&o->streams[i], m);
    }
}

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
    o->tail.most = (size_t)conf->tail_bytes + MARGIN_BYTES;
    o->tail.run_most = TAIL_RUNS;
    set_mask(o, NULL);
    o->last_ms = loop_now_ms();
    return o;
}

void
output_mask(struct attempt_output *o, const struct mask *shared,
            struct mask *own)
{
    o->mask = own;
    set_mask(o, own ? own : shared);
}

const char *
output_masked(const struct attempt_output *o, const char *text,
              struct mem_pool *pool)
{
    struct str out = {0};
    const char *kept = text;
    size_t at;

    if (mask_find(o->streams[0].set, text, strlen(text), &at)) {
        mask_text(o->streams[0].set, text, strlen(text), &out);
        kept = mem_pool_strdup(pool, str_text(&out));
        str_free(&out);
    }
    return kept;
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
send_chunk(struct attempt_output *o, struct tape *t, size_t skip, size_t len,
           uint64_t offset, uint64_t dropped)
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

    c.parts = mem_zero(t->n_runs, sizeof *c.parts);
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
        len = tape_cut(&o->recent, o->recent.len - o->unsent, most);
        send_chunk(o, &o->recent, o->recent.len - o->unsent, len, o->streamed,
                   0);
        o->streamed += len;
        o->unsent -= len;
    }
}

static void yield_stream(struct attempt_output *o, enum stream stream);

static void
on_timer(void *ctx)
{
    struct attempt_output *o = ctx;

    if (!o->finished) {
        if (!o->beyond) {
            yield_stream(o, STREAM_STDOUT);
            yield_stream(o, STREAM_STDERR);
        }
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
    o->total += len;
    if (o->unsent >= CHUNK_BYTES && o->total > CHUNK_BYTES)
        flush(o);
}

/* Where what a stream's mask has passed goes. */
struct passed {
    struct attempt_output *o;
    enum stream stream;
};

/* Between characters, so that no chunk ends within one. */
static void
on_passed(void *ctx, const void *data, size_t len)
{
    const struct passed *to = ctx;
    const char *at = data;
    size_t take;

    for (; len > 0; at += take, len -= take) {
        take = str_utf8_cut(at, len, CHUNK_BYTES);
        take_head(to->o, to->stream, (const uint8_t *)at, take);
    }
}

static size_t
number_of(enum stream stream)
{
    return stream == STREAM_STDERR ? 1 : 0;
}

/* Shows what little a stream holds back before what another one wrote later. */
static void
yield_stream(struct attempt_output *o, enum stream stream)
{
    struct passed to = {o, stream};

    mask_stream_yield(&o->streams[number_of(stream)], on_passed, &to);
}

/* Passes on what still belongs to the head; returns how much that is. */
static size_t
write_head(struct attempt_output *o, enum stream stream, const void *data,
           size_t len)
{
    struct mask_stream *s = &o->streams[number_of(stream)];
    struct passed to = {o, stream};
    size_t held = o->streams[0].held.len + o->streams[1].held.len;
    uint64_t head = (uint64_t)o->conf.head_bytes, used = o->total + held;
    size_t take = used < head ? str_utf8_cut(data, len, head - used) : 0;

    yield_stream(o, stream == STREAM_STDERR ? STREAM_STDOUT : STREAM_STDERR);
    mask_stream_add(s, data, take, on_passed, &to);
    o->beyond = take < len;
    if (o->beyond)
        flush(o);
    else if (s->held.len > 0 && o->unsent == 0)
        set_timer(o, CHUNK_MS);
    return take;
}

bool
output_write(struct attempt_output *o, enum stream stream, const void *data,
             size_t len)
{
    size_t head = 0;

    o->last_ms = loop_now_ms();
    if (o->tap)
        o->tap(o->tap_ctx, stream, data, len);
    if (!o->beyond)
        head = write_head(o, stream, data, len);
    if (head < len) {
        o->total += len - head;
        tape_add(&o->tail, stream, (const uint8_t *)data + head, len - head);
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

void
output_put_off(struct attempt_output *o, int64_t ms)
{
    o->last_ms += ms;
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
        len = tape_cut(&o->tail, 0, most);
        send_chunk(o, &o->tail, 0, len, o->total - o->tail.len, dropped);
        tape_drop(&o->tail, len);
        dropped = 0;
    }
    if (o->unacked > 0 || !done)
        return;
    o->done = NULL;
    done(o->done_ctx);
}

/* What passes while the tail is read once more: the margin is dropped. */
struct ending_text {
    struct passed to;
    struct tape kept;
    bool margin;
};

static void
on_end_passed(void *ctx, const void *data, size_t len)
{
    struct ending_text *text = ctx;

    if (text->margin)
        return;
    tape_add(&text->kept, text->to.stream, data, len);
    tape_add(&text->to.o->recent, text->to.stream, data, len);
    text->to.o->total += len;
}

/* Passes on the tail's bytes [from, to). */
static void
read_tail(struct attempt_output *o, struct ending_text *text, size_t from,
          size_t to)
{
    struct output_part *parts = mem_zero(o->tail.n_runs, sizeof *parts);
    size_t n = tape_parts(&o->tail, from, to - from, parts);

    for (size_t i = 0; i < n; i++) {
        text->to.stream = parts[i].stream;
        mask_stream_add(&o->streams[number_of(parts[i].stream)],
                        parts[i].data.data, parts[i].data.len, on_end_passed,
                        text);
    }
    mem_free(parts);
}

/* Hides the secrets of the tail. Where some of the output fell off its front,
 * what is read first tells only whether a secret goes on in the rest. */
static void
hide_tail(struct attempt_output *o)
{
    size_t len = o->tail.len, tail = (size_t)o->conf.tail_bytes;
    struct ending_text text = {
        .to = {.o = o},
        .kept = {.most = o->tail.most, .run_most = o->tail.run_most}};
    uint64_t beyond = o->total - o->streamed; /* all of it was flushed */
    size_t margin = 0;

    if (beyond > len) {
        for (int i = 0; i < 2; i++) /* it would stand before the gap */
            o->total += o->streams[i].held.len - o->streams[i].shown;
        set_mask(o, o->streams[0].set);
        margin = tape_start(&o->tail, len > tail ? len - tail : len / 8);
    }
    o->total -= len - margin;
    text.margin = true;
    read_tail(o, &text, 0, margin);
    text.margin = false;
    read_tail(o, &text, margin, len);
    for (int i = 0; i < 2; i++) {
        text.to.stream = i == 0 ? STREAM_STDOUT : STREAM_STDERR;
        mask_stream_end(&o->streams[i], on_end_passed, &text);
    }
    tape_free(&o->tail);
    o->tail = text.kept;
}

/* Passes on what the streams hold, all that was written being there. */
static void
end_streams(struct attempt_output *o)
{
    if (o->beyond) {
        hide_tail(o);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct passed to = {o, i == 0 ? STREAM_STDOUT : STREAM_STDERR};

        mask_stream_end(&o->streams[i], on_passed, &to);
    }
}

void
output_finish(struct attempt_output *o, void (*done)(void *ctx), void *ctx)
{
    end_streams(o);
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
    size_t skip = whole || t->len < TASK_TAIL_BYTES
                      ? 0
                      : tape_start(t, t->len - TASK_TAIL_BYTES);
    size_t len = t->len - skip;
    uint8_t *copy;

    r->output_bytes = o->total;
    r->dropped_bytes = whole ? 0 : o->dropped;
    r->log_chunks = o->seq;
    if (len == 0)
        return;
    r->output = mem_pool_alloc(pool, t->n_runs * sizeof *r->output);
    r->n_output = tape_parts(t, skip, len, r->output);
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
    mask_stream_free(&o->streams[0]);
    mask_stream_free(&o->streams[1]);
    mask_free(o->mask);
    tape_free(&o->recent);
    tape_free(&o->tail);
    mem_free(o);
}
