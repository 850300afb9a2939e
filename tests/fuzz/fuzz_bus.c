#include "lib/bus_private.h"
#include "tests/fuzz/fuzz.h"

#define CONSUMER "TASKS.local_default"
#define INBOX "_INBOX.router.abcd"

static void
read_answer(struct fuzz *f, const uint8_t *data, size_t size)
{
    struct bus_stored stored = {0};

    if (bus_read_stored(data, size, &stored, &f->e) < 0)
        (void)fuzz_refused(f);
    else
        FUZZ_NEED(stored.seq > 0);
}

/* A delivery is acknowledged on the subject it names, so it must be ours. */
static void
read_delivery(const char *text)
{
    struct bus_msg m = {0};

    if (!bus_read_ack(CONSUMER, text, &m))
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

    if (bus_read_slot(INBOX, text, &index, &serial)) {
        FUZZ_NEED(serial != 0);
        reply = mem_pool_printf(f->pool, "%s.%llx-%llx", INBOX,
                                (unsigned long long)index,
                                (unsigned long long)serial);
        FUZZ_NEED(bus_read_slot(INBOX, reply, &index, &serial));
    }
    if (bus_read_pull(INBOX, 7, text) > 0)
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
    (void)bus_read_time(text);
    if (bus_number(text, &number))
        FUZZ_NEED(strspn(text, "0123456789") == strlen(text));
    if (bus_text_ok(text, 100))
        FUZZ_NEED(*text && strlen(text) <= 100 && !strpbrk(text, " \t\r\n"));
    fuzz_end(&f);
}
