/*
 * The file is JSON, so that a path may have any character.
 */
#include "gateways/folder/folder_list.h"

#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/os/file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX_BYTES = 1 << 20 };

static bool
is_list(const json_t *list)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        if (!json_is_string(json_object_get(v, "line")) ||
            !json_is_string(json_object_get(v, "from")))
            return false;
    }
    return json_is_array(list);
}

int
folder_list_read(const char *path, json_t **out, struct err *e)
{
    struct str text = {0};
    json_t *list = NULL;
    int rc = -1;

    if (file_read(path, LIST_MAX_BYTES, &text) < 0 && errno != ENOENT)
        err_set(e, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
    else if (text.len == 0)
        list = json_array();
    else
        list = codec_parse_json(path, str_text(&text), text.len, e);
    if (list && is_list(list))
        rc = 0;
    else if (list)
        err_set(e, ERR_INVALID, "%s: not a list of folders; remove the file",
                path);
    str_free(&text);
    if (rc == 0)
        *out = list;
    else
        json_decref(list);
    return rc;
}

int
folder_list_write(const char *path, const json_t *list, struct err *e)
{
    char *text = json_dumps(list, JSON_INDENT(2));
    int rc = text ? file_replace(AT_FDCWD, path, text, strlen(text), 0600) : -1;

    free(text);
    return rc < 0 ? err_set(e, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno))
                  : 0;
}
