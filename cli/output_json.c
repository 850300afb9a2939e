/*
 * Prints JSON values with their schema, on stdout.
 */
#include "cli/output.h"

#include "lib/model/codec.h"

#include <stdio.h>
#include <stdlib.h>

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
out_object(const char *name, json_t *object)
{
    out_json(out_with_schema(name, object));
}

void
out_list(const char *name, const json_t *rows)
{
    json_t *list = json_array(), *row;
    const char *key;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        (void)json_array_append_new(list,
                                    out_with_schema(name, json_incref(row)));
    }
    json_object_foreach((json_t *)(uintptr_t)rows, key, row)
    {
        (void)json_array_append_new(list,
                                    out_with_schema(name, json_incref(row)));
    }
    out_json(list);
}

void
out_copy(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys; keys++)
        if (json_object_get(from, *keys))
            (void)json_object_set(to, *keys, json_object_get(from, *keys));
}

void
out_complete_decision(json_t *d)
{
    if (!json_is_true(json_object_get(d, "scored")))
        (void)json_object_update_new(
            d, json_pack("{s:b, s:n}", "scored", 0, "score"));
    (void)json_object_update_missing_new(d, json_pack("{s:i, s:[], s:[], s:b}",
                                                      "score", 0, "signals",
                                                      "lost", "rejected", 0));
}
