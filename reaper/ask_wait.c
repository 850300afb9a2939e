#include "reaper/ask_private.h"

#include "lib/codec.h"
#include "reaper/report.h"

enum { NAMED_MAX = 3, LOOKED_AT_MAX = 100 };

/* The tasks it comes after that are not over: the first few by their ids. */
static void
add_tasks(const struct ask *a, const struct task *t, struct str *out)
{
    size_t n = t->n_after < LOOKED_AT_MAX ? t->n_after : LOOKED_AT_MAX;
    unsigned open = 0;

    for (size_t i = 0; i < n; i++) {
        enum state s;
        struct err e;

        if (store_state(a->p.store, t->after[i], &s, &e) < 0 ||
            state_is_terminal(s))
            continue;
        if (++open <= NAMED_MAX)
            str_addf(out, "%s%s", open == 1 ? "waits for " : ", ", t->after[i]);
    }
    if (open > NAMED_MAX)
        str_addf(out, " and %u more", open - NAMED_MAX);
}

static void
add_time(int64_t at_ms, struct str *out)
{
    char text[32];

    if (at_ms > str_wall_ms())
        str_addf(out, "%s until %s", out->len ? ", and" : "waits",
                 str_time(at_ms, text, sizeof text));
}

void
ask_add_wait(const struct ask *a, const struct task_state *row, json_t *o)
{
    struct str why = {0};
    struct task t;
    struct err e;

    if (row->state == STATE_HELD) {
        report_set_text(o, "reason", "held by its submitter");
        return;
    }
    if (row->state != STATE_BLOCKED ||
        codec_decode(CODEC_TASK, row->task.data, row->task.len, a->pool, &t,
                     &e) < 0)
        return;
    if (row->released) {
        str_addz(&why, "is on its way to the router");
    } else {
        add_tasks(a, &t, &why);
        add_time(t.not_before_ms, &why);
    }
    report_set_text(o, "reason", str_text(&why));
    str_free(&why);
}
