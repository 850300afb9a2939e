/*
 * A state machine over characters: those of sequences are collected or skipped,
 * those of text are passed on unless they are controls.
 */
#include "lib/base/terminal.h"

#include <string.h>

enum {
    BEL = 0x07,
    CAN = 0x18,
    SUB = 0x1a,
    ESC = 0x1b,
    DCS = 0x90, /* the C1 controls: ESC and the letter 0x40 below */
    SOS = 0x98,
    CSI = 0x9b,
    ST = 0x9c,
    OSC = 0x9d,
    PM = 0x9e,
    APC = 0x9f,
};

static void
begin(struct terminal *t, int state)
{
    t->state = (unsigned)state;
    t->length = 0;
}

/* A control of the second set; true if c was one. */
static bool
take_c1(struct terminal *t, uint32_t c)
{
    if (c < 0x80 || c > 0x9f)
        return false;
    if (c == CSI)
        begin(t, TERMINAL_SEQUENCE);
    else if (c == DCS || c == SOS || c == OSC || c == PM || c == APC)
        begin(t, TERMINAL_STRING);
    else
        begin(t, TERMINAL_TEXT);
    return true;
}

static void
take_text(struct terminal *t, uint32_t c, const void *bytes, size_t n,
          struct str *out)
{
    if (c == ESC)
        begin(t, TERMINAL_ESCAPE);
    else if (take_c1(t, c) || str_is_bidi(c) || c == 0x7f)
        return;
    else if (c >= ' ' || strchr("\n\t\r\b", (int)c))
        str_add(out, bytes, n);
}

/* Whether the sequence sets colours: its parameters are plain numbers. */
static bool
is_colour(const struct terminal *t, uint32_t final)
{
    return final == 'm' && t->length < TERMINAL_SEQUENCE_MAX &&
           strspn(t->sequence, "0123456789;:") == t->length;
}

static void
end_sequence(struct terminal *t, uint32_t final, struct str *out)
{
    if (t->length < TERMINAL_SEQUENCE_MAX)
        t->sequence[t->length] = '\0';
    if (is_colour(t, final)) {
        str_addf(out, "\033[%sm", t->sequence);
        t->coloured = strspn(t->sequence, "0;") != t->length;
    }
    begin(t, TERMINAL_TEXT);
}

static void
take_sequence(struct terminal *t, uint32_t c, const void *bytes, size_t n,
              struct str *out)
{
    if (c >= 0x20 && c <= 0x3f) {
        if (t->length < TERMINAL_SEQUENCE_MAX)
            t->sequence[t->length++] = (char)c;
    } else if (c >= 0x40 && c <= 0x7e) {
        end_sequence(t, c, out);
    } else if (c != 0x7f) { /* it was none after all */
        begin(t, TERMINAL_TEXT);
        take_text(t, c, bytes, n, out);
    }
}

static void
take_string(struct terminal *t, uint32_t c, const void *bytes, size_t n,
            struct str *out)
{
    if (c == ESC)
        begin(t, TERMINAL_ESCAPE); /* ESC \ ends it, as does any other */
    else if (c == BEL || c == CAN || c == SUB || c == ST)
        begin(t, TERMINAL_TEXT);
    else if (c == '\n' || ++t->length > TERMINAL_STRING_MAX) {
        begin(t, TERMINAL_TEXT); /* its end is missing */
        take_text(t, c, bytes, n, out);
    }
}

static void
take_escape(struct terminal *t, uint32_t c, const void *bytes, size_t n,
            struct str *out)
{
    if (t->state == TERMINAL_ESCAPE && c >= 0x40 && c <= 0x5f) {
        (void)take_c1(t, c + 0x40);
    } else if (c >= 0x20 && c <= 0x2f) {
        t->state = TERMINAL_INTERMEDIATE;
    } else {
        begin(t, TERMINAL_TEXT);
        if (c < 0x20 || c > 0x7e)
            take_text(t, c, bytes, n, out);
    }
}

static void
take(struct terminal *t, uint32_t c, const void *bytes, size_t n,
     struct str *out)
{
    switch (t->state) {
    case TERMINAL_TEXT:
        take_text(t, c, bytes, n, out);
        break;
    case TERMINAL_ESCAPE:
    case TERMINAL_INTERMEDIATE:
        take_escape(t, c, bytes, n, out);
        break;
    case TERMINAL_SEQUENCE:
        take_sequence(t, c, bytes, n, out);
        break;
    case TERMINAL_STRING:
        take_string(t, c, bytes, n, out);
        break;
    }
}

/* Takes the first character of text, or its first byte, which begins none:
 * such a byte may be a control of 8 bits. Returns the length; 0: the character
 * is not complete. */
static size_t
take_first(struct terminal *t, const unsigned char *text, size_t len,
           struct str *out)
{
    size_t n = str_utf8_len(text, len);

    if (n > 0) {
        take(t, str_utf8_code(text, n), text, n, out);
        return n;
    }
    if (len < 4 && str_utf8_open(text, len) == len)
        return 0;
    if (*text <= 0x9f)
        take(t, *text, text, 1, out);
    else
        take(t, 0xfffd, "\xef\xbf\xbd", 3, out);
    return 1;
}

/* Bytes of text that are shown as they are: printable ASCII and newlines. */
static size_t
plain_length(const unsigned char *text, size_t len)
{
    size_t n = 0;

    while (n < len && ((text[n] >= ' ' && text[n] < 0x7f) || text[n] == '\n'))
        n++;
    return n;
}

void
terminal_add(struct terminal *t, const void *data, size_t len, struct str *out)
{
    const unsigned char *text = data;
    size_t n;

    while (len > 0) {
        if (t->n_part > 0) {
            t->part[t->n_part++] = *text++;
            len--;
            while (t->n_part > 0 &&
                   (n = take_first(t, t->part, t->n_part, out)) > 0) {
                t->n_part -= n;
                memmove(t->part, t->part + n, t->n_part);
            }
            continue;
        }
        n = t->state == TERMINAL_TEXT ? plain_length(text, len) : 0;
        if (n > 0)
            str_add(out, text, n);
        else
            n = take_first(t, text, len, out);
        if (n == 0) {
            memcpy(t->part, text, len); /* less than a character */
            t->n_part = len;
            return;
        }
        text += n;
        len -= n;
    }
}

void
terminal_end(struct terminal *t, struct str *out)
{
    if (t->n_part > 0)
        str_addz(out, "\xef\xbf\xbd");
    if (t->coloured)
        str_addz(out, "\033[0m");
    *t = (struct terminal){0};
}
