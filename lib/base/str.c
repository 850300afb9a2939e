/*
 * Growable text, UTF-8, quoting, and reading and writing of durations, sizes
 * and times.
 */
#include "lib/base/str.h"

#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void
reserve(struct str *s, size_t more)
{
    size_t cap = s->cap ? s->cap : 64;

    if (s->len + more + 1 <= s->cap)
        return;
    while (cap < s->len + more + 1)
        cap *= 2;
    s->data = mem_resize(s->data, cap);
    s->cap = cap;
}

void
str_add(struct str *s, const void *data, size_t len)
{
    reserve(s, len);
    if (len)
        memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = '\0';
}

void
str_addz(struct str *s, const char *text)
{
    str_add(s, text, strlen(text));
}

void
str_addc(struct str *s, char c)
{
    str_add(s, &c, 1);
}

void
str_addf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n <= 0)
        return;
    reserve(s, (size_t)n);
    va_start(ap, fmt);
    (void)vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->len += (size_t)n;
}

const char *
str_text(const struct str *s)
{
    return s->data ? s->data : "";
}

void
str_reset(struct str *s)
{
    s->len = 0;
    if (s->data)
        s->data[0] = '\0';
}

void
str_free(struct str *s)
{
    mem_free(s->data);
    *s = (struct str){0};
}

size_t
str_utf8_cut(const char *text, size_t len, size_t most)
{
    size_t cut = most;

    if (len <= most)
        return len;
    /* Go back to the first byte of the character that crosses the limit. */
    for (int i = 0; i < 3 && cut > 0 && (text[cut] & 0xc0) == 0x80; i++)
        cut--;
    /* Text that is not UTF-8 is cut at the limit. */
    return str_utf8_len(text + cut, len - cut) > most - cut ? cut : most;
}

uint32_t
str_utf8_code(const void *data, size_t n)
{
    static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *p = data;
    uint32_t c = p[0] & first[n];

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

size_t
str_utf8_open(const void *text, size_t len)
{
    const unsigned char *p = text;

    for (size_t n = 1; n <= 3 && n <= len; n++) {
        unsigned char c = p[len - n];
        unsigned char full[4] = {0, 0x80, 0x80, 0x80};

        if (c < 0x80)
            return 0;
        if (c < 0xc0)
            continue; /* within a character */
        memcpy(full, p + len - n, n);
        if (c == 0xe0 && n == 1)
            full[1] = 0xa0;
        if (c == 0xf0 && n == 1)
            full[1] = 0x90;
        return str_utf8_len(full, sizeof full) > n ? n : 0;
    }
    return 0;
}

bool
str_copy(char *out, size_t size, const char *text)
{
    size_t len = strlen(text), n;

    if (size == 0)
        return false;
    n = str_utf8_cut(text, len, size - 1);
    memcpy(out, text, n);
    out[n] = '\0';
    return n == len;
}

const char *
str_shorten(struct str_short *out, const char *text, size_t most)
{
    (void)str_copy(out->s, most < sizeof out->s ? most + 1 : sizeof out->s,
                   text);
    return out->s;
}

bool
str_ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);

    return len >= n && strcmp(text + len - n, end) == 0;
}

/* Follows table 3-7 of the Unicode standard (RFC 3629 has the grammar). */
size_t
str_utf8_len(const void *data, size_t left)
{
    const unsigned char *p = data;
    unsigned char low = 0x80, high = 0xbf;
    size_t n;

    if (left == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (left < n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* no overlong forms */
    else if (p[0] == 0xed)
        high = 0x9f; /* no surrogates */
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f; /* nothing above U+10FFFF */
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool
str_is_bidi(uint32_t c)
{
    return c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* C0 except newline and tab, DEL, or C1. Some terminals still take U+009B for
 * the start of an escape sequence. */
static bool
is_control(uint32_t c)
{
    return (c < 32 && c != '\n' && c != '\t') || (c >= 127 && c < 0xa0);
}

/* Marks without a width and breaks that are none for us. Within a word of
 * another script, and in emoji, joiners belong to the text. */
static bool
is_unseen(uint32_t c, const unsigned char *p, const unsigned char *start)
{
    if (c == 0x200c || c == 0x200d)
        return p == start || p[-1] < 0x80;
    return c == 0xad || c == 0x180e || c == 0x200b || c == 0x2028 ||
           c == 0x2029 || (c >= 0x2060 && c <= 0x2064) || c == 0xfeff ||
           (c >= 0xe0000 && c <= 0xe007f);
}

static void
add_text(struct str *s, const void *data, size_t len, bool printable)
{
    const unsigned char *p = data;
    uint32_t c;

    reserve(s, len);
    while (len > 0) {
        size_t n = str_utf8_len(p, len);

        c = n && printable ? str_utf8_code(p, n) : *p;
        if (n == 0) {
            str_addz(s, "\xef\xbf\xbd");
            n = 1;
        } else if (printable && is_control(c)) {
            str_addf(s, "\\x%02x", c);
        } else if (printable && n > 1 &&
                   (str_is_bidi(c) || is_unseen(c, p, data))) {
            str_addf(s, "\\u%04x", c);
        } else if (*p == 0) {
            str_addz(s, "\xe2\x90\x80");
        } else {
            str_add(s, p, n);
        }
        p += n;
        len -= n;
    }
    str_add(s, "", 0); /* terminates: there may have been nothing to add */
}

void
str_add_utf8(struct str *s, const void *data, size_t len)
{
    add_text(s, data, len, false);
}

void
str_add_printable(struct str *s, const void *data, size_t len)
{
    add_text(s, data, len, true);
}

void
str_add_base64(struct str *s, const void *data, size_t len)
{
    static const char digits[] = STR_BASE64;
    const unsigned char *p = data;

    reserve(s, (len + 2) / 3 * 4);
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t v = (uint32_t)p[i] << 16;

        if (left > 1)
            v |= (uint32_t)p[i + 1] << 8;
        if (left > 2)
            v |= p[i + 2];
        str_addc(s, digits[v >> 18]);
        str_addc(s, digits[v >> 12 & 63]);
        str_addc(s, left > 1 ? digits[v >> 6 & 63] : '=');
        str_addc(s, left > 2 ? digits[v & 63] : '=');
    }
    str_add(s, "", 0);
}

void
str_add_quoted(struct str *s, const char *text)
{
    const char *safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                       "0123456789_-+=./,:@%";

    if (*text && strspn(text, safe) == strlen(text)) {
        str_addz(s, text);
        return;
    }
    str_addc(s, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            str_addz(s, "'\\''");
        else
            str_addc(s, *text);
    }
    str_addc(s, '\'');
}

bool
str_to_u64(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    uint64_t v = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text) ||
            __builtin_mul_overflow(v, 10U, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
            return false;
    }
    if (v < least || v > most)
        return false;
    *out = v;
    return true;
}

/* A decimal number without sign, in two parts so that whole numbers stay
 * exact. */
struct number {
    uint64_t whole;
    double fraction; /* [0, 1) */
};

/* Reads a number at *text and advances it; false if there is none. */
static bool
read_number(const char **text, struct number *out)
{
    const char *p = *text;
    double digit = 0.1;

    *out = (struct number){0};
    if (!isdigit((unsigned char)*p))
        return false;
    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(out->whole, 10U, &out->whole) ||
            __builtin_add_overflow(out->whole, (uint64_t)(*p - '0'),
                                   &out->whole))
            return false;
    if (*p == '.') {
        if (!isdigit((unsigned char)*++p))
            return false;
        for (; isdigit((unsigned char)*p); p++, digit /= 10)
            out->fraction += digit * (*p - '0');
    }
    *text = p;
    return true;
}

/* total += n * unit, rounded to the nearest; false on overflow. */
static bool
add_scaled(uint64_t *total, const struct number *n, uint64_t unit)
{
    uint64_t v, part = (uint64_t)(n->fraction * (double)unit + 0.5);

    return !__builtin_mul_overflow(n->whole, unit, &v) &&
           !__builtin_add_overflow(v, part, &v) &&
           !__builtin_add_overflow(*total, v, total);
}

bool
str_to_ms(const char *text, uint64_t *ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},      {"m", 60000},
                 {"h", 3600000}, {"d", 86400000},  {"sec", 1000},
                 {"min", 60000}, {"hour", 3600000}};
    const size_t n_units = sizeof units / sizeof *units;
    const uint64_t most = 1000000000000000U; /* some 30,000 years */
    const char *start = text;
    uint64_t total = 0;
    struct number v;

    do {
        size_t n = 0, i = 0;
        bool bare;

        bare = text == start; /* a bare number is seconds */
        if (!read_number(&text, &v))
            return false;
        while (isalpha((unsigned char)text[n]))
            n++;
        while (i < n_units && (strlen(units[i].name) != n ||
                               strncmp(units[i].name, text, n) != 0))
            i++;
        bare = bare && n == 0 && *text == '\0';
        if (!bare && i == n_units)
            return false;
        if (!add_scaled(&total, &v, bare ? 1000 : units[i].ms))
            return false;
        text += n;
    } while (*text);
    if (total > most)
        return false;
    *ms = total;
    return true;
}

bool
str_to_bytes(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    uint64_t scale = 1, total = 0;
    struct number v;
    const char *u;

    if (!read_number(&text, &v))
        return false;
    if (*text && (u = strchr(units, toupper((unsigned char)*text)))) {
        for (const char *p = units; p <= u; p++)
            scale *= 1024;
        text++;
        if (*text == 'i')
            text++;
    }
    if (*text == 'B' || *text == 'b')
        text++;
    if (*text || (scale == 1 && v.fraction > 0) || /* no half bytes */
        !add_scaled(&total, &v, scale) || total > INT64_MAX)
        return false;
    *bytes = total;
    return true;
}

const char *
str_duration(uint64_t ms, char *out, size_t size)
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        (void)snprintf(out, size, "%" PRIu64 "ms", ms);
    else if (s < 60)
        (void)snprintf(out, size, "%" PRIu64 ".%" PRIu64 "s", s,
                       ms % 1000 / 100);
    else if (s < 3600)
        (void)snprintf(out, size, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        (void)snprintf(out, size, "%" PRIu64 "h%02" PRIu64 "m", s / 3600,
                       s % 3600 / 60);
    else
        (void)snprintf(out, size, "%" PRIu64 "d%02" PRIu64 "h", s / 86400,
                       s % 86400 / 3600);
    return out;
}

const char *
str_time(int64_t at_ms, char *out, size_t size)
{
    time_t s = at_ms / 1000;
    struct tm tm;
    size_t n;

    out[0] = '\0';
    if (at_ms <= 0 || !gmtime_r(&s, &tm))
        return out;
    /* A time that does not fit (a year beyond 9999) is left out. */
    n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    if (n == 0 || snprintf(out + n, size - n, ".%03dZ", (int)(at_ms % 1000)) >=
                      (int)(size - n))
        out[0] = '\0';
    return out;
}

int64_t
str_wall_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
str_random(char *out, size_t size)
{
    unsigned char raw[128];
    size_t n = size - 1;

    if (n > sizeof raw || os_random(raw, n) < 0)
        abort(); /* repeated ids would merge two tasks */
    for (size_t i = 0; i < n; i++)
        out[i] = STR_BASE32[raw[i] % 32];
    out[n] = '\0';
}
