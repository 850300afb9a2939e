#include "router/admission.h"

#include "lib/base/str.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"

#include <stdio.h>
#include <string.h>

/* --- what can be read of a bad message ----------------------------------- */

static void
take_token(const json_t *json, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(json, key));

    if (text && subject_token_ok(text))
        (void)str_copy(out, size, text);
}

/*
 * The id and source of a message that is no task, so that whoever waits for it
 * hears of it: from JSON, else the id it was published with.
 */
static void
glean(const struct inbound *a, struct admission *out)
{
    struct err e;
    json_t *json = NULL;

    if (a->len && memchr(a->data, '{', a->len < 16 ? a->len : 16))
        json = codec_parse_json("task", a->data, a->len, &e);
    if (json) {
        take_token(json, "id", out->id, sizeof out->id);
        take_token(json, "source", out->source, sizeof out->source);
        json_decref(json);
    }
    if (!*out->id && subject_token_ok(a->id))
        (void)str_copy(out->id, sizeof out->id, a->id);
}

/* --- parts of the verdict ------------------------------------------------ */

/* The ledger derives the same id from the same message. */
static void
give_id(const struct inbound *a, struct mem_pool *pool, struct task *t)
{
    char id[TASK_ID_SIZE];

    if (*t->id)
        return;
    if (subject_token_ok(a->id)) {
        t->id = mem_pool_strdup(pool, a->id);
        return;
    }
    if (!a->number) {
        task_id_from_message(a->seq, a->stored_at_ms, a->data, a->len, id);
    } else {
        if (!*a->message_id)
            task_id_from_message(a->seq, a->stored_at_ms, a->message.data,
                                 a->message.len, a->message_id);
        task_id_of_member(a->message_id, a->number - 1, id);
    }
    t->id = mem_pool_strdup(pool, id);
}

/*
 * Tasks that wait for a person, a time or another task are the ledger's: it
 * parks them and, when they are due, sends them again with these fields
 * cleared. No clock is asked, also not whether the time has passed: the ledger
 * parks by these fields alone, and a task it believes parked must not run.
 */
static bool
must_wait(const struct task *t)
{
    return t->hold || t->n_after > 0 || t->not_before_ms != 0;
}

static bool
is_lane(const char *place, const char *backend, const char *lane)
{
    size_t len = strlen(backend);

    return strncmp(place, backend, len) == 0 && place[len] == '.' &&
           strcmp(place + len + 1, lane) == 0;
}

static bool
lane_exists(char **lanes, const char *backend, const char *lane)
{
    for (const char *const *p = jetstream_lanes(); *p; p++)
        if (is_lane(*p, backend, lane))
            return true;
    for (char **p = lanes; p && *p; p++)
        if (is_lane(*p, backend, lane))
            return true;
    return false;
}

static const char *
no_such_lane(char **lanes, const struct decision *d, struct mem_pool *pool)
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
settle(struct admission *out, enum admission_verdict verdict,
       const char *reason)
{
    out->verdict = verdict;
    out->reason = reason;
}

/* --- the verdict --------------------------------------------------------- */

/* A task that was read: where it goes, or why it does not. */
static void
judge_task(const struct router_rules *rules, const struct routing_facts *f,
           int64_t now_ms, struct mem_pool *pool, struct admission *out)
{
    struct task *t = &out->task;
    struct decision *d = &out->decision;

    (void)str_copy(out->id, sizeof out->id, t->id);
    (void)str_copy(out->source, sizeof out->source, t->source);
    if (t->batch)
        (void)str_copy(out->batch, sizeof out->batch, t->batch->id);
    if (must_wait(t)) {
        settle(out, ADMIT_LEAVE, "");
        return;
    }
    decide(t, f, rules->policy, pool, d);
    d->decided_at_ms = now_ms;
    if (d->rejected)
        settle(out, ADMIT_REJECT, d->reason);
    else if (!lane_exists(rules->lanes, d->backend, d->lane))
        settle(out, ADMIT_REJECT, no_such_lane(rules->lanes, d, pool));
    else
        settle(out, ADMIT_ROUTE, "");
}

bool
admission_is_poison(uint64_t delivered)
{
    return delivered > ADMISSION_DELIVERIES_MAX;
}

void
admit(const struct inbound *a, const struct router_rules *rules,
      const struct routing_facts *f, int64_t now_ms, struct mem_pool *pool,
      struct admission *out)
{
    struct err e = {0};

    *out = (struct admission){.source = "cli"}; /* as task_complete has it */
    if (admission_is_poison(a->delivered)) {
        if (subject_token_ok(a->id))
            (void)str_copy(out->id, sizeof out->id, a->id);
        settle(out, ADMIT_DEAD,
               mem_pool_printf(pool, ADMISSION_POISON, a->delivered));
        return;
    }
    if (codec_decode_task_in(a->data, a->len, pool, &out->task, &e) < 0) {
        glean(a, out);
        settle(out, ADMIT_DEAD, mem_pool_strdup(pool, e.msg));
        return;
    }
    give_id(a, pool, &out->task);
    task_complete(&out->task, pool, a->stored_at_ms);
    judge_task(rules, f, now_ms, pool, out);
}

void
admission_rejection(const struct admission *j, int64_t now_ms,
                    struct result *out)
{
    codec_init(CODEC_RESULT, out);
    out->task = j->id;
    out->backend = "router";
    out->state = STATE_REJECTED;
    out->final = true;
    out->reason = j->reason;
    out->batch = j->batch;
    out->finished_at_ms = now_ms;
}
