/*
 * Answers the questions on ask.ledger.<verb>: decodes the request, has the file
 * of the verb answer it, and publishes the answer. Beside that what all answers
 * share: errors and sizes.
 */
#include "reaper/query/query_private.h"

#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/report/report.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_FOR_REST = 2048 /* of an answer, beside what is measured */ };

json_int_t
query_count(const json_t *counters, const char *name)
{
    return json_integer_value(json_object_get(counters, name));
}

json_t *
query_error(const char *code, const char *message)
{
    json_t *e = json_object();

    report_set_text(e, "code", code);
    report_set_text(e, "message", message);
    return json_pack("{s:o}", "error", e);
}

json_t *
query_failure(const struct err *e)
{
    if (e->code == ERR_CONFLICT)
        return query_error("ambiguous", e->msg);
    if (e->code == ERR_INVALID)
        return query_error("invalid", e->msg);
    return query_error(e->code == ERR_NOT_FOUND ? "not-found" : "unavailable",
                       e->msg);
}

size_t
query_size(const json_t *o)
{
    return json_dumpb(o, NULL, 0, JSON_COMPACT);
}

bool
query_append(json_t *list, json_t *o, size_t *room, bool never_empty)
{
    size_t size = query_size(o) + 1;

    if (size > *room && !(never_empty && json_array_size(list) == 0)) {
        json_decref(o);
        return false;
    }
    *room -= size < *room ? size : *room;
    (void)json_array_append_new(list, o);
    return true;
}

size_t
query_room(const struct query *q)
{
    size_t most = q->p.max_bytes;

    if (!most)
        most = bus_max_payload(q->p.bus);
    return most > 2 * ROOM_FOR_REST ? most - ROOM_FOR_REST : ROOM_FOR_REST;
}

size_t
query_room_beside(const struct query *q, const json_t *o)
{
    size_t most = query_room(q), used = query_size(o);

    return used < most ? most - used : 0;
}

/* --- dispatch ------------------------------------------------------------- */

static const struct {
    const char *name;
    query_fn *answer;
} verbs[] = {
    {"list", query_list},           {"show", query_show},
    {"find", query_find},           {"submission", query_submission},
    {"batch", query_batch},         {"status", query_status},
    {"workers", query_workers},     {"delegated", query_delegated},
    {"watchdog", query_watchdog},   {"costs", query_costs},
    {"decisions", query_decisions},
};

json_t *
query_answer(struct query *q, const char *verb, const json_t *request)
{
    struct err e;

    if (!json_is_object(request))
        return query_error("invalid", "the question is not a JSON object");
    if (q->p.fold_all)
        q->p.fold_all(q->p.ctx);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].answer(q, request);
    (void)err_set(&e, ERR_INVALID, "no such question: %s", LOG_TEXT(verb));
    return query_failure(&e);
}

static void
on_question(void *ctx, const struct bus_note *note)
{
    char verb[SUBJECT_TOKEN_MAX + 1] = "";
    struct query *q = ctx;
    json_t *request, *answer;
    struct err e;
    char *text;

    if (!bus_may_answer(note))
        return;
    (void)subject_token_at(note->subject, 2, verb);
    request = note->len
                  ? codec_parse_json("question", note->data, note->len, &e)
                  : json_object();
    answer = request ? query_answer(q, verb, request)
                     : query_error("invalid", e.msg);
    text = json_dumps(answer, JSON_COMPACT);
    if (text)
        bus_publish_core(q->p.bus, note->reply, text, strlen(text));
    free(text);
    json_decref(request);
    json_decref(answer);
    mem_pool_reset(q->pool);
}

int
query_open(struct query **out, const struct query_parts *parts, struct err *e)
{
    struct query *q = MEM_NEW(struct query);
    char subject[SUBJECT_SIZE];

    q->p = *parts;
    q->pool = mem_pool_new();
    if (parts->bus && bus_subscribe(parts->bus, subject_ask(subject, "*"),
                                    on_question, q, &q->sub, e) < 0) {
        query_close(q);
        return -1;
    }
    *out = q;
    return 0;
}

void
query_close(struct query *q)
{
    if (!q)
        return;
    bus_unsubscribe(q->sub);
    mem_pool_free(q->pool);
    mem_free(q);
}
