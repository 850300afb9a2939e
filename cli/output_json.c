/*
 * Prints JSON values with their schema, on stdout.
 */
#include "cli/output.h"

#include "lib/model/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
print(json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags | JSON_ENCODE_ANY);

    if (text) {
        (void)fputs(text, stdout);
        (void)fputc('\n', stdout);
        (void)fflush(stdout);
    }
    free(text);
    json_decref(value);
}

void
out_json(json_t *value)
{
    print(value, JSON_INDENT(2));
}

void
out_json_line(json_t *value)
{
    print(value, JSON_COMPACT);
}

json_t *
out_with_schema(const char *name, json_t *object)
{
    json_t *all = codec_schema(name);

    /* Members of the value itself never hide the schema. */
    (void)json_object_update_missing(all, object);
    json_decref(object);
    return all;
}

void
out_complete_decision(json_t *d)
{
    json_t *score = json_object_get(d, "score");

    if (!json_is_true(json_object_get(d, "scored"))) {
        (void)json_object_set_new(d, "scored", json_false());
        (void)json_object_set_new(d, "score", json_null());
    } else if (!score) {
        (void)json_object_set_new(d, "score", json_integer(0));
    }
    if (!json_object_get(d, "signals"))
        (void)json_object_set_new(d, "signals", json_array());
    if (!json_object_get(d, "lost"))
        (void)json_object_set_new(d, "lost", json_array());
    if (!json_object_get(d, "rejected"))
        (void)json_object_set_new(d, "rejected", json_false());
}
