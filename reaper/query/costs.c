/*
 * Answers costs: what the attempts that ended on a day (UTC) cost, by backend,
 * provider and team, and in all.
 */
#include "reaper/query/query_private.h"

#include "lib/model/money.h"
#include "reaper/report/report.h"

#include <time.h>

/* "2026-11-25" as days since 1970; absent: today. */
static int
read_day(const json_t *v, int64_t *out, struct err *e)
{
    const char *text = json_string_value(v);
    const char *rest;
    struct tm tm = {0};

    *out = str_wall_ms() / DB_DAY_MS;
    if (!v || json_is_null(v))
        return 0;
    rest = text ? strptime(text, "%Y-%m-%d", &tm) : NULL;
    if (rest && !*rest) {
        *out = (int64_t)timegm(&tm) * 1000 / DB_DAY_MS;
        return 0;
    }
    return err_set(e, ERR_INVALID, "day: not a date like 2026-11-25");
}

static json_t *
cost_json(const struct db_cost *c)
{
    char text[MONEY_SIZE];
    json_t *o = json_object();

    report_set_text(o, "backend", c->backend);
    report_set_text(o, "provider", c->provider);
    report_set_text(o, "team", c->team);
    report_set_text(o, "cost_usd", money_text(c->nano, text));
    report_set(o, "attempts", json_integer(c->attempts));
    if (c->estimated)
        report_set(o, "estimated", json_integer(c->estimated));
    return o;
}

json_t *
query_costs(struct query *q, const json_t *request)
{
    struct db_cost *costs;
    int64_t day, total = 0;
    char text[MONEY_SIZE], at[32];
    size_t n, room = query_room(q);
    struct err e;
    json_t *list;

    if (read_day(json_object_get(request, "day"), &day, &e) < 0 ||
        db_costs(q->p.db, day, q->pool, &costs, &n, &e) < 0)
        return query_failure(&e);
    list = json_array();
    for (size_t i = 0; i < n; i++) {
        total = money_add(total, costs[i].nano); /* of those left out, too */
        (void)query_append(list, cost_json(&costs[i]), &room, false);
    }
    (void)str_time(day * DB_DAY_MS, at, sizeof at);
    at[10] = '\0';
    return json_pack("{s:s, s:s, s:o}", "day", at, "total_usd",
                     money_text(total, text), "costs", list);
}
