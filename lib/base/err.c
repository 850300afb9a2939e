/*
 * Formats through a copy, because an argument may point into the message that
 * it replaces.
 */
#include "lib/base/err.h"

#include "lib/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    char text[sizeof e->msg];
    va_list ap;

    /* The arguments may point into e->msg itself. */
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) >= (int)sizeof text)
        text[strlen(text) - str_utf8_open(text, strlen(text))] = '\0';
    va_end(ap);
    memcpy(e->msg, text, sizeof text);
    e->code = code;
    return -1;
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
    char context[sizeof e->msg], text[sizeof e->msg];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    memcpy(text, e->msg, sizeof text);
    return err_set(e, e->code, "%s: %s", context, text);
}

const char *
err_code_name(enum err_code code)
{
    switch (code) {
    case ERR_NONE:
        return "none";
    case ERR_INVALID:
        return "invalid";
    case ERR_DENIED:
        return "denied";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_NOT_FOUND:
        return "not-found";
    case ERR_FULL:
        return "full";
    case ERR_BUG:
        return "bug";
    }
    return "?";
}
