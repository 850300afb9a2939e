/*
 * A state machine over bytes: text is collected until its line ends, escape
 * sequences (ESC, ESC [, ESC ] ... BEL) are skipped.
 */
#include "lib/base/ansi.h"

#include <string.h>

enum { ESC = 0x1b, BEL = 0x07 };

static void
emit(struct ansi *l, ansi_fn *fn, void *ctx)
{
    fn(ctx, str_text(&l->line), l->line.len);
    str_reset(&l->line);
}

static void
add(struct ansi *l, const char *text, size_t len, ansi_fn *fn, void *ctx)
{
    while (len > 0) {
        size_t room = ANSI_MAX - l->line.len;
        size_t take = len < room ? len : room;

        str_add(&l->line, text, take);
        text += take;
        len -= take;
        if (l->line.len == ANSI_MAX)
            emit(l, fn, ctx);
    }
}

/* A byte that is not text: it ends a line or is part of an escape sequence. */
static void
control(struct ansi *l, unsigned char c, ansi_fn *fn, void *ctx)
{
    switch (l->state) {
    case ANSI_TEXT:
        if (c == ESC)
            l->state = ANSI_ESCAPE;
        else if (c == '\r' || !l->after_cr)
            emit(l, fn, ctx);
        break;
    case ANSI_ESCAPE:
        l->state = c == '['   ? ANSI_SEQUENCE
                   : c == ']' ? ANSI_STRING
                              : ANSI_TEXT;
        break;
    case ANSI_SEQUENCE:
        if (c < 0x20 ||
            c > 0x3f) /* neither a parameter nor an intermediate byte */
            l->state = ANSI_TEXT;
        break;
    case ANSI_STRING:
        if (c == BEL || c == '\n')
            l->state = ANSI_TEXT;
        else if (c == ESC)
            l->state = ANSI_ESCAPE; /* ESC \ ends it */
        break;
    }
}

static bool
is_text(unsigned char c)
{
    return c != '\n' && c != '\r' && c != ESC;
}

void
ansi_add(struct ansi *l, const void *data, size_t len, ansi_fn *fn, void *ctx)
{
    const char *at = data, *end = at + len;

    while (at < end) {
        const char *from = at;

        while (l->state == ANSI_TEXT && at < end && is_text((unsigned char)*at))
            at++;
        if (at > from) {
            add(l, from, (size_t)(at - from), fn, ctx);
            l->after_cr = false;
        }
        if (at == end)
            return;
        control(l, (unsigned char)*at, fn, ctx);
        l->after_cr = *at == '\r';
        at++;
    }
}

void
ansi_end(struct ansi *l, ansi_fn *fn, void *ctx)
{
    if (l->line.len > 0)
        emit(l, fn, ctx);
    str_free(&l->line);
    *l = (struct ansi){.state = ANSI_TEXT};
}
