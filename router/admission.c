/*
 * Decodes and completes one task, gives it an id if it has none, and asks
 * decide() where it goes. Whatever cannot be decoded becomes a dead letter,
 * under the id that can still be read from it.
 */
#include "router/admission.h"

#include "lib/base/str.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "router/policy.h"

#include <string.h>

/* --- invalid messages ---------------------------------------------------- */

static void
take_token(const json_t *json, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(json, key));

    if (text && subject_token_ok(text))
        (void)str_copy(out, size, text);
}

/*
 * Finds the id and source of a message that is not a valid task, so that its
 * submitter gets the rejection: from JSON, else the id it was published with.
 */
static void
recover_id(const struct inbound *in, struct admission *out)
{
    struct err e;
    json_t *json = NULL;

    if (in->len && memchr(in->data, '{', in->len < 16 ? in->len : 16))
        json = codec_parse_json("task", in->data, in->len, &e);
    if (json) {
        take_token(json, "id", out->id, sizeof out->id);
        take_token(json, "source", out->source, sizeof out->source);
        json_decref(json);
    }
    if (!*out->id && subject_token_ok(in->id))
        (void)str_copy(out->id, sizeof out->id, in->id);
}

/* --- valid tasks --------------------------------------------------------- */

/* The reaper derives the same id from the same message. */
static void
assign_id(const struct inbound *in, struct mem_pool *pool, struct task *t)
{
    char id[TASK_ID_SIZE];

    if (*t->id)
        return;
    if (subject_token_ok(in->id)) {
        t->id = mem_pool_strdup(pool, in->id);
        return;
    }
    if (!in->number) {
        task_id_from_message(in->seq, in->stored_at_ms, in->data, in->len, id);
    } else {
        if (!*in->message_id)
            task_id_from_message(in->seq, in->stored_at_ms, in->message.data,
                                 in->message.len, in->message_id);
        task_id_of_member(in->message_id, in->number - 1, id);
    }
    t->id = mem_pool_strdup(pool, id);
}

/*
 * Tasks that wait for a person, a time or another task belong to the reaper: it
 * holds them and dispatches them, with these fields cleared, when they are due.
 * Whether not_before has passed is not checked: the reaper holds tasks by these
 * fields alone, and a task it believes held must not run.
 */
static bool
must_wait(const struct task *t)
{
    return t->hold || t->n_after > 0 || t->not_before_ms != 0;
}

static bool
lane_exists(char **lanes, const char *backend, const char *lane)
{
    for (const char *const *p = jetstream_lanes(); *p; p++)
        if (policy_is_lane(*p, backend, lane))
            return true;
    for (char **p = lanes; p && *p; p++)
        if (policy_is_lane(*p, backend, lane))
            return true;
    return false;
}

static const char *
describe_missing_lane(char **lanes, const struct decision *d,
                      struct mem_pool *pool)
{
    struct str text = {0};
    const char *copy;

    str_addf(&text, "there is no lane %s.%s; there are", d->backend, d->lane);
    for (const char *const *p = jetstream_lanes(); *p; p++)
        str_addf(&text, "%s %s", p == jetstream_lanes() ? "" : ",", *p);
    for (char **p = lanes; p && *p; p++)
        str_addf(&text, ", %s", *p);
    copy = mem_pool_strndup(pool, str_text(&text), text.len);
    str_free(&text);
    return copy;
}

static void
set_verdict(struct admission *out, enum admission_verdict verdict,
            const char *reason)
{
    out->verdict = verdict;
    out->reason = reason;
}

/* Decides where a decoded task goes, or why it does not. */
static void
admit_task(const struct router_rules *rules, const struct routing_facts *f,
           int64_t now_ms, struct mem_pool *pool, struct admission *out)
{
    struct task *t = &out->task;
    struct decision *d = &out->decision;

    (void)str_copy(out->id, sizeof out->id, t->id);
    (void)str_copy(out->source, sizeof out->source, t->source);
    if (t->batch)
        (void)str_copy(out->batch, sizeof out->batch, t->batch->id);
    if (must_wait(t)) {
        set_verdict(out, ADMIT_LEAVE, "");
        return;
    }
    decide(t, f, rules->policy, pool, d);
    d->decided_at_ms = now_ms;
    if (d->rejected)
        set_verdict(out, ADMIT_REJECT, d->reason);
    else if (!lane_exists(rules->lanes, d->backend, d->lane))
        set_verdict(out, ADMIT_REJECT,
                    describe_missing_lane(rules->lanes, d, pool));
    else
        set_verdict(out, ADMIT_ROUTE, "");
}

bool
admission_is_poison(uint64_t delivered)
{
    return delivered > ADMISSION_DELIVERIES_MAX;
}

void
admit(const struct inbound *in, const struct router_rules *rules,
      const struct routing_facts *f, int64_t now_ms, struct mem_pool *pool,
      struct admission *out)
{
    struct err e = {0};

    *out = (struct admission){.source = "cli"}; /* as task_complete has it */
    if (admission_is_poison(in->delivered)) {
        if (subject_token_ok(in->id))
            (void)str_copy(out->id, sizeof out->id, in->id);
        set_verdict(out, ADMIT_DEAD,
                    mem_pool_printf(pool, ADMISSION_POISON, in->delivered));
        return;
    }
    if (codec_decode_task_in(in->data, in->len, pool, &out->task, &e) < 0) {
        recover_id(in, out);
        set_verdict(out, ADMIT_DEAD, mem_pool_strdup(pool, e.msg));
        return;
    }
    assign_id(in, pool, &out->task);
    task_complete(&out->task, pool, in->stored_at_ms);
    admit_task(rules, f, now_ms, pool, out);
}

void
admission_result(const struct admission *a, enum state state, int64_t now_ms,
                 struct result *out)
{
    codec_init(CODEC_RESULT, out);
    out->task = a->id;
    out->backend = "router";
    out->state = state;
    out->final = true;
    out->no_exit_code = true;
    out->reason = a->reason;
    out->batch = a->batch;
    out->finished_at_ms = now_ms;
}
