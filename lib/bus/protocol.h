/*
 * protocol - the NATS client protocol: reads and writes what travels between
 * us and the broker. Pure: text in, text out, no I/O.
 *
 * Thread: any.
 */
#ifndef LIB_BUS_PROTOCOL_H
#define LIB_BUS_PROTOCOL_H

#include "lib/base/str.h"

#include <stddef.h>
#include <stdint.h>

enum { PROTOCOL_HEADERS_MAX = 256 }; /* bytes of our headers in a message */

/* The headers that are read; all others of a message are skipped. */
enum protocol_header {
    HEADER_STATUS, /* of the first line: "404" */
    HEADER_DESCRIPTION,
    HEADER_ID,      /* Nats-Msg-Id */
    HEADER_SUBJECT, /* Nats-Subject */
    HEADER_SEQUENCE,
    HEADER_TIME_STAMP,
    HEADER_PENDING, /* Nats-Pending-Messages */
    HEADERS_READ,
};

/* A received message; valid during the callback. Text is "", not NULL. */
struct protocol_msg {
    const char *subject, *reply;
    const uint8_t *data;
    size_t len;
    const char *header[HEADERS_READ];
};

/* The name of a header on the wire; NULL for what the first line holds. */
const char *protocol_header_name(unsigned header);

/* A message to send. */
struct protocol_out {
    const char *subject;
    const char *reply; /* NULL: none */
    const char *id;    /* NULL: none */
    int64_t expect;    /* BUS_ANY_REVISION: any */
    const void *data;
    size_t len;
};

enum protocol_kind {
    PROTOCOL_MORE, /* the operation is incomplete: read more bytes */
    PROTOCOL_MSG,
    PROTOCOL_PING,
    PROTOCOL_PONG,
    PROTOCOL_OK,
    PROTOCOL_INFO,
    PROTOCOL_ERR,
    PROTOCOL_JUNK, /* invalid: nothing after it can be understood */
};

struct protocol_op {
    int64_t sid; /* PROTOCOL_MSG: its subscription; msg is set too */
    struct protocol_msg msg;
    const char *text; /* of PROTOCOL_INFO and PROTOCOL_ERR */
};

/*
 * Reads the operation at the beginning of in. *used is its length; op points
 * into in, which is modified once the operation is complete.
 */
enum protocol_kind protocol_read(char *in, size_t len, struct protocol_op *op,
                                 size_t *used);
/* Appends o in wire format; subject and id must be bus_text_ok. */
void protocol_put(struct str *out, const struct protocol_out *o);

#endif
