/*
 * Reads the key, then writes it by compare-and-set, one request at a time. The
 * value is JSON: who has it. An empty value was given back.
 */
#include "reaper/ledger_lease.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"
#include "lib/os/os.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum {
    LEASE_MS = 15000,
    PARTS = 3, /* renewals within a lease, and looks at another's */
    ANSWER_MS = 5000,
    NAME_SIZE = 512,
};

struct ledger_lease {
    struct ledger_lease_parts p;
    char host[NAME_SIZE], database[4 * NAME_SIZE];
    struct loop_timer *timer;
    uint64_t revision; /* of the key as last seen */
    int64_t seen_ms;   /* when it was first seen at that revision */
    bool busy;         /* a request is on its way */
    bool ours, told;
};

static void look(struct ledger_lease *l);

static void
again_in(struct ledger_lease *l, int64_t ms)
{
    loop_timer_again(l->timer, ms, 0);
}

/* --- writing -------------------------------------------------------------- */

static void
on_written(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct ledger_lease *l = ctx;

    l->busy = false;
    again_in(l, l->p.lease_ms / PARTS);
    if (stored) {
        bool first = !l->ours;

        l->revision = stored->seq;
        l->ours = true;
        if (first)
            l->p.taken(l->p.ctx);
    } else if (e->code == ERR_CONFLICT || e->code == ERR_TIMEOUT) {
        look(l); /* another has it, or an earlier try of ours arrived */
    } else {
        log_debug("lease.write", "error=\"%s\"", LOG_TEXT(e->msg));
    }
}

/* Writes the key if it is still at the revision seen. release: empty. */
static void
put(struct ledger_lease *l, bool release)
{
    char at[32], *text = NULL;
    json_t *o;

    if (!release) {
        o = json_pack("{s:s, s:s, s:i, s:s}", "host", l->host, "database",
                      l->database, "pid", (int)getpid(), "at",
                      str_time(str_wall_ms(), at, sizeof at));
        text = json_dumps(o, JSON_COMPACT);
        json_decref(o);
    }
    l->busy = true;
    bus_publish(l->p.bus,
                &(struct bus_publication){.subject = SUBJECT_LEDGER_LEASE,
                                          .data = text ? text : "",
                                          .len = text ? strlen(text) : 0,
                                          .expect = (int64_t)l->revision},
                ANSWER_MS, release ? NULL : on_written, l);
    mem_free(text);
}

/* --- reading -------------------------------------------------------------- */

/* Whether the value names this ledger, perhaps an earlier life of it. */
static bool
names_us(const struct ledger_lease *l, const json_t *o)
{
    const char *host = json_string_value(json_object_get(o, "host"));
    const char *database = json_string_value(json_object_get(o, "database"));

    return host && database && strcmp(host, l->host) == 0 &&
           strcmp(database, l->database) == 0;
}

static bool
is_over(const struct ledger_lease *l, const struct bus_entry *entry)
{
    return bus_broker_ms(l->p.bus) - entry->stored_at_ms >= l->p.lease_ms &&
           os_boot_ms() - l->seen_ms >= l->p.lease_ms;
}

static void
wait_for(struct ledger_lease *l, const json_t *o)
{
    const char *host = json_string_value(json_object_get(o, "host"));

    if (!l->told)
        log_warn("reaper.standby",
                 "host=%s pid=%lld text=\"another ledger serves this fleet: "
                 "this one waits until that is gone\"",
                 host ? LOG_TEXT(host) : "?",
                 (long long)json_integer_value(json_object_get(o, "pid")));
    l->told = true;
    again_in(l, l->p.lease_ms / PARTS);
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct ledger_lease *l = ctx;
    json_t *o = NULL;

    l->busy = false;
    again_in(l, l->p.lease_ms / PARTS);
    if (e) {
        log_debug("lease.read", "error=\"%s\"", LOG_TEXT(e->msg));
        return;
    }
    if (entry && entry->len)
        o = json_loadb((const char *)entry->data, entry->len, 0, NULL);
    if ((entry ? entry->revision : 0) != l->revision || l->seen_ms == 0) {
        l->revision = entry ? entry->revision : 0;
        l->seen_ms = os_boot_ms();
    }
    if (!o || names_us(l, o) || (!l->ours && is_over(l, entry)))
        put(l, false);
    else if (l->ours)
        l->p.lost(l->p.ctx);
    else
        wait_for(l, o);
    json_decref(o);
}

static void
look(struct ledger_lease *l)
{
    l->busy = true;
    bus_get_last(l->p.bus, "KV_control", SUBJECT_LEDGER_LEASE, ANSWER_MS,
                 on_entry, l);
}

/* --- life ----------------------------------------------------------------- */

void
ledger_lease_renew(struct ledger_lease *l)
{
    if (l->busy)
        return;
    if (l->ours)
        put(l, false);
    else
        look(l);
}

static void
on_timer(void *ctx)
{
    ledger_lease_renew(ctx);
}

struct ledger_lease *
ledger_lease_open(const struct ledger_lease_parts *parts)
{
    struct ledger_lease *l = MEM_NEW(struct ledger_lease);

    l->p = *parts;
    (void)str_copy(l->host, sizeof l->host, parts->host);
    (void)str_copy(l->database, sizeof l->database, parts->database);
    if (!l->p.lease_ms)
        l->p.lease_ms = LEASE_MS;
    l->timer = loop_timer_start(parts->loop, 0, 0, on_timer, l);
    return l;
}

void
ledger_lease_close(struct ledger_lease *l)
{
    if (!l)
        return;
    bus_forget(l->p.bus, l);
    loop_timer_stop(l->timer);
    if (l->ours)
        put(l, true);
    mem_free(l);
}
