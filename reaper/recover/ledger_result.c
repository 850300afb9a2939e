/*
 * Makes results in the ledger's name, writes them into claims and publishes
 * them. The message id is the ledger's own: that of attempt 0 may have been
 * used for the rejection of a second submission with the same id.
 */
#include "reaper/recover/ledger_result.h"

#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <stdio.h>

/* nonce: of the claim; "" if there is none. cancel has room for the request. */
static void
make_result(const struct ledger_op *op, enum state state, int64_t at_ms,
            const char *nonce, struct control *cancel, struct result *out)
{
    codec_init(CODEC_RESULT, out);
    out->task = op->id;
    out->nonce = nonce;
    out->backend = "ledger";
    out->state = state;
    out->final = true;
    out->no_exit_code = true;
    out->reason = str_text(&op->reason);
    out->finished_at_ms = at_ms;
    *cancel = ledger_op_cancel(op);
    if (state == STATE_CANCELLED && cancel->at_ms)
        out->cancel = cancel;
    out->batch = subject_token_ok(op->batch) ? op->batch : "";
}

void
ledger_result_claim(struct ledger_op *op, enum state state, int64_t at_ms,
                    const struct claims_entry *found, bus_stored_fn *fn)
{
    struct control cancel;
    struct result r;
    struct claim c;
    char nonce[24];

    str_random(nonce, sizeof nonce);
    make_result(op, state, at_ms, nonce, &cancel, &r);
    claims_close(found, &r, &c);
    codec_encode(CODEC_RESULT, &r, &op->bytes);
    claims_put(op->ops->bus, op->backend, &c, found->revision, fn, op);
}

void
ledger_result_publish(struct ledger_op *op)
{
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 8];

    (void)snprintf(id, sizeof id, "%s:l", op->id);
    ledger_op_publish(op, subject_result(subject, "ledger", op->source), id);
}

void
ledger_result_end(struct ledger_op *op, enum state state, int64_t at_ms)
{
    struct control cancel;
    struct result r;

    make_result(op, state, at_ms, "", &cancel, &r);
    codec_encode(CODEC_RESULT, &r, &op->bytes);
    ledger_result_publish(op);
}
