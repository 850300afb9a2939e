/*
 * Asks for the state of every stream on a timer; each answer replaces what was
 * known of that stream, and the alarms follow from what is known of all.
 */
#include "reaper/query/stream_monitor.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/bus/stream_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    STREAMS_MAX = 16,
    POLL_MS = 5000,
    SILENT_MS = 15000, /* without an answer JetStream is down */
    ALARM_PERCENT = 70,
};

struct stream_level {
    struct stream_monitor *monitor;
    const char *name;
    struct stream_info_stream info;
    bool known;
};

struct stream_monitor {
    struct bus *bus;
    struct alarms *alarms;
    struct loop_timer *timer;
    struct stream_level levels[STREAMS_MAX];
    size_t n;
    int64_t answered_ms; /* or when it was opened */
};

static int64_t
limit_of(const struct stream_level *s)
{
    if (strcmp(s->name, "KV_claims") == 0 && s->info.max_bytes > 0)
        return jetstream_claims_room(s->info.max_bytes);
    return s->info.max_bytes;
}

static int
percent_of(const struct stream_level *s)
{
    int64_t limit = limit_of(s);

    return limit > 0 ? (int)((double)s->info.bytes * 100 / (double)limit) : 0;
}

/* --- alarms --------------------------------------------------------------- */

/* A stream that drops its oldest messages is full most of the time. */
static void
show_full(struct stream_monitor *m)
{
    struct str text = {0};

    for (size_t i = 0; i < m->n; i++) {
        const struct stream_level *s = &m->levels[i];

        if (s->known && !s->info.discards_old && percent_of(s) >= ALARM_PERCENT)
            str_addf(&text, "%s%s has %d %% of its %" PRId64 " KiB",
                     text.len ? ", " : "", s->name, percent_of(s),
                     limit_of(s) / 1024);
    }
    if (text.len == 0) {
        (void)alarm_clear(m->alarms, "stream_full");
    } else if (alarm_raise(m->alarms, "stream_full",
                           "%s: when it is full nothing more is accepted; "
                           "raise bus.max_bytes and run `shunt provision "
                           "--change`",
                           str_text(&text))) {
        log_error("reaper.stream_full", "text=\"%s\"", str_text(&text));
    }
    str_free(&text);
}

static void
show_dead_letters(struct stream_monitor *m, const struct stream_level *s)
{
    if (s->info.messages)
        (void)alarm_raise(m->alarms, "dead_letters",
                          "%" PRIu64 " messages could not be understood or "
                          "were given up: they are kept in the stream DEAD",
                          s->info.messages);
    else
        (void)alarm_clear(m->alarms, "dead_letters");
}

static void
show_silence(struct stream_monitor *m)
{
    if (stream_monitor_answers(m) || !bus_is_up(m->bus))
        (void)alarm_clear(m->alarms, "jetstream_down");
    else if (alarm_raise(m->alarms, "jetstream_down",
                         "the broker is connected and JetStream does not "
                         "answer: of a cluster most servers must be alive"))
        log_error("reaper.jetstream_down", "url=%s", bus_url(m->bus));
}

/* --- asking --------------------------------------------------------------- */

static void
on_info(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct stream_level *s = ctx;
    struct stream_monitor *m = s->monitor;
    struct err bad;

    if (e || stream_info_read_stream(note, &s->info, &bad) < 0) {
        log_debug("stream.info", "stream=%s error=\"%s\"", s->name,
                  LOG_TEXT(e ? e->msg : bad.msg));
        return;
    }
    s->known = true;
    m->answered_ms = loop_now_ms();
    if (strcmp(s->name, "DEAD") == 0)
        show_dead_letters(m, s);
    show_full(m);
    show_silence(m);
}

static void
on_timer(void *ctx)
{
    struct stream_monitor *m = ctx;

    show_silence(m);
    for (size_t i = 0; i < m->n && bus_is_up(m->bus); i++)
        stream_info_ask(m->bus, m->levels[i].name, NULL, on_info,
                        &m->levels[i]);
}

/* --- what is known -------------------------------------------------------- */

bool
stream_monitor_answers(const struct stream_monitor *m)
{
    return loop_now_ms() - m->answered_ms < SILENT_MS;
}

json_t *
stream_monitor_json(const struct stream_monitor *m)
{
    json_t *list = json_array();

    for (size_t i = 0; i < m->n; i++) {
        const struct stream_level *s = &m->levels[i];

        if (s->known)
            (void)json_array_append_new(
                list,
                json_pack("{s:s, s:I, s:I, s:I, s:i}", "name", s->name,
                          "messages", (json_int_t)s->info.messages, "bytes",
                          (json_int_t)s->info.bytes, "max_bytes",
                          (json_int_t)limit_of(s), "percent", percent_of(s)));
    }
    return list;
}

/* --- life ----------------------------------------------------------------- */

struct stream_monitor *
stream_monitor_open(struct bus *b, struct loop *l, struct alarms *alarms)
{
    struct stream_monitor *m = MEM_NEW(struct stream_monitor);
    const char *const *names = jetstream_streams();

    m->bus = b;
    m->alarms = alarms;
    m->answered_ms = loop_now_ms();
    for (; *names && m->n < STREAMS_MAX; names++)
        m->levels[m->n++] = (struct stream_level){.monitor = m, .name = *names};
    m->timer = loop_timer_start(l, 0, POLL_MS, on_timer, m);
    return m;
}

void
stream_monitor_close(struct stream_monitor *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        bus_forget(m->bus, &m->levels[i]);
    loop_timer_stop(m->timer);
    mem_free(m);
}
