/*
 * stream_info - the state of streams and consumers, as the broker reports it.
 *
 * Thread: the loop thread; replies arrive there, never from inside the call.
 */
#ifndef LIB_BUS_STREAM_INFO_H
#define LIB_BUS_STREAM_INFO_H

#include "lib/bus/bus.h"

#include <stdbool.h>
#include <stdint.h>

struct stream_info_stream {
    char created[40];      /* as the broker writes it */
    int64_t created_at_ms; /* the same */
    uint64_t first_seq, last_seq, messages, bytes;
    int64_t max_bytes; /* -1: no limit */
    bool discards_old; /* rather than refuse what is new */
};

struct stream_info_consumer {
    uint64_t delivered; /* the highest sequence delivered */
    uint64_t ack_floor; /* everything up to it is acknowledged */
    uint64_t pending, ack_pending;
};

/* Read a reply; ERR_NOT_FOUND: no such stream or consumer. */
int stream_info_read_stream(const struct bus_note *note,
                            struct stream_info_stream *out, struct err *e);
int stream_info_read_consumer(const struct bus_note *note,
                              struct stream_info_consumer *out, struct err *e);

/* Sends the request; fn gets the raw reply. durable NULL: the stream itself. */
void stream_info_ask(struct bus *b, const char *stream, const char *durable,
                     bus_reply_fn *fn, void *ctx);

#endif
