/* Takes all messages out of a stream, which denies that: its limit is lowered
 * and raised again. Included after the fixture, with cmocka. */
#ifndef TESTS_DROP_MESSAGES_H
#define TESTS_DROP_MESSAGES_H

#include "lib/bus/bus.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline json_t *
call_stream(struct bus *b, const char *verb, const char *stream,
            const json_t *config)
{
    char subject[128], *text = config ? json_dumps(config, 0) : NULL;
    struct str answer = {0};
    struct err e = {0};
    json_t *o;

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.%s", verb,
                   stream);
    if (bus_call(b, subject, text, text ? strlen(text) : 0, 5000, &answer, &e) <
        0)
        fail_msg("%s", e.msg);
    o = json_loadb(answer.data, answer.len, 0, NULL);
    assert_null(json_object_get(o, "error"));
    str_free(&answer);
    free(text);
    return o;
}

static inline void
drop_messages(struct bus *b, const char *stream)
{
    json_t *found = call_stream(b, "INFO", stream, NULL), *changed;
    json_t *config = json_object_get(found, "config");
    json_t *small = json_copy(config);

    (void)json_object_set_new(small, "max_bytes", json_integer(1));
    json_decref(call_stream(b, "UPDATE", stream, small));
    json_decref(call_stream(b, "UPDATE", stream, config));
    changed = call_stream(b, "INFO", stream, NULL);
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(changed, "state"), "messages")),
                     0);
    json_decref(changed);
    json_decref(small);
    json_decref(found);
}

#endif
