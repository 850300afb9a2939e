/*
 * The operations of the NATS client protocol that we need:
 *
 *   PUB <subject> [<reply>] <size>          and that many bytes
 *   HPUB <subject> [<reply>] <head> <size>  the first head of them are headers
 *   MSG <subject> <sid> [<reply>] <size>    the same, received
 *   HMSG <subject> <sid> [<reply>] <head> <size>
 *   PING, PONG, +OK, INFO {...}, -ERR '...'
 *
 * Lines and payloads end in CR LF. The broker does the framing, so invalid
 * framing ends the connection; headers come from a publisher, so invalid
 * headers are ignored.
 */
#include "lib/bus/protocol.h"

#include "lib/bus/bus.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    LINE_MOST = 256 * 1024,        /* an INFO names every server of a cluster */
    MESSAGE_MOST = (64 << 20) * 2, /* twice the limit of any broker */
    TOKENS = 5,
    DIGITS_MOST = 18,
};

/* --- reading -------------------------------------------------------------- */

static const char *const header_names[HEADERS_READ] = {
    [HEADER_ID] = "Nats-Msg-Id",
    [HEADER_SUBJECT] = "Nats-Subject",
    [HEADER_SEQUENCE] = "Nats-Sequence",
    [HEADER_TIME_STAMP] = "Nats-Time-Stamp",
    [HEADER_PENDING] = "Nats-Pending-Messages",
};

const char *
protocol_header_name(unsigned header)
{
    return header_names[header];
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct token {
    char *at;
    size_t len;
};

/* The number of tokens up to end; TOKENS + 1 if there are more. */
static size_t
split(char *at, const char *end, struct token *out)
{
    size_t n = 0;

    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end)
            return n;
        if (n == TOKENS)
            return n + 1;
        out[n].at = at;
        while (at < end && !is_blank(*at))
            at++;
        out[n].len = (size_t)(at - out[n].at);
        n++;
    }
}

static bool
number(const struct token *t, int64_t *out)
{
    int64_t v = 0;

    if (t->len > DIGITS_MOST)
        return false;
    for (size_t i = 0; i < t->len; i++) {
        if (t->at[i] < '0' || t->at[i] > '9')
            return false;
        v = v * 10 + (t->at[i] - '0');
    }
    *out = v;
    return true;
}

/* "<status> <description>", either of which may be absent. */
static void
read_status(struct protocol_msg *m, char *at)
{
    at += strspn(at, " \t");
    m->header[HEADER_STATUS] = at;
    at += strcspn(at, " \t");
    if (!*at)
        return;
    *at++ = '\0';
    m->header[HEADER_DESCRIPTION] = at + strspn(at, " \t");
}

static void
read_header(struct protocol_msg *m, char *line)
{
    char *value = strchr(line, ':');

    if (!value)
        return;
    *value++ = '\0';
    value += strspn(value, " \t");
    for (int h = 0; h < HEADERS_READ; h++)
        if (header_names[h] && strcasecmp(line, header_names[h]) == 0) {
            if (!*m->header[h])
                m->header[h] = value;
            return;
        }
}

/* Terminates the lines of the block, which begins with "NATS/1.0", in place. */
static void
read_headers(struct protocol_msg *m, char *at, size_t len)
{
    static const char version[] = "NATS/1.0";
    char *end = at + len, *eol;
    bool first = true;

    if (len < sizeof version - 1 ||
        memcmp(at, version, sizeof version - 1) != 0)
        return;
    for (; at < end; at = eol + 1) {
        eol = memchr(at, '\n', (size_t)(end - at));
        if (!eol)
            return;
        *eol = '\0';
        if (eol > at && eol[-1] == '\r')
            eol[-1] = '\0';
        if (first)
            read_status(m, at + sizeof version - 1);
        else
            read_header(m, at);
        first = false;
    }
}

/* at to end: what follows "MSG " or "HMSG " in its line. */
static enum protocol_kind
read_msg(char *in, size_t len, char *at, char *end, char *body, bool headers,
         struct protocol_op *op, size_t *used)
{
    struct token t[TOKENS];
    size_t n = split(at, end, t), least = headers ? 4 : 3, need;
    int64_t head = 0, size;

    if ((n != least && n != least + 1) || !number(&t[1], &op->sid) ||
        !number(&t[n - 1], &size) || size > MESSAGE_MOST ||
        (headers && (!number(&t[n - 2], &head) || head > size)))
        return PROTOCOL_JUNK;
    need = (size_t)(body - in) + (size_t)size + 2;
    if (len < need)
        return PROTOCOL_MORE;
    if (in[need - 2] != '\r' || in[need - 1] != '\n')
        return PROTOCOL_JUNK;
    t[0].at[t[0].len] = '\0';
    t[2].at[t[2].len] = '\0';
    in[need - 2] = '\0'; /* terminates unterminated headers and text */
    op->msg.subject = t[0].at;
    op->msg.reply = n > least ? t[2].at : "";
    op->msg.data = (const uint8_t *)body + head;
    op->msg.len = (size_t)(size - head);
    for (int h = 0; h < HEADERS_READ; h++)
        op->msg.header[h] = "";
    if (head)
        read_headers(&op->msg, body, (size_t)head);
    *used = need;
    return PROTOCOL_MSG;
}

static bool
begins(const char *line, size_t len, const char *word)
{
    size_t n = strlen(word);

    return len >= n && memcmp(line, word, n) == 0;
}

enum protocol_kind
protocol_read(char *in, size_t len, struct protocol_op *op, size_t *used)
{
    char *eol =
        len ? memchr(in, '\n', len < LINE_MOST ? len : LINE_MOST) : NULL;
    char *end = eol;
    size_t n;

    if (!eol)
        return len < LINE_MOST ? PROTOCOL_MORE : PROTOCOL_JUNK;
    if (end > in && end[-1] == '\r')
        end--;
    n = (size_t)(end - in);
    *used = (size_t)(eol + 1 - in);
    if (begins(in, n, "MSG "))
        return read_msg(in, len, in + 4, end, eol + 1, false, op, used);
    if (begins(in, n, "HMSG "))
        return read_msg(in, len, in + 5, end, eol + 1, true, op, used);
    if (n == 4 && begins(in, n, "PING"))
        return PROTOCOL_PING;
    if (n == 4 && begins(in, n, "PONG"))
        return PROTOCOL_PONG;
    if (begins(in, n, "+OK"))
        return PROTOCOL_OK;
    *end = '\0';
    if (begins(in, n, "INFO ")) {
        op->text = in + 5;
        return PROTOCOL_INFO;
    }
    if (begins(in, n, "-ERR")) {
        op->text = in + 4 + strspn(in + 4, " \t");
        return PROTOCOL_ERR;
    }
    return PROTOCOL_JUNK;
}

/* --- writing -------------------------------------------------------------- */

static void
put_number(struct str *out, uint64_t v)
{
    char text[20], *at = text + sizeof text;

    do
        *--at = (char)('0' + v % 10);
    while (v /= 10);
    str_add(out, at, (size_t)(text + sizeof text - at));
}

/* Writes our headers; returns their length, 0 if there are none. */
static size_t
put_headers(char *head, size_t size, const struct protocol_out *o)
{
    char revision[80] = "";
    int n;

    if (!o->id && o->expect == BUS_ANY_REVISION)
        return 0;
    if (o->expect != BUS_ANY_REVISION)
        (void)snprintf(revision, sizeof revision,
                       "Nats-Expected-Last-Subject-Sequence: %" PRId64 "\r\n",
                       o->expect);
    n = snprintf(head, size, "NATS/1.0\r\n%s%s%s%s\r\n",
                 o->id ? "Nats-Msg-Id: " : "", o->id ? o->id : "",
                 o->id ? "\r\n" : "", revision);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

void
protocol_put(struct str *out, const struct protocol_out *o)
{
    char headers[PROTOCOL_HEADERS_MAX];
    size_t head = put_headers(headers, sizeof headers, o);

    str_addz(out, head ? "HPUB " : "PUB ");
    str_addz(out, o->subject);
    str_addc(out, ' ');
    if (o->reply) {
        str_addz(out, o->reply);
        str_addc(out, ' ');
    }
    if (head) {
        put_number(out, head);
        str_addc(out, ' ');
    }
    put_number(out, head + o->len);
    str_add(out, "\r\n", 2);
    str_add(out, headers, head);
    str_add(out, o->data, o->len);
    str_add(out, "\r\n", 2);
}
