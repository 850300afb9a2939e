/*
 * bus_private - struct bus, which the parts of bus share:
 *
 *   bus.c            the loop thread's dispatch, core NATS, the one timer
 *   requests.c       everything that waits for one reply
 *   fsync_barrier.c  delays replies until what they acknowledge is on the disk
 *   consumer.c       durable pull consumers
 *   replies.c        reads the broker's replies
 *   conn.c           a connection, which is one of
 *   conn_tcp.c         plain TCP, read and written by the loop thread
 *   conn_tls.c         under TLS, by the library's threads
 *   connector.c      connects and reconnects a conn_tcp
 *   libnats.c        the NATS library: lifetime, threads, errors
 *   endpoint.c       addresses, credentials, certificates
 *   protocol.c       the NATS client protocol
 */
#ifndef LIB_BUS_BUS_PRIVATE_H
#define LIB_BUS_BUS_PRIVATE_H

#include "lib/bus/bus.h"
#include "lib/bus/conn.h"

#include <sys/queue.h>

enum {
    BUS_INBOX_SIZE = 96,   /* of "_INBOX.<role>.<random>" */
    BUS_REPLY_SIZE = 160,  /* of a reply subject below the inbox */
    BUS_SUBJECT_MAX = 400, /* longest subject we publish on */
    BUS_ID_MAX = 128,      /* longest Nats-Msg-Id */
};

struct bus {
    struct loop *loop;
    struct loop_hook *turn;
    struct conn *conn;
    bool up;                  /* according to the events delivered so far */
    int64_t cork_ms, cork_at; /* see bus_cork; cork_at 0: not corked now */
    bool refill;              /* a consumer may have room for more */
    char inbox[BUS_INBOX_SIZE];
    struct conn_sub *replies; /* to <inbox>.* */

    void (*on_event)(void *ctx, enum bus_event event, const char *text);
    void *event_ctx;

    int64_t broker_ms;      /* the broker's clock as last seen; 0: never */
    int64_t broker_seen_ms; /* when that was, by loop_now_ms */

    struct loop_timer *timer;
    int64_t timer_at; /* when it fires; 0: it does not run */

    struct bus_request *requests;
    unsigned n_requests, free_request; /* slots; first free one + 1 */
    uint64_t request_serial;
    LIST_HEAD(, retried_publish) retried;

    LIST_HEAD(, bus_consumer) consumers;
    unsigned consumer_serial;
    struct fsync_barrier *barrier; /* NULL: the broker's word is enough */
};

/* Makes the timer fire at at_ms or earlier. */
void bus_due(struct bus *b, int64_t at_ms);
/* The broker stored something at that time of its clock. */
void bus_note_broker_time(struct bus *b, int64_t stored_at_ms);
/* False if text is empty, longer than max, or has blanks or control characters,
 * which would break the protocol. */
bool bus_text_ok(const char *text, size_t max);

#endif
