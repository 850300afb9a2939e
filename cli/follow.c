/*
 * Output arrives as numbered chunks on a core subject, which may lose some. A
 * chunk that comes too early is held; a gap that stays is filled from the
 * stream. The end is a result on done.<task>, or what the reaper says when none
 * comes.
 */
#include "cli/follow.h"

#include "cli/output.h"
#include "cli/task_ops.h"
#include "lib/base/terminal.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    TICK_MS = 1000,
    QUIET_MS = 5000, /* without a message: ask the reaper */
    POLL_MS = 3000,
    UNSTARTED_MS = 3000, /* not started: print why */
    FETCH_MS = 3000,
    HELD_MAX = 512, /* chunks that arrived early */
};

struct held_chunk {
    uint32_t seq;
    struct str raw;
};

struct follow {
    struct cli *c;
    char id[TASK_ID_SIZE];
    struct bus_sub *logs, *done, *started;
    struct mem_pool *scratch; /* the message at hand */
    struct mem_pool *keep;    /* the result */
    struct result result;
    bool finished, running, wake, left, cancels; /* cancels: at ^C */
    bool waits_said;              /* why the task has not started */
    int write_error;              /* errno of the first write that failed */
    bool raw;                     /* also on a terminal, output as it is */
    struct terminal terminals[2]; /* stdout, stderr */
    uint32_t attempt, next;       /* the chunk to print next */
    struct held_chunk held[HELD_MAX];
    size_t n_held;
    uint64_t dropped; /* bytes, as printed so far */
    int64_t opened_ms, heard_ms, polled_ms;
};

/* --- printing ------------------------------------------------------------ */

static void interrupt(struct follow *f);

/* Nobody reads the output any more: like ^C. Another failure is said, and the
 * task continues. */
static void
on_write_failed(struct follow *f, int error)
{
    if (f->write_error)
        return;
    f->write_error = error;
    if (error == EPIPE)
        interrupt(f);
    else
        cli_say(f->c, "the output of %s could not be written: %s", f->id,
                strerror(error));
}

static bool
is_text(const struct bytes *b)
{
    size_t at = 0, n = 1;

    for (; at < b->len && n > 0; at += n)
        n = str_utf8_len(b->data + at, b->len - at);
    return n > 0;
}

/* Bytes that are no text come in base 64 as well. */
static void
print_json(struct follow *f, uint32_t seq, const struct output_part *p)
{
    struct str text = {0}, bytes = {0};
    json_t *o = json_pack("{s:s, s:i, s:i, s:s}", "task", f->id, "attempt",
                          (int)f->attempt, "seq", (int)seq, "stream",
                          p->stream == STREAM_STDERR ? "stderr" : "stdout");

    if (is_text(&p->data)) {
        str_add(&text, p->data.data, p->data.len);
    } else {
        str_add_utf8(&text, p->data.data, p->data.len);
        str_add_base64(&bytes, p->data.data, p->data.len);
        (void)json_object_set_new(o, "encoding", json_string("base64"));
        (void)json_object_set_new(o, "data", json_string(str_text(&bytes)));
    }
    (void)json_object_set_new(o, "text",
                              json_stringn(str_text(&text), text.len));
    out_json_line(out_with_schema("log", o));
    str_free(&text);
    str_free(&bytes);
    if (!out_flush())
        on_write_failed(f, out_is_unread() ? EPIPE : EIO);
}

static bool
filters(const struct follow *f, int fd)
{
    return !f->raw && isatty(fd);
}

static void
print_part(struct follow *f, uint32_t seq, const struct output_part *p)
{
    bool err = p->stream == STREAM_STDERR;
    int fd = err ? STDERR_FILENO : STDOUT_FILENO;
    struct str shown = {0};
    bool written;

    if (f->c->json) {
        print_json(f, seq, p);
        return;
    }
    if (f->write_error)
        return;
    if (filters(f, fd)) {
        terminal_add(&f->terminals[err], p->data.data, p->data.len, &shown);
        written = out_bytes(fd, str_text(&shown), shown.len);
        str_free(&shown);
    } else {
        written = out_bytes(fd, p->data.data, p->data.len);
    }
    if (!written)
        on_write_failed(f, errno);
}

/* The output is over: what we say next has no colour of its. */
static void
end_terminals(struct follow *f)
{
    for (int i = 0; i < 2; i++) {
        struct str end = {0};

        terminal_end(&f->terminals[i], &end);
        if (end.len && !f->write_error)
            (void)out_bytes(i ? STDERR_FILENO : STDOUT_FILENO, end.data,
                            end.len);
        str_free(&end);
    }
}

static void
say_dropped(struct follow *f, uint64_t total)
{
    if (total <= f->dropped)
        return;
    cli_say(f->c, "%llu bytes of output were dropped here",
            (unsigned long long)(total - f->dropped));
    f->dropped = total;
}

static void
forget_held(struct follow *f)
{
    while (f->n_held)
        str_free(&f->held[--f->n_held].raw);
}

static void take_chunk(struct follow *f, const void *data, size_t len);

/* Prints the held chunks that follow the one just printed. */
static void
release_held(struct follow *f)
{
    struct str raw;

    for (size_t i = 0; i < f->n_held;) {
        if (f->held[i].seq > f->next) {
            i++;
            continue;
        }
        raw = f->held[i].raw;
        f->held[i] = f->held[--f->n_held];
        take_chunk(f, raw.data, raw.len);
        str_free(&raw);
        i = 0;
    }
}

static void
new_attempt(struct follow *f, uint32_t attempt)
{
    end_terminals(f);
    if (f->attempt)
        cli_say(f->c, "attempt %u", attempt);
    f->attempt = attempt;
    f->next = 1;
    f->dropped = 0;
    forget_held(f);
}

static void
take_chunk(struct follow *f, const void *data, size_t len)
{
    struct log_chunk chunk;
    struct err e = {0};

    mem_pool_reset(f->scratch);
    if (codec_decode(CODEC_LOG_CHUNK, data, len, f->scratch, &chunk, &e) < 0 ||
        strcmp(chunk.task, f->id) != 0)
        return;
    if (chunk.attempt > f->attempt)
        new_attempt(f, chunk.attempt);
    if (chunk.attempt < f->attempt || chunk.seq < f->next)
        return;
    if (chunk.seq > f->next) {
        for (size_t i = 0; i < f->n_held; i++)
            if (f->held[i].seq == chunk.seq)
                return;
        /* A chunk without room is read from the stream later. */
        if (f->n_held < HELD_MAX) {
            f->held[f->n_held].seq = chunk.seq;
            f->held[f->n_held].raw = (struct str){0};
            str_add(&f->held[f->n_held++].raw, data, len);
        }
        return;
    }
    if (chunk.dropped_bytes)
        say_dropped(f, f->dropped + chunk.dropped_bytes);
    for (size_t i = 0; i < chunk.n_parts; i++)
        print_part(f, chunk.seq, &chunk.parts[i]);
    f->next++;
    release_held(f);
}

/* --- messages ------------------------------------------------------------ */

static void
on_log(void *ctx, const struct bus_note *note)
{
    struct follow *f = ctx;

    f->heard_ms = loop_now_ms();
    f->running = true;
    take_chunk(f, note->data, note->len);
}

static void
on_started(void *ctx, const struct bus_note *note)
{
    struct follow *f = ctx;

    (void)note;
    f->heard_ms = loop_now_ms();
    f->running = true;
}

static void
on_done(void *ctx, const struct bus_note *note)
{
    struct follow *f = ctx;
    struct result r;
    struct err e = {0};

    if (f->finished)
        return;
    mem_pool_reset(f->keep);
    if (codec_decode(CODEC_RESULT, note->data, note->len, f->keep, &r, &e) <
            0 ||
        strcmp(r.task, f->id) != 0 || !state_is_terminal(r.state))
        return;
    f->result = r;
    f->finished = f->wake = true;
}

int
follow_open(struct follow **out, struct cli *c, const char *id, struct err *e)
{
    struct follow *f = MEM_NEW(struct follow);
    char subject[SUBJECT_SIZE];

    f->c = c;
    f->scratch = mem_pool_new();
    f->keep = mem_pool_new();
    f->next = 1;
    f->opened_ms = f->heard_ms = loop_now_ms();
    (void)str_copy(f->id, sizeof f->id, id);
    if (bus_subscribe(c->bus, subject_logs(subject, id), on_log, f, &f->logs,
                      e) < 0 ||
        bus_subscribe(c->bus, subject_done(subject, id), on_done, f, &f->done,
                      e) < 0 ||
        bus_subscribe(c->bus, subject_started(subject, id), on_started, f,
                      &f->started, e) < 0) {
        follow_close(f);
        return -1;
    }
    *out = f;
    return 0;
}

void
follow_close(struct follow *f)
{
    if (!f)
        return;
    end_terminals(f);
    loop_on_term(f->c->loop, NULL, NULL);
    bus_unsubscribe(f->logs);
    bus_unsubscribe(f->done);
    bus_unsubscribe(f->started);
    bus_forget(f->c->bus, f);
    forget_held(f);
    mem_pool_free(f->scratch);
    mem_pool_free(f->keep);
    mem_free(f);
}

void
follow_raw(struct follow *f)
{
    f->raw = true;
}

/* --- reading the stream -------------------------------------------------- */

struct fetch {
    bool done, found;
    struct str data;
    uint64_t revision;
    struct err *e;
};

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct fetch *g = ctx;

    g->done = true;
    if (e)
        *g->e = *e;
    if (!entry)
        return;
    g->found = true;
    g->revision = entry->revision;
    str_add(&g->data, entry->data, entry->len);
}

/* Reads the stored chunks up to number last (0: all); -1 on failure. */
static int
catch_up(struct follow *f, uint32_t last, struct err *e)
{
    struct fetch g = {.e = e};
    char subject[SUBJECT_SIZE];
    uint64_t seq = 0;

    (void)subject_logs(subject, f->id);
    e->code = ERR_NONE;
    do {
        if (last && f->next > last)
            break;
        g.done = g.found = false;
        str_reset(&g.data);
        bus_get_next(f->c->bus, "LOGS", subject, seq, FETCH_MS, on_entry, &g);
        while (!g.done)
            (void)loop_until(f->c->loop, &g.done, FETCH_MS * 2);
        if (g.found)
            take_chunk(f, g.data.data, g.data.len);
        seq = g.revision + 1;
    } while (g.found);
    str_free(&g.data);
    return e->code == ERR_NONE ? 0 : -1;
}

/* --- the end ------------------------------------------------------------- */

/* Fills f->result from what the reaper knows of the task. */
static int
result_of(struct follow *f, const json_t *task, struct err *e)
{
    static const char *const same[] = {
        "state",         "exit_code",  "reason",   "output", "output_bytes",
        "dropped_bytes", "log_chunks", "warnings", NULL};
    const json_t *list = json_object_get(task, "attempt_list"), *v;
    json_t *o = json_pack("{s:s}", "task", f->id);
    int64_t attempt = cli_int(task, "attempts", 0);
    size_t i;
    int rc;

    out_copy(o, task, same);
    json_array_foreach(list, i, v)
    {
        if (cli_int(v, "attempt", 0) > attempt)
            attempt = cli_int(v, "attempt", 0);
    }
    (void)json_object_set_new(o, "attempt", json_integer(attempt));
    if (!json_object_get(task, "exit_code"))
        (void)json_object_set_new(o, "no_exit_code", json_true());
    mem_pool_reset(f->keep);
    rc = codec_from_json(CODEC_RESULT, o, f->keep, &f->result, NULL, NULL, e);
    json_decref(o);
    return rc;
}

static void
poll_reaper(struct follow *f)
{
    json_t *task = NULL;
    struct err e = {0};
    enum state state;

    f->polled_ms = loop_now_ms();
    if (cli_show(f->c, f->id, &task, &e) < 0)
        return;
    state = cli_state(task);
    f->running = f->running || state == STATE_RUNNING;
    if (!f->finished && state_is_terminal(state) && result_of(f, task, &e) == 0)
        f->finished = true;
    json_decref(task);
}

/* Prints the output of the last attempt that has not been printed. */
static void
print_rest(struct follow *f)
{
    struct result *r = &f->result;
    json_t *task = NULL;
    struct err e = {0};

    if (!r->log_chunks && !r->n_output && r->output_bytes &&
        cli_show(f->c, f->id, &task, &e) == 0) {
        /* A result sent again after a crash: the reaper may have more. */
        (void)result_of(f, task, &e);
        json_decref(task);
    }
    if (r->attempt > f->attempt)
        new_attempt(f, r->attempt);
    if (r->log_chunks) {
        if (f->next <= r->log_chunks)
            (void)catch_up(f, r->log_chunks, &e);
        if (f->next <= r->log_chunks)
            cli_say(f->c, "%u of %u pieces of output are no longer stored",
                    r->log_chunks - f->next + 1, r->log_chunks);
    } else if (f->next == 1) {
        for (size_t i = 0; i < r->n_output; i++)
            print_part(f, 1, &r->output[i]);
        if (!r->n_output && r->output_bytes > r->dropped_bytes)
            cli_say(f->c, "%llu bytes of output were lost with the worker",
                    (unsigned long long)r->output_bytes);
    }
    say_dropped(f, r->dropped_bytes);
}

int
follow_print(struct follow *f, const json_t *task, uint32_t attempt,
             struct err *e)
{
    if (result_of(f, task, e) < 0)
        return -1;
    if (attempt && attempt != f->result.attempt) {
        /* Of an earlier attempt only the stream's part is left. */
        f->attempt = attempt;
        return catch_up(f, 0, e);
    }
    f->attempt = f->result.attempt;
    if (!state_is_terminal(f->result.state) || f->result.log_chunks)
        return catch_up(f, f->result.log_chunks, e);
    for (size_t i = 0; i < f->result.n_output; i++)
        print_part(f, 1, &f->result.output[i]);
    say_dropped(f, f->result.dropped_bytes);
    return 0;
}

/* --- waiting ------------------------------------------------------------- */

static void
on_cancelled(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct follow *f = ctx;

    (void)stored;
    if (e)
        cli_say(f->c, "the broker did not receive the cancel: %s", e->msg);
}

/* Cancels the task where follow_on_interrupt says so, else ends following. */
static void
interrupt(struct follow *f)
{
    if (f->cancels) {
        task_ops_cancel(f->c, f->id, on_cancelled, f);
        return;
    }
    f->left = true;
    loop_stop(f->c->loop, 0);
}

static void
on_term(void *ctx, int nth)
{
    struct follow *f = ctx;

    if (nth == 1 && f->cancels)
        cli_say(f->c, "cancelling %s; ^C again leaves it running", f->id);
    else
        f->cancels = false;
    interrupt(f);
}

void
follow_on_interrupt(struct follow *f, bool cancel)
{
    f->cancels = cancel;
    loop_on_term(f->c->loop, on_term, f);
}

static void
tick(struct follow *f)
{
    int64_t now = loop_now_ms();
    struct err e = {0};

    if (out_is_unread())
        on_write_failed(f, EPIPE);
    if (f->n_held && now - f->heard_ms > TICK_MS)
        (void)catch_up(f, 0, &e);
    if (!f->running && !f->waits_said && now - f->opened_ms > UNSTARTED_MS) {
        f->waits_said = true;
        task_ops_say_why_waiting(f->c, f->id);
    }
    if (now - f->heard_ms > QUIET_MS && now - f->polled_ms > POLL_MS)
        poll_reaper(f);
}

static void
print_result(const struct follow *f)
{
    json_t *o = codec_to_json(CODEC_RESULT, &f->result);

    /* The nonce is the worker's secret; an exit code of 0 is left out else. */
    (void)json_object_del(o, "nonce");
    (void)json_object_del(o, "no_exit_code");
    (void)json_object_set_new(o, "exit_code",
                              task_has_exit_code(&f->result)
                                  ? json_integer(f->result.exit_code)
                                  : json_null());
    out_json_line(out_with_schema("result", o));
}

const struct result *
follow_to_end(struct follow *f)
{
    while (!f->finished && !f->left) {
        f->wake = false;
        if (!loop_until(f->c->loop, &f->wake, TICK_MS) && !f->left)
            tick(f);
    }
    if (!f->finished)
        return NULL;
    print_rest(f);
    end_terminals(f);
    if (f->c->json)
        print_result(f);
    return &f->result;
}

int
follow_output_rc(const struct follow *f)
{
    if (!f->write_error)
        return RC_OK;
    return f->write_error == EPIPE ? RC_PIPE : RC_FAILED;
}

int
follow_rc(const struct follow *f, const struct result *r)
{
    int unwritten = follow_output_rc(f);

    if (unwritten == RC_PIPE)
        return unwritten;
    switch (r->state) {
    case STATE_SUCCEEDED:
        return r->exit_code ? r->exit_code : unwritten;
    case STATE_FAILED:
    case STATE_UNVERIFIED:
    case STATE_NO_OP:
        return r->exit_code ? r->exit_code : RC_FAILED;
    case STATE_TIMED_OUT:
        return RC_TIMED_OUT;
    case STATE_CANCELLED:
        return RC_CANCELLED;
    case STATE_REJECTED:
        return RC_REFUSED;
    case STATE_UNSPECIFIED:
    case STATE_SUBMITTED:
    case STATE_ACCEPTED:
    case STATE_HELD:
    case STATE_BLOCKED:
    case STATE_ROUTED:
    case STATE_RUNNING:
    case STATE_RETRY_WAIT:
    case STATE_DEAD:
    case STATE_UNKNOWN:
    case STATE_LOST:
    case STATE_PREEMPTED:
    case STATE_COUNT:
        return RC_OUR_SIDE;
    }
    return RC_OUR_SIDE;
}
