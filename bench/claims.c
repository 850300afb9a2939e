/*
 * claims - the rate of a bare store of claims on this machine, without shunt.
 *
 * usage: claims [-u HOST:PORT] [-t TOKEN_FILE] [-n COUNT] [-b BEFORE]
 *
 *   -n       claims, default 50000
 *   -b       as many before them, which are not measured, default 0
 *
 * Makes COUNT claims by compare-and-set, as a worker does for a task that it
 * takes, and sets each to an outcome as soon as it is made; 512 of them are
 * in progress. So the server stores two messages for each and keeps one, which
 * is what grows with a fleet's work: see the part `backlog`.
 *
 * Its stream is BENCH_CLAIMS, shaped like KV_claims, made anew at the start and
 * deleted at the end.
 *
 * Writes   "first <claims per second> last <claims per second>": of the first
 *          and of the last fifth
 * Exit     0 every claim has its outcome, 1 something did not work, 2 usage
 *
 * It exits at the first failure: the kernel cleans up after it.
 */
#include "bench/bench.h"
#include "bench/wire.h"

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PARTS = 5,
    WINDOW = 512,
    CLAIM_SIZE = 85, /* encoded, of tasks of the part backlog */
    OUTCOME_SIZE = 148,
    MAX_COUNT = 10000000,
};

enum { SID_PUBACK = 1, SID_API };

static struct wire wire = {.name = "claims", .fd = -1};
static char answer[1024]; /* to an API request; "": not yet */
static struct claim_slot {
    int number; /* of the claim */
    bool made;
} slots[WINDOW];
static int count = 50000, before, begun, done;
static int64_t begin_ns, part_ns[PARTS]; /* when each part was done */

static void
put_revision(int slot, uint64_t expected, int size)
{
    static const char body[OUTCOME_SIZE];
    char head[128];
    int n = snprintf(head, sizeof head,
                     "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %llu"
                     "\r\n\r\n",
                     (unsigned long long)expected);

    /* Each number has a subject of its own, in no order, as ids are. */
    wire_putf(&wire,
              "HPUB $KV.bench.local.%016llx _INBOX.claims.a.%d %d %d\r\n%s",
              (unsigned long long)slots[slot].number * 0x9E3779B97F4A7C15ULL,
              slot, n, n + size, head);
    wire_put(&wire, body, (size_t)size);
    wire_put(&wire, "\r\n", 2);
}

static void
begin(int slot)
{
    slots[slot] = (struct claim_slot){.number = ++begun};
    put_revision(slot, 0, CLAIM_SIZE);
}

static void
end(int slot)
{
    int size = count / PARTS, measured = ++done - before;

    if (measured == 0)
        begin_ns = bench_now_ns();
    else if (measured > 0 && measured % size == 0 && measured / size <= PARTS)
        part_ns[measured / size - 1] = bench_now_ns();
    if (begun < before + count)
        begin(slot);
}

static void
on_message(void *ctx, const struct wire_msg *m)
{
    const char *dot = strrchr(m->subject, '.'), *seq;
    long slot = dot ? strtol(dot + 1, NULL, 10) : -1;

    (void)ctx;
    if (m->sid == SID_API) {
        (void)snprintf(answer, sizeof answer, "%s%s", m->header, m->data);
        return;
    }
    seq = strstr(m->data, "\"seq\":");
    if (slot < 0 || slot >= WINDOW || !seq || strstr(m->data, "\"error\""))
        errx(1, "not stored: %s%s", m->header, m->data);
    if (slots[slot].made) {
        end((int)slot);
        return;
    }
    slots[slot].made = true;
    put_revision((int)slot, strtoull(seq + 6, NULL, 10), OUTCOME_SIZE);
}

static void
ask(const char *what, const char *body)
{
    struct wire *alone[] = {&wire};

    answer[0] = '\0';
    wire_putf(&wire,
              "PUB $JS.API.%s.BENCH_CLAIMS _INBOX.claims.j %zu\r\n%s\r\n", what,
              strlen(body), body);
    while (answer[0] == '\0')
        wire_turn(alone, 1);
}

static void
make_stream(void)
{
    ask("STREAM.DELETE", "");
    ask("STREAM.CREATE",
        "{\"name\":\"BENCH_CLAIMS\",\"subjects\":[\"$KV.bench.>\"],"
        "\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"new\","
        "\"max_bytes\":-1,\"max_age\":172800000000000,"
        "\"duplicate_window\":600000000000,\"max_msgs\":-1,"
        "\"max_consumers\":-1,\"max_msg_size\":-1,\"num_replicas\":1,"
        "\"max_msgs_per_subject\":1,\"allow_direct\":true,"
        "\"deny_delete\":true,\"deny_purge\":true}");
    if (strstr(answer, "\"error\""))
        errx(1, "stream: %s", answer);
}

static double
per_second(int64_t from_ns, int64_t to_ns)
{
    return (double)(count / PARTS) * 1e9 / (double)(to_ns - from_ns);
}

int
main(int argc, char **argv)
{
    const char *address = "127.0.0.1:4222";
    struct wire *alone[] = {&wire};
    char token[256] = "";
    int opt;

    while ((opt = getopt(argc, argv, "u:t:n:b:")) != -1) {
        if (opt == 'u')
            address = optarg;
        else if (opt == 't')
            wire_read_token(optarg, token, sizeof token);
        else if (opt == 'n')
            count = bench_number(optarg, PARTS, MAX_COUNT);
        else if (opt == 'b')
            before = bench_number(optarg, 0, MAX_COUNT);
        else
            return 2;
    }
    if (optind != argc)
        errx(2, "it takes options alone");
    wire.on_message = on_message;
    wire_open(&wire, address, token);
    wire_putf(&wire, "SUB _INBOX.claims.a.* %d\r\nSUB _INBOX.claims.j %d\r\n",
              SID_PUBACK, SID_API);
    make_stream();
    begin_ns = bench_now_ns();
    for (int i = 0; i < WINDOW && i < before + count; i++)
        begin(i);
    while (done < before + count)
        wire_turn(alone, 1);
    printf("first %.1f last %.1f\n", per_second(begin_ns, part_ns[0]),
           per_second(part_ns[PARTS - 2], part_ns[PARTS - 1]));
    ask("STREAM.DELETE", "");
    return 0;
}
