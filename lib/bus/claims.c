/*
 * Reads and writes KV_claims with one request each, for the worker, the replay
 * of its spool, and the reaper's checks, repairs and cancels. Requests carry
 * the caller's own callback and context, so that bus_forget works as ever. The
 * watched claims are an array that is searched from the start: it is looked at
 * only for claims of others, which are few.
 */
#include "lib/bus/claims.h"

#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/model/task_state.h"

#include <string.h>

enum {
    TIMEOUT_MS = 5000,          /* for the broker to answer */
    FORGET_MS = 10 * 60 * 1000, /* a watched claim that is not seen again */
    LEASE_MARGIN_MS = 5000,     /* beyond the lease before nobody serves it */
};

/* --- reading and writing -------------------------------------------------- */

void
claims_get(struct bus *b, const char *backend, const char *task,
           bus_entry_fn *fn, void *ctx)
{
    char subject[SUBJECT_SIZE];

    bus_get_last(b, "KV_claims", subject_claim(subject, backend, task),
                 TIMEOUT_MS, fn, ctx);
}

int
claims_read(const struct bus *b, const struct bus_entry *entry,
            const char *task, struct mem_pool *pool, struct claims_entry *out,
            struct err *e)
{
    struct claim *claim;

    *out = (struct claims_entry){0};
    if (!entry)
        return 0;
    out->revision = entry->revision;
    out->age_ms = bus_broker_ms(b) - entry->stored_at_ms;
    if (entry->len == 0)
        return 0; /* somebody deleted it */
    claim = mem_pool_alloc(pool, sizeof *claim);
    if (codec_decode(CODEC_CLAIM, entry->data, entry->len, pool, claim, e) < 0)
        return -1;
    if (strcmp(claim->task, task) != 0)
        return err_set(e, ERR_INVALID, "it is of task %s", claim->task);
    out->claim = claim;
    return 0;
}

void
claims_put(struct bus *b, const char *backend, const struct claim *c,
           uint64_t revision, bus_stored_fn *fn, void *ctx)
{
    char subject[SUBJECT_SIZE];
    struct str bytes = {0};

    codec_encode(CODEC_CLAIM, c, &bytes);
    bus_publish(b,
                &(struct bus_publication){
                    .subject = subject_claim(subject, backend, c->task),
                    .data = str_text(&bytes),
                    .len = bytes.len,
                    .expect = (int64_t)revision},
                TIMEOUT_MS, fn, ctx);
    str_free(&bytes);
}

bool
claims_may_have_expired(const struct bus *b, int64_t stored_at_ms,
                        int64_t kept_ms)
{
    int64_t now_ms = bus_broker_ms(b), wall_ms = str_wall_ms();

    if (wall_ms > now_ms)
        now_ms = wall_ms;
    return now_ms - stored_at_ms >= (kept_ms ? kept_ms : CLAIMS_KEPT_MS);
}

/* --- watching ------------------------------------------------------------- */

struct watched_claim {
    char task[TASK_ID_SIZE];
    uint64_t revision;
    int64_t first_ms, last_ms; /* seen at that revision; monotonic */
};

struct claims_watch {
    struct watched_claim *v;
    size_t n, cap;
};

struct claims_watch *
claims_watch_new(void)
{
    return MEM_NEW(struct claims_watch);
}

void
claims_watch_free(struct claims_watch *w)
{
    if (!w)
        return;
    mem_free(w->v);
    mem_free(w);
}

/* The place of that task, or one for it; NULL: there is no room. */
static struct watched_claim *
place_of(struct claims_watch *w, const char *task, int64_t now_ms)
{
    struct watched_claim *oldest = NULL;

    for (size_t i = 0; i < w->n; i++) {
        struct watched_claim *at = &w->v[i];

        if (strcmp(at->task, task) == 0)
            return at;
        if (!oldest || at->last_ms < oldest->last_ms)
            oldest = at;
    }
    if (w->n == CLAIMS_WATCHED_MAX)
        return now_ms - oldest->last_ms > FORGET_MS ? oldest : NULL;
    w->v = mem_grow(w->v, w->n, &w->cap, sizeof *w->v);
    w->v[w->n] = (struct watched_claim){.revision = 0};
    return &w->v[w->n++];
}

void
claims_watch_restart(struct claims_watch *w)
{
    w->n = 0;
}

struct claim_sight
claims_watch_see(struct claims_watch *w, const char *task,
                 const struct claims_entry *found, int64_t now_ms)
{
    struct claim_sight sight = {.age_ms = found->age_ms};
    struct watched_claim *at = place_of(w, task, now_ms);

    if (!at)
        return sight;
    at->last_ms = now_ms;
    if (at->revision == found->revision && strcmp(at->task, task) == 0) {
        sight.unchanged_ms = now_ms - at->first_ms;
        return sight;
    }
    (void)str_copy(at->task, sizeof at->task, task);
    at->revision = found->revision;
    at->first_ms = now_ms;
    return sight;
}

bool
claims_is_unserved(const struct claims_entry *found)
{
    const struct claim *c = found->claim;

    return c && (c->state == STATE_RETRY_WAIT || c->state == STATE_PREEMPTED ||
                 c->state == STATE_LOST ||
                 (c->state == STATE_RUNNING &&
                  found->age_ms > (int64_t)c->lease_ms + LEASE_MARGIN_MS));
}

/* --- results -------------------------------------------------------------- */

/* A worker writes the fence into its claim when it renews it. */
static uint64_t
fence_of(const struct claims_entry *found)
{
    return found->claim->fence ? found->claim->fence : found->revision;
}

static void
result_of_members(const struct claims_entry *found,
                  const struct claims_task *task, struct result *out)
{
    const struct claim *c = found->claim;

    codec_init(CODEC_RESULT, out);
    out->task = task->id;
    out->attempt = c->attempt;
    out->fence = fence_of(found);
    out->nonce = c->nonce;
    out->backend = task->backend;
    out->lane = task->lane;
    out->worker = c->worker;
    out->batch = task->batch;
    out->state = c->state;
    out->exit_code = c->exit_code;
    out->reason = c->reason;
    out->started_at_ms = c->started_at_ms;
    out->finished_at_ms = c->finished_at_ms;
    out->retry_at_ms = c->retry_at_ms;
}

void
claims_result(const struct claims_entry *found, const struct claims_task *task,
              struct output_part *part, struct result *out)
{
    const struct claim *c = found->claim;

    if (c->result)
        *out = *c->result;
    else
        result_of_members(found, task, out);
    out->emitted_again = true;
    if (c->tail.len == 0)
        return;
    *part = (struct output_part){STREAM_STDOUT, c->tail};
    out->output = part;
    out->n_output = 1;
    if (out->log_chunks == 0 && out->output_bytes > c->tail.len)
        out->dropped_bytes = out->output_bytes - c->tail.len;
}

void
claims_close(const struct claims_entry *found, struct result *r,
             struct claim *out)
{
    codec_init(CODEC_CLAIM, out);
    out->task = r->task;
    out->nonce = r->nonce;
    out->state = r->state;
    out->finished_at_ms = r->finished_at_ms;
    out->reason = r->reason;
    if (found->claim) {
        out->attempt = found->claim->attempt;
        out->fence = r->fence = fence_of(found);
        out->lost = found->claim->lost;
        out->failed = found->claim->failed;
    }
    out->result = r;
}
