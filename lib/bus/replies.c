/*
 * The usual acknowledgement is recognized by its text; whatever differs from it
 * is parsed as JSON.
 */
#include "lib/bus/replies.h"

#include "lib/base/log.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

enum {
    ANSWER_MAX = 64 * 1024
}; /* of an acknowledgement; real ones have 100 B */

/* What the error object of an acknowledgement means for the program. */
static enum err_code
api_error_code(int64_t code, int64_t err_code)
{
    switch (err_code) {
    case 10071: /* wrong last sequence, of the subject or the stream */
    case 10164:
        return ERR_CONFLICT;
    case 10002: /* resource limits of the account */
    case 10077: /* full, or the disk is */
        return ERR_FULL;
    case 10054: /* larger than the stream allows */
        return ERR_INVALID;
    default:
        return code >= 400 && code < 500 ? ERR_INVALID : ERR_UNAVAILABLE;
    }
}

/* The text after word and blanks; NULL if it does not begin with word. */
static const char *
after(const char *at, const char *end, const char *word)
{
    size_t n = strlen(word);

    if (!at || (size_t)(end - at) < n || memcmp(at, word, n) != 0)
        return NULL;
    for (at += n; at < end && *at == ' '; at++)
        ;
    return at;
}

/* The text after a string without escapes, likewise. */
static const char *
after_string(const char *at, const char *end)
{
    at = after(at, end, "\"");
    while (at && at < end && *at >= ' ' && *at < 127 && *at != '"' &&
           *at != '\\')
        at++;
    return after(at, end, "\"");
}

/*
 * Reads the usual form of an acknowledgement without building a tree:
 * {"stream":"S","seq":N}, perhaps followed by "duplicate":true. False on
 * everything else, which may be valid all the same.
 */
static bool
read_common(const char *at, const char *end, struct bus_stored *out)
{
    enum { DIGITS_MOST = 18 };
    const char *digits, *more;
    uint64_t seq = 0;

    at = after(after(after(at, end, "{"), end, "\"stream\""), end, ":");
    at = after(after_string(at, end), end, ",");
    at = after(after(at, end, "\"seq\""), end, ":");
    if (!at || at == end || *at == '0')
        return false;
    for (digits = at; at < end && *at >= '0' && *at <= '9'; at++)
        if (at - digits < DIGITS_MOST)
            seq = seq * 10 + (uint64_t)(*at - '0');
    if (at == digits || at - digits > DIGITS_MOST)
        return false;
    at = after(at, end, "");
    more = after(after(after(at, end, ","), end, "\"duplicate\""), end, ":");
    more = after(more, end, "true");
    if (after(more ? more : at, end, "}") != end)
        return false;
    *out = (struct bus_stored){.seq = seq, .duplicate = more != NULL};
    return true;
}

int
replies_read_stored(const void *data, size_t len, struct bus_stored *out,
                    struct err *e)
{
    json_t *json = NULL, *error, *seq;
    int rc = -1;

    if (data && read_common(data, (const char *)data + len, out))
        return 0;
    if (data && len <= ANSWER_MAX)
        json = json_loadb(data, len, 0, NULL);
    error = json_object_get(json, "error");
    seq = json_object_get(json, "seq");
    if (error) {
        const char *text =
            json_string_value(json_object_get(error, "description"));

        err_set(e,
                api_error_code(
                    json_integer_value(json_object_get(error, "code")),
                    json_integer_value(json_object_get(error, "err_code"))),
                "%s", LOG_TEXT(text && *text ? text : "refused"));
    } else if (!json_is_string(json_object_get(json, "stream")) ||
               !json_is_integer(seq) || json_integer_value(seq) <= 0) {
        /* Not an acknowledgement, so the message may or may not be stored. */
        err_set(e, ERR_TIMEOUT, "the reply is not an acknowledgement");
    } else {
        out->seq = (uint64_t)json_integer_value(seq);
        out->duplicate = json_is_true(json_object_get(json, "duplicate"));
        rc = 0;
    }
    json_decref(json);
    return rc;
}

int64_t
replies_read_time(const char *text)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ms = 0, scale = 100;

    if (!rest)
        return 0;
    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
            ms += (*rest - '0') * scale;
    return (int64_t)timegm(&tm) * 1000 + ms;
}

int
replies_read_entry(const struct protocol_msg *m, struct bus_entry *out,
                   struct err *e)
{
    const char *status = m->header[HEADER_STATUS];

    if (strcmp(status, "404") == 0)
        return 1;
    if (*status)
        return err_set(e, ERR_INVALID, "the broker answers %s %s",
                       LOG_TEXT(status),
                       LOG_TEXT(m->header[HEADER_DESCRIPTION]));
    out->subject = m->header[HEADER_SUBJECT];
    out->data = m->data;
    out->len = m->len;
    out->stored_at_ms = replies_read_time(m->header[HEADER_TIME_STAMP]);
    if (!*out->subject ||
        !str_to_u64(m->header[HEADER_SEQUENCE], 0, UINT64_MAX, &out->revision))
        return err_set(e, ERR_TIMEOUT, "the reply is not a stored message");
    return 0;
}
