/*
 * Resets the ledger's consumers and then asks the broker, five times a second,
 * whether they have anything left: first that of the submissions, then all.
 */
#include "reaper/recover/rebuild.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/bus/stream_info.h"
#include "reaper/sources.h"

enum { ASK_MS = 200 }; /* between inquiries how far the consumers are */

enum rebuild_stage { STAGE_SUBMISSIONS, STAGE_ALL, STAGE_FINISHED };

struct rebuild {
    struct rebuild_parts parts;
    struct loop_timer *timer;
    enum rebuild_stage stage;
    unsigned unanswered; /* inquiries */
    bool behind;         /* a consumer has something left */
};

static void
step(struct rebuild *r)
{
    if (r->behind) {
        loop_timer_again(r->timer, ASK_MS, 0);
    } else if (r->stage == STAGE_SUBMISSIONS) {
        r->stage = STAGE_ALL;
        r->parts.tasks_read(r->parts.ctx);
        loop_timer_again(r->timer, ASK_MS, 0);
    } else {
        r->stage = STAGE_FINISHED;
        r->parts.done(r->parts.ctx);
        log_info("reaper.rebuilt", "text=\"everything the streams hold is in "
                                   "the ledger again\"");
    }
}

static void
on_info(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct rebuild *r = ctx;
    struct stream_info_consumer info;
    struct err bad;

    if (e || stream_info_read_consumer(note, &info, &bad) < 0 || info.pending ||
        info.ack_pending)
        r->behind = true;
    if (--r->unanswered == 0)
        step(r);
}

static void
on_timer(void *ctx)
{
    struct rebuild *r = ctx;
    unsigned n = r->stage == STAGE_SUBMISSIONS ? 1 : SOURCES_N;

    r->behind = false;
    r->unanswered = n;
    for (unsigned i = 0; i < n; i++)
        stream_info_ask(r->parts.bus, sources_list[i].stream,
                        sources_list[i].durable, on_info, r);
}

int
rebuild_begin(struct rebuild **out, const struct rebuild_parts *parts,
              struct err *e)
{
    struct rebuild *r;
    bool is_new, used;

    *out = NULL;
    if (db_is_new(parts->db, &is_new, e) < 0)
        return -1;
    if (!is_new)
        return 0;
    if (jetstream_ledger_used(parts->bus, &used, e) < 0)
        return -1;
    if (!used)
        return 0;
    log_warn("reaper.rebuild", "text=\"the database is new and the ledger is "
                               "not: reading all streams again\"");
    if (jetstream_reset_ledger(parts->bus, e) < 0)
        return -1;
    *out = r = MEM_NEW(struct rebuild);
    r->parts = *parts;
    r->timer = loop_timer_start(parts->loop, ASK_MS, 0, on_timer, r);
    return 0;
}

bool
rebuild_runs(const struct rebuild *r)
{
    return r && r->stage != STAGE_FINISHED;
}

void
rebuild_close(struct rebuild *r)
{
    if (!r)
        return;
    bus_forget(r->parts.bus, r);
    loop_timer_stop(r->timer);
    mem_free(r);
}
