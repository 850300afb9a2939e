/*
 * Sends $JS.API.STREAM.INFO and $JS.API.CONSUMER.INFO requests and reads the
 * fields we need from the replies.
 */
#include "lib/bus/stream_info.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/bus/replies.h"
#include "lib/model/subject.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { ASK_MS = 5000, STREAM_NOT_FOUND = 10059, CONSUMER_NOT_FOUND = 10014 };

static json_t *
read_reply(const struct bus_note *note, struct err *e)
{
    json_t *o = json_loadb((const char *)note->data, note->len, 0, NULL);
    json_t *error = json_object_get(o, "error");
    json_int_t code = json_integer_value(json_object_get(error, "err_code"));
    const char *text = json_string_value(json_object_get(error, "description"));

    if (!json_is_object(o)) {
        err_set(e, ERR_UNAVAILABLE, "the reply is not a JSON object");
    } else if (error) {
        err_set(e,
                code == STREAM_NOT_FOUND || code == CONSUMER_NOT_FOUND
                    ? ERR_NOT_FOUND
                    : ERR_UNAVAILABLE,
                "%s", text ? LOG_TEXT(text) : "refused");
    } else {
        return o;
    }
    json_decref(o);
    return NULL;
}

static uint64_t
number(const json_t *o, const char *part, const char *key)
{
    const json_t *in = part ? json_object_get(o, part) : o;
    json_int_t n = json_integer_value(json_object_get(in, key));

    return n > 0 ? (uint64_t)n : 0;
}

int
stream_info_read_stream(const struct bus_note *note,
                        struct stream_info_stream *out, struct err *e)
{
    json_t *o = read_reply(note, e);
    const json_t *config = json_object_get(o, "config");
    const char *created, *discard;

    if (!o)
        return -1;
    discard = json_string_value(json_object_get(config, "discard"));
    created = json_string_value(json_object_get(o, "created"));
    *out = (struct stream_info_stream){
        .first_seq = number(o, "state", "first_seq"),
        .last_seq = number(o, "state", "last_seq"),
        .messages = number(o, "state", "messages"),
        .bytes = number(o, "state", "bytes"),
        .max_bytes = json_integer_value(json_object_get(config, "max_bytes")),
        .discards_old = discard && strcmp(discard, "old") == 0,
    };
    (void)str_copy(out->created, sizeof out->created, created ? created : "");
    out->created_at_ms = replies_read_time(out->created);
    json_decref(o);
    return 0;
}

int
stream_info_read_consumer(const struct bus_note *note,
                          struct stream_info_consumer *out, struct err *e)
{
    json_t *o = read_reply(note, e);

    if (!o)
        return -1;
    *out = (struct stream_info_consumer){
        .delivered = number(o, "delivered", "stream_seq"),
        .ack_floor = number(o, "ack_floor", "stream_seq"),
        .pending = number(o, NULL, "num_pending"),
        .ack_pending = number(o, NULL, "num_ack_pending"),
    };
    json_decref(o);
    return 0;
}

void
stream_info_ask(struct bus *b, const char *stream, const char *durable,
                bus_reply_fn *fn, void *ctx)
{
    char subject[SUBJECT_SIZE];

    if (durable)
        (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.INFO.%s.%s",
                       stream, durable);
    else
        (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s",
                       stream);
    bus_request(b, subject, NULL, 0, ASK_MS, fn, ctx);
}
