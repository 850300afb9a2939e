/*
 * Combines the task's policy, its claim and what the ledger recorded into one
 * plan. What a delivery would do with the claim is asked of
 * lib/model/task_state.c, as a worker does.
 */
#include "reaper/recover/repair_plan.h"

#include "lib/model/codec.h"

#include <string.h>

void
repair_plan(const struct repair_facts *f, struct repair_plan *out)
{
    *out = (struct repair_plan){.what = REPAIR_NOTHING};
    if (!f->claim) {
        out->restore = f->started > 0;
        out->what = f->gone ? REPAIR_REDISPATCH : REPAIR_NOTHING;
        return;
    }
    if (state_is_terminal(f->claim->state)) {
        out->what = REPAIR_EMIT;
        return;
    }
    if (!f->gone)
        return;
    state_on_delivery(f->task, f->claim, &f->sight, f->now_ms, &out->delivery);
    switch (out->delivery.what) {
    case DELIVERY_START:
        out->what = REPAIR_REDISPATCH;
        break;
    case DELIVERY_EMIT:
        out->what = REPAIR_EMIT;
        break;
    case DELIVERY_WAIT:
        out->what = REPAIR_LATER;
        out->again_ms = out->delivery.delay_ms;
        break;
    case DELIVERY_CLOSE:
        out->what = REPAIR_CLOSE;
        break;
    }
}

static int64_t
later_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t
repair_changed_ms(const struct task_state *s)
{
    int64_t ms = later_of(s->in_at_ms, s->routed_at_ms);

    if (!s->has_result)
        return ms;
    return later_of(ms, later_of(s->finished_at_ms, s->retry_at_ms));
}

void
repair_claim(const struct task_state *s, const struct attempt_row *attempts,
             size_t n, uint32_t runs, const char *nonce, struct mem_pool *pool,
             struct claim *out)
{
    codec_init(CODEC_CLAIM, out);
    out->task = s->id;
    out->nonce = nonce;
    out->worker = s->worker;
    out->attempt = runs > s->attempts ? runs : s->attempts;
    /* What ran and never reported is lost; all else counts as handed back for
     * the next attempt. */
    out->state = runs > s->attempts ? STATE_LOST : STATE_PREEMPTED;
    for (size_t i = 0; i < n; i++) {
        struct result r;
        struct err bad;

        if (codec_decode(CODEC_RESULT, attempts[i].result.data,
                         attempts[i].result.len, pool, &r, &bad) < 0 ||
            r.attempt == 0)
            continue;
        if (r.state == STATE_LOST)
            out->lost++;
        else if (r.state == STATE_FAILED || r.state == STATE_TIMED_OUT)
            out->failed++;
    }
}

void
repair_result(const struct task_state *s, const struct claims_entry *found,
              struct output_part *part, struct result *out)
{
    claims_result(found,
                  &(struct claims_task){s->id, s->backend, s->lane, s->batch},
                  part, out);
    out->final = true;
    if (strcmp(out->backend, "ledger") == 0)
        out->emitted_again = false; /* the original, word for word */
}
