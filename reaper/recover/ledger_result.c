#include "reaper/recover/ledger_result.h"

#include "lib/model/codec.h"
#include "lib/model/subject.h"

void
ledger_result_result(const struct ledger_result *c, struct result *out)
{
    codec_init(CODEC_RESULT, out);
    out->task = c->task;
    out->nonce = c->nonce;
    out->backend = "ledger";
    out->state = c->state;
    out->final = true;
    out->reason = c->reason;
    out->finished_at_ms = c->at_ms;
    out->batch = subject_token_ok(c->batch) ? c->batch : "";
}

void
ledger_result_claim(const struct ledger_result *c, const struct claim *found,
                    struct result *r, struct claim *out)
{
    codec_init(CODEC_CLAIM, out);
    out->task = c->task;
    out->nonce = c->nonce;
    out->state = c->state;
    out->finished_at_ms = c->at_ms;
    out->reason = c->reason;
    if (found) {
        out->attempt = found->attempt;
        out->fence = r->fence = found->fence;
        out->lost = found->lost;
        out->failed = found->failed;
    }
    out->result = r;
}
