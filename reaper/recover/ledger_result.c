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
