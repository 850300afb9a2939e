/*
 * replies - reads the broker's replies: acknowledgements of publications,
 * times, stored messages. Pure; the text is not trusted.
 *
 * Thread: any.
 */
#ifndef LIB_BUS_REPLIES_H
#define LIB_BUS_REPLIES_H

#include "lib/bus/bus.h"
#include "lib/bus/protocol.h"

/* Reads {"stream":"S","seq":N,"duplicate":true} or {"error":{...}}. */
int replies_read_stored(const void *data, size_t len, struct bus_stored *out,
                        struct err *e);
/* Milliseconds since 1970 of "2006-01-02T15:04:05.999Z"; 0 if invalid. */
int64_t replies_read_time(const char *text);
/* Reads the reply to a get of one message. 0: *out is filled, and borrows from
 * m; 1: no such message; -1: e says why. */
int replies_read_entry(const struct protocol_msg *m, struct bus_entry *out,
                       struct err *e);

#endif
