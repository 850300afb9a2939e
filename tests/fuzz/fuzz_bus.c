#include "lib/bus/bus_private.h"
#include "lib/bus/consumer.h"
#include "lib/bus/protocol.h"
#include "lib/bus/replies.h"
#include "lib/bus/requests.h"
#include "tests/fuzz/fuzz.h"

#define CONSUMER "TASKS.local_default"
#define INBOX "_INBOX.router.abcd"

static void
read_answer(struct fuzz *f, const uint8_t *data, size_t size)
{
    struct bus_stored stored = {0};

    if (replies_read_stored(data, size, &stored, &f->e) < 0) {
        (void)fuzz_refused(f);
    } else {
        struct bus_stored slow = {0};
        char *wide = mem_pool_alloc(f->pool, size + 1);

        FUZZ_NEED(stored.seq > 0);
        /* What has a blank before it is read by the general parser. */
        wide[0] = ' ';
        memcpy(wide + 1, data, size);
        FUZZ_NEED(replies_read_stored(wide, size + 1, &slow, &f->e) == 0);
        FUZZ_NEED(slow.seq == stored.seq);
        FUZZ_NEED(slow.duplicate == stored.duplicate);
    }
}

/* A delivery is acknowledged on the subject it names, so it must be ours. */
static void
read_delivery(const char *text)
{
    struct bus_msg m = {0};

    if (!consumer_read_ack(CONSUMER, text, &m))
        return;
    FUZZ_NEED(strncmp(text, "$JS.ACK.", 8) == 0);
    FUZZ_NEED(strstr(text, "." CONSUMER "."));
    FUZZ_NEED(m.stored_at_ms >= 0);
}

/* The broker echoes our own reply subjects; anybody can send on them. */
static void
read_reply(const struct fuzz *f, const char *text)
{
    uint64_t index = 0, serial = 0;
    char *reply;

    if (requests_read_slot(INBOX, text, &index, &serial)) {
        FUZZ_NEED(serial != 0);
        reply = mem_pool_printf(f->pool, "%s.%llx-%llx", INBOX,
                                (unsigned long long)index,
                                (unsigned long long)serial);
        FUZZ_NEED(requests_read_slot(INBOX, reply, &index, &serial));
    }
    if (consumer_read_pull(INBOX, 7, text) > 0)
        FUZZ_NEED(strncmp(text, INBOX ".", sizeof INBOX) == 0);
}

/* What the broker writes into headers, subjects and answers. */
void
fuzz_headers(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    char *text = fuzz_text(&f, data, size);
    uint64_t number;

    read_answer(&f, data, size);
    read_delivery(text);
    read_reply(&f, text);
    (void)replies_read_time(text);
    if (str_to_u64(text, 0, UINT64_MAX, &number))
        FUZZ_NEED(strspn(text, "0123456789") == strlen(text));
    if (bus_text_ok(text, 100))
        FUZZ_NEED(*text && strlen(text) <= 100 && !strpbrk(text, " \t\r\n"));
    fuzz_end(&f);
}

/* Text lies within what came, and ends there. */
static void
need_inside(const char *text, const char *in, size_t len)
{
    if (*text)
        FUZZ_NEED(text > in && text + strlen(text) < in + len);
}

/*
 * All that a connection carries. Read at once, or with ever more of it there,
 * it means the same.
 */
void
fuzz_proto(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    char *in = mem_pool_alloc(f.pool, size + 1), *part;
    enum protocol_kind kind;
    size_t at = 0, used;
    struct protocol_op op;

    if (size)
        memcpy(in, data, size);
    part = mem_pool_alloc(f.pool, size + 1);
    for (;; at += used) {
        size_t n = 0, part_used;

        memcpy(part, in + at, size - at);
        kind = protocol_read(in + at, size - at, &op, &used);
        if (kind == PROTOCOL_MORE || kind == PROTOCOL_JUNK)
            break;
        FUZZ_NEED(used > 0 && used <= size - at);
        if (used < 4096)
            while (n < used &&
                   protocol_read(part, n, &op, &part_used) == PROTOCOL_MORE)
                n++;
        FUZZ_NEED(used >= 4096 || n == used);
        if (kind != PROTOCOL_MSG)
            continue;
        memcpy(part, data + at, size - at);
        FUZZ_NEED(protocol_read(part, used, &op, &part_used) == PROTOCOL_MSG);
        FUZZ_NEED(op.msg.len < used && op.sid >= 0);
        FUZZ_NEED((const char *)op.msg.data + op.msg.len < part + used);
        need_inside(op.msg.subject, part, used);
        need_inside(op.msg.reply, part, used);
        for (int h = 0; h < HEADERS_READ; h++)
            need_inside(op.msg.header[h], part, used);
    }
    fuzz_end(&f);
}
