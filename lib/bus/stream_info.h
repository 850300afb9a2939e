/*
 * stream_info - what the broker says of its streams and consumers.
 *
 * Thread: the loop thread; answers arrive there, never from inside the call.
 */
#ifndef LIB_BUS_STREAM_INFO_H
#define LIB_BUS_STREAM_INFO_H

#include "lib/bus/bus.h"

#include <stdint.h>

struct stream_info_stream {
    char created[40];      /* as the broker writes it */
    int64_t created_at_ms; /* the same */
    uint64_t first_seq, last_seq, messages;
};

struct stream_info_consumer {
    uint64_t delivered; /* the highest sequence handed out */
    uint64_t ack_floor; /* everything up to it is settled */
    uint64_t pending, ack_pending;
};

/* Reads an answer; ERR_NOT_FOUND: there is no such thing. */
int stream_info_read_stream(const struct bus_note *note,
                            struct stream_info_stream *out, struct err *e);
int stream_info_read_consumer(const struct bus_note *note,
                              struct stream_info_consumer *out, struct err *e);

/* Ask; fn gets the answer as it came. durable NULL: the stream itself. */
void stream_info_ask(struct bus *b, const char *stream, const char *durable,
                     bus_reply_fn *fn, void *ctx);

#endif
