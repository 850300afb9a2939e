/*
 * Adds up the reaper's sum for the day, the costs seen here since, and the
 * reservations of running jobs.
 */
#include "workers/secutools/budget.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/money.h"
#include "lib/model/subject.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
    DAY_MS = 24 * 60 * 60 * 1000,
    REFRESH_MS = 30000,
    RETRY_MS = 1000, /* while nothing is known yet */
    QUERY_MS = 5000,
};

struct budget {
    struct bus *bus;
    int64_t limit; /* nanodollars; -1: none */
    char backend[SUBJECT_TOKEN_MAX + 1];
    struct loop_timer *timer;
    int64_t day; /* of the sums, since 1970 */
    bool known, querying, warned;
    int64_t ledger;      /* as of the last answer */
    int64_t before, now; /* seen here before the last query, and since */
    int64_t reserved;
};

static int64_t
today(void)
{
    return str_wall_ms() / DAY_MS;
}

int64_t
budget_day_left_ms(void)
{
    return DAY_MS - str_wall_ms() % DAY_MS;
}

static void
day_text(int64_t day, char out[32])
{
    (void)str_time(day * DAY_MS, out, 32);
    out[10] = '\0';
}

/* Resets the sums when a new day begins. */
static void
update_day(struct budget *b)
{
    if (b->day == today())
        return;
    b->day = today();
    b->ledger = b->before = b->now = 0;
}

/* --- queries to the reaper ------------------------------------------------ */

bool
budget_read_answer(const char *text, size_t len, const char *backend,
                   const char *day, int64_t *nano)
{
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL), *row;
    const char *of = json_string_value(json_object_get(o, "day"));
    const json_t *list = json_object_get(o, "costs");
    bool ok = of && strcmp(of, day) == 0 && json_is_array(list);
    int64_t one;
    size_t i;

    *nano = 0;
    json_array_foreach(ok ? list : NULL, i, row)
    {
        const char *at = json_string_value(json_object_get(row, "backend"));
        const char *cost = json_string_value(json_object_get(row, "cost_usd"));

        if (!at || strcmp(at, backend) != 0)
            continue;
        if (!cost || !money_read(cost, &one)) {
            ok = false;
            break;
        }
        *nano = money_add(*nano, one);
    }
    json_decref(o);
    return ok;
}

static void
on_answer(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct budget *b = ctx;
    char day[32];
    int64_t nano;

    b->querying = false;
    update_day(b);
    day_text(b->day, day);
    if (!e && budget_read_answer((const char *)note->data, note->len,
                                 b->backend, day, &nano)) {
        b->ledger = nano;
        b->known = true;
    } else if (!b->known && !b->warned) {
        b->warned = true;
        log_warn("budget.unknown",
                 "text=\"the reaper has not reported today's costs; nothing is "
                 "submitted before\" error=\"%s\"",
                 e ? LOG_TEXT(e->msg) : "");
    }
    loop_timer_again(b->timer, b->known ? REFRESH_MS : RETRY_MS, 0);
}

static void
on_timer(void *ctx)
{
    struct budget *b = ctx;
    char subject[SUBJECT_SIZE], day[32], query[48];
    int n;

    if (b->querying)
        return;
    update_day(b);
    day_text(b->day, day);
    n = snprintf(query, sizeof query, "{\"day\":\"%.10s\"}", day);
    b->before = b->now;
    b->now = 0;
    b->querying = true;
    bus_request(b->bus, subject_ask(subject, "costs"), query, (size_t)n,
                QUERY_MS, on_answer, b);
}

/* --- checks --------------------------------------------------------------- */

static int64_t
spent(struct budget *b)
{
    update_day(b);
    return money_add(money_add(b->ledger, b->before), b->now);
}

enum budget_verdict
budget_ask(struct budget *b, int64_t most_nano)
{
    int64_t left;

    if (b->limit < 0)
        return BUDGET_FITS;
    if (!b->known)
        return BUDGET_UNKNOWN;
    left = b->limit - spent(b);
    if (left <= 0)
        return BUDGET_OVER;
    if (left < most_nano)
        return BUDGET_SHORT;
    left -= b->reserved;
    return left < most_nano || left <= 0 ? BUDGET_HELD : BUDGET_FITS;
}

void
budget_reserve(struct budget *b, int64_t most_nano)
{
    b->reserved = money_add(b->reserved, most_nano);
}

void
budget_release(struct budget *b, int64_t most_nano)
{
    b->reserved = b->reserved > most_nano ? b->reserved - most_nano : 0;
}

void
budget_spend(struct budget *b, const char *cost_usd)
{
    int64_t nano;

    update_day(b);
    if (b->limit >= 0 && money_read(cost_usd, &nano))
        b->now = money_add(b->now, nano);
}

int
budget_open(struct budget **out, struct bus *b, struct loop *l,
            const char *limit, const char *backend, struct err *e)
{
    struct budget *g;
    int64_t nano = -1;

    if (*limit && !money_read(limit, &nano))
        return err_set(
            e, ERR_INVALID,
            "secutools.max_cost_per_day: \"%s\" is not an amount like "
            "20.00",
            limit);
    g = MEM_NEW(struct budget);
    g->bus = b;
    g->limit = nano;
    g->day = today();
    (void)str_copy(g->backend, sizeof g->backend, backend);
    if (nano >= 0)
        g->timer = loop_timer_start(l, 0, 0, on_timer, g);
    *out = g;
    return 0;
}

void
budget_close(struct budget *b)
{
    if (!b)
        return;
    bus_forget(b->bus, b);
    loop_timer_stop(b->timer);
    mem_free(b);
}
