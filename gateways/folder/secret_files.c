/*
 * Each file is read whole and looked at line by line; only where a private key
 * goes on over lines does the line of its beginning count.
 */
#include "gateways/folder/secret_files.h"

#include "gateways/folder/files.h"

#include <string.h>

enum {
    FILE_MAX = 16 * 1024 * 1024, /* of a file that is looked at */
    STATUS_HEAD = 3,             /* "XY " before a path */
};

static size_t
line_of(const char *text, size_t at)
{
    size_t line = 1;

    for (size_t i = 0; i < at; i++)
        line += text[i] == '\n';
    return line;
}

/* The line that gives something to a telling name; 0: none. */
static size_t
assigned_line(const struct mask *m, const char *text)
{
    struct str line = {0}, hidden = {0};
    size_t number = 1, n;
    bool found = false;

    for (; !found && *text; text += n + (text[n] == '\n'), number++) {
        n = strcspn(text, "\n");
        str_reset(&line);
        str_reset(&hidden);
        str_add(&line, text, n);
        mask_command(m, str_text(&line), &hidden);
        found = strcmp(str_text(&line), str_text(&hidden)) != 0;
    }
    str_free(&line);
    str_free(&hidden);
    return found ? number - 1 : 0;
}

static bool
has_secret(const struct mask *m, const char *path, size_t *line)
{
    struct str text = {0};
    struct stat st;
    struct err e;
    size_t at;

    *line = 0;
    if (files_read(path, FILE_MAX, &text, &st, &e) < 0)
        return e.code != ERR_NOT_FOUND;
    if (mask_find(m, str_text(&text), text.len, &at))
        *line = line_of(text.data, at);
    else
        *line = assigned_line(m, str_text(&text));
    str_free(&text);
    return *line > 0;
}

void
secret_files_find(const struct mask *m, const char *top,
                  const struct str *status, secret_files_fn *found, void *ctx)
{
    const char *p = str_text(status), *end = p + status->len;
    size_t line;

    for (; p < end && strlen(p) > STATUS_HEAD; p += strlen(p) + 1) {
        const char *path = p + STATUS_HEAD;

        if (strchr("RC", p[0])) /* what it was is an entry of its own */
            p += strlen(p) + 1;
        if (has_secret(m, FILES_PATH(top, path), &line))
            found(ctx, path, line);
    }
}
