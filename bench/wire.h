/*
 * wire - a minimal connection to a NATS server, for benchmarks.
 *
 * wire_put buffers output; wire_turn sends the buffer in one write, waits for
 * the server and hands each message to the connection's function. There is no
 * reconnect and no error to handle: the program exits with a line on stderr at
 * the first failure.
 *
 * Thread: one.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    WIRE_IN = 256 * 1024,
    WIRE_OUT = 4 * 1024 * 1024,
    WIRE_STALL_MS = 10000, /* nothing moved for that long: give up */
};

/* Lives during the call. All texts end with a NUL, data too. */
struct wire_msg {
    int sid;
    const char *subject;
    const char *reply;  /* "": none */
    const char *header; /* "": none; else from "NATS/1.0" on */
    const char *data;
    size_t len;
};

typedef void wire_fn(void *ctx, const struct wire_msg *m);

/* Large: allocate it statically. fd is -1 once it is closed. */
struct wire {
    const char *name; /* borrowed; for the server and for error lines */
    wire_fn *on_message;
    void *ctx;
    int fd;
    bool ponged;
    size_t in_len, out_len;
    char in[WIRE_IN];
    char out[WIRE_OUT];
};

/* Reads the first line of the file, which must need no escaping in JSON. */
void wire_read_token(const char *path, char *out, size_t size);

/* Connects to "host:port"; token "": without authentication. */
void wire_open(struct wire *w, const char *address, const char *token);

/* Appends to what the next turn sends. */
void wire_put(struct wire *w, const void *data, size_t len);
void wire_putf(struct wire *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends each connection's buffer, waits until one is readable and handles what
 * it received. Closed connections are skipped; at most 8. */
void wire_turn(struct wire *const *all, int count);

/* Returns when the server has processed everything put before. Only w is
 * served meanwhile. */
void wire_sync(struct wire *w);

#endif
