#include "cli/out.h"

#include "lib/codec.h"

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
