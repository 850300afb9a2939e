/*
 * str - growable text, UTF-8, and text forms of numbers, durations and times.
 *
 * Thread: any; a struct str belongs to one thread at a time.
 */
#ifndef LIB_BASE_STR_H
#define LIB_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialized is empty. data is NUL-terminated once something was added;
 * str_text gives a pointer that is never NULL. */
struct str {
    char *data;
    size_t len, cap;
};

void str_add(struct str *s, const void *data, size_t len);
void str_addz(struct str *s, const char *text);
void str_addc(struct str *s, char c);
void str_addf(struct str *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *str_text(const struct str *s);
void str_reset(struct str *s); /* empty, memory kept */
void str_free(struct str *s);

/* Copies at most size - 1 bytes and terminates; false if text was cut, which
 * happens between characters. */
bool str_copy(char *out, size_t size, const char *text);

/* A copy of text cut between characters to at most most bytes, for a sentence
 * that has room for so many. */
struct str_short {
    char s[256];
};
#define STR_SHORT(text, most) str_shorten(&(struct str_short){{0}}, text, most)
const char *str_shorten(struct str_short *out, const char *text, size_t most);

bool str_ends_with(const char *text, const char *end);

/* Length in bytes of the valid UTF-8 character at data, of which left bytes
 * are there; 0 if there is none. */
size_t str_utf8_len(const void *data, size_t left);

/* The code point of a valid character of n bytes. */
uint32_t str_utf8_code(const void *data, size_t n);

/* Bytes at the end of text that begin a UTF-8 character which goes on behind
 * it. */
size_t str_utf8_open(const void *text, size_t len);

/* The greatest length, at most most, that does not cut a UTF-8 character. */
size_t str_utf8_cut(const char *text, size_t len, size_t most);

/*
 * Adds bytes as valid UTF-8 for people and JSON: each byte that is not part of
 * a valid sequence becomes U+FFFD, NUL becomes U+2400. Other controls stay.
 */
void str_add_utf8(struct str *s, const void *data, size_t len);

/* Like str_add_utf8, but controls (C0, DEL and C1) except newline and tab
 * become \xNN, and marks that reorder text or cannot be seen become \uNNNN: for
 * terminals and Markdown. */
void str_add_printable(struct str *s, const void *data, size_t len);

/* Whether a character changes the direction of the text around it. */
bool str_is_bidi(uint32_t character);

/* Adds bytes in base 64, with padding. */
#define STR_BASE64                                                             \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
void str_add_base64(struct str *s, const void *data, size_t len);

/* Adds text quoted for a POSIX shell, unquoted where that is safe. */
void str_add_quoted(struct str *s, const char *text);

/* "250ms", "10s", "5m", "2h", "1d", "1h30m"; a bare number is seconds. False
 * on anything else and on overflow. */
bool str_to_ms(const char *text, uint64_t *ms);

/* "512", "64K", "1.5G", "9GiB", "8GB": powers of 1024. False on anything else
 * and above INT64_MAX. */
bool str_to_bytes(const char *text, uint64_t *bytes);

/* A whole decimal number without sign, within [least, most]. */
bool str_to_u64(const char *text, uint64_t least, uint64_t most, uint64_t *out);

/* "1h02m", "3m05s", "4.2s", "87ms"; returns out. */
const char *str_duration(uint64_t ms, char *out, size_t size);

/* RFC 3339 UTC with milliseconds; "" for 0. out needs 25 bytes. */
const char *str_time(int64_t at_ms, char *out, size_t size);

/* Wall clock now, milliseconds since 1970. */
int64_t str_wall_ms(void);

/* Crockford's base 32, lower case. */
#define STR_BASE32 "0123456789abcdefghjkmnpqrstvwxyz"

/* Fills out with size - 1 random characters of STR_BASE32 and a NUL. */
void str_random(char *out, size_t size);

#endif
