/*
 * pipeline - the rate of bare JetStream on this machine, without shunt.
 *
 * usage: pipeline [-u HOST:PORT] [-t TOKEN_FILE] [-n COUNT] [-s BYTES]
 *                 [-i] [-p] publish|hop|three|latency
 *
 *   publish  COUNT messages, 512 of them waiting for their acknowledgement
 *   hop      takes COUNT waiting messages from one stream, publishes each to
 *            the next and acknowledges it when that is stored: the router
 *   three    bench.in -> bench.tasks.x -> bench.results.x -> sink with the
 *            publisher at work at the same time: the whole way of a task
 *   latency  the same way, one message at a time, on an idle machine
 *
 *   -s       bytes of a message, default 200
 *   -i       each message carries a Nats-Msg-Id, as shunt's do
 *   -p       the first two hops are processes of their own; else all
 *            connections share one poll loop
 *
 * It speaks the NATS protocol itself: no client library, no encoding, no claim
 * and no ledger stand between it and the server, which makes it the limit that
 * shunt's pipeline is held against. Pulls ask for 256 and overlap, and all that
 * one turn of the loop has to say goes out in one write.
 *
 * Its streams are BENCH_IN, BENCH_TASKS and BENCH_RESULTS, shaped like shunt's,
 * made anew at each start and deleted at the end.
 *
 * Writes   "rate <messages per second>", or "p50_us <n> p99_us <n> max_us <n>"
 * Exit     0 every message arrived, 1 something did not work, 2 usage
 *
 * It exits at the first failure: the kernel cleans up after it.
 */
#include "bench/bench.h"
#include "bench/wire.h"

#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BATCH = 256,  /* messages per pull; the next pull is out before it ends */
    WINDOW = 512, /* publishes of the publisher that wait for their ack */
    SLOTS = 1024, /* messages a hop has taken and not settled */
    ACK_SIZE = 160,
    MIN_SIZE = 16,
    MAX_SIZE = 1024,
    MAX_COUNT = 10000000,
    WARM_UP = 20, /* messages before latency is noted */
};

/* The subscriptions of every connection. */
enum { SID_DELIVERY = 1, SID_PUBACK, SID_API };

/* One step on a message's way, and the connection it has to itself. */
struct stage {
    const char *name;
    const char *stream; /* where it takes from; NULL: it makes the messages */
    const char *to;     /* where it publishes; NULL: it only acknowledges */
    int64_t sent, asked, got, settled;
    char answer[1024]; /* to an API request; "": not yet */
    int free_slots[SLOTS];
    int free_count;
    char ack[SLOTS][ACK_SIZE]; /* where the message in a slot is settled */
    struct wire wire;
};

enum { PUBLISHER, FIRST, SECOND, SINK, STAGES };

static struct stage stages[STAGES] = {
    {.name = "publisher", .to = "bench.in"},
    {.name = "first", .stream = "BENCH_IN", .to = "bench.tasks.x"},
    {.name = "second", .stream = "BENCH_TASKS", .to = "bench.results.x"},
    {.name = "sink", .stream = "BENCH_RESULTS"},
};

static struct {
    const char *address;
    char token[256];
    int count, size;
    bool ids, processes;
} opts = {.address = "127.0.0.1:4222", .count = 50000, .size = 200};

/* --- what a stage says --------------------------------------------------- */

static void
put_message(struct stage *s, const char *data, size_t len, const char *ack)
{
    int slot = s->free_slots[--s->free_count], n;
    char head[128];

    (void)snprintf(s->ack[slot], ACK_SIZE, "%s", ack);
    if (opts.ids) {
        /* Every message begins with its number, in ten digits. */
        n = snprintf(head, sizeof head,
                     "NATS/1.0\r\nNats-Msg-Id: bench-message-%.10s:%c\r\n\r\n",
                     data, s->name[0]);
        wire_putf(&s->wire, "HPUB %s _INBOX.%s.a.%d %d %zu\r\n%s", s->to,
                  s->name, slot, n, (size_t)n + len, head);
    } else {
        wire_putf(&s->wire, "PUB %s _INBOX.%s.a.%d %zu\r\n", s->to, s->name,
                  slot, len);
    }
    wire_put(&s->wire, data, len);
    wire_put(&s->wire, "\r\n", 2);
    s->sent++;
}

static void
put_new_message(struct stage *s)
{
    char data[MAX_SIZE];
    int n = snprintf(data, sizeof data, "%010d", (int)s->sent);

    memset(data + n, '.', sizeof data - (size_t)n);
    put_message(s, data, (size_t)opts.size, "");
}

static void
put_ack(struct stage *s, const char *subject)
{
    wire_putf(&s->wire, "PUB %s 4\r\n+ACK\r\n", subject);
    s->settled++;
}

/* Asks for more before the last pull has run dry. */
static void
put_pulls(struct stage *s)
{
    while (s->asked - s->got <= BATCH &&
           s->asked - s->got + BATCH <= s->free_count) {
        wire_putf(&s->wire,
                  "PUB $JS.API.CONSUMER.MSG.NEXT.%s.bench _INBOX.%s.d 35\r\n"
                  "{\"batch\":%03d,\"expires\":30000000000}\r\n",
                  s->stream, s->name, BATCH);
        s->asked += BATCH;
    }
}

/* --- what a stage hears -------------------------------------------------- */

static void
on_delivery(struct stage *s, const struct wire_msg *m)
{
    static const char left[] = "Nats-Pending-Messages: ";
    const char *pending;

    if (m->reply[0] == '\0') { /* nothing to acknowledge: how a pull ended */
        pending = strstr(m->header, left);
        if (strncmp(m->header, "NATS/1.0 408", 12) != 0 || !pending)
            errx(1, "%s: pull: %.60s", s->name, m->header);
        s->asked -= strtol(pending + strlen(left), NULL, 10);
        return;
    }
    s->got++;
    if (!s->to)
        put_ack(s, m->reply);
    else if (s->free_count > 0 && strlen(m->reply) < ACK_SIZE)
        put_message(s, m->data, m->len, m->reply);
    else
        errx(1, "%s: a message nobody asked for", s->name);
}

/* Stored downstream: only now the message upstream is done with. */
static void
on_puback(struct stage *s, const struct wire_msg *m)
{
    const char *dot = strrchr(m->subject, '.');
    long slot = dot ? strtol(dot + 1, NULL, 10) : -1;

    if (slot < 0 || slot >= SLOTS || m->data[0] != '{' ||
        strstr(m->data, "\"error\"") || strstr(m->data, "\"duplicate\""))
        errx(1, "%s: not stored: %s%s", s->name, m->header, m->data);
    if (s->stream)
        put_ack(s, s->ack[slot]);
    else
        s->settled++;
    s->free_slots[s->free_count++] = (int)slot;
}

static void
on_message(void *ctx, const struct wire_msg *m)
{
    struct stage *s = ctx;

    if (m->sid == SID_DELIVERY)
        on_delivery(s, m);
    else if (m->sid == SID_PUBACK)
        on_puback(s, m);
    else
        (void)snprintf(s->answer, sizeof s->answer, "%s%s", m->header, m->data);
}

/* --- stages and streams -------------------------------------------------- */

static void
stage_open(struct stage *s)
{
    s->wire.name = s->name;
    s->wire.on_message = on_message;
    s->wire.ctx = s;
    s->free_count = s->stream ? SLOTS : WINDOW;
    for (int i = 0; i < s->free_count; i++)
        s->free_slots[i] = i;
    wire_open(&s->wire, opts.address, opts.token);
    wire_putf(&s->wire, "SUB _INBOX.%s.d %d\r\nSUB _INBOX.%s.a.* %d\r\n",
              s->name, SID_DELIVERY, s->name, SID_PUBACK);
    wire_putf(&s->wire, "SUB _INBOX.%s.j %d\r\n", s->name, SID_API);
}

/* Asks the server's API about a stream and waits for the answer. */
static void
ask(struct stage *s, const char *what, const char *name, const char *body)
{
    struct wire *alone[] = {&s->wire};

    s->answer[0] = '\0';
    wire_putf(&s->wire, "PUB $JS.API.%s.%s _INBOX.%s.j %zu\r\n%s\r\n", what,
              name, s->name, strlen(body), body);
    while (s->answer[0] == '\0')
        wire_turn(alone, 1);
}

/* As shunt's are: what a benchmark leaves out would flatter the limit. */
static void
make_stream(struct stage *s, const char *name, const char *subject)
{
    char body[1024], consumer[64];

    ask(s, "STREAM.DELETE", name, "");
    (void)snprintf(
        body, sizeof body,
        "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"retention\":\"limits\","
        "\"storage\":\"file\",\"discard\":\"new\",\"max_bytes\":1073741824,"
        "\"max_age\":604800000000000,\"duplicate_window\":600000000000,"
        "\"max_msgs\":-1,\"max_consumers\":-1,\"max_msg_size\":-1,"
        "\"num_replicas\":1}",
        name, subject);
    ask(s, "STREAM.CREATE", name, body);
    if (strstr(s->answer, "\"error\""))
        errx(1, "stream %s: %s", name, s->answer);
    (void)snprintf(consumer, sizeof consumer, "%s.bench", name);
    (void)snprintf(
        body, sizeof body,
        "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"bench\","
        "\"filter_subject\":\"%s\",\"deliver_policy\":\"all\","
        "\"ack_policy\":\"explicit\",\"ack_wait\":30000000000,"
        "\"max_deliver\":-1,\"max_ack_pending\":%d,"
        "\"replay_policy\":\"instant\"}}",
        name, subject, SLOTS);
    ask(s, "CONSUMER.DURABLE.CREATE", consumer, body);
    if (strstr(s->answer, "\"error\""))
        errx(1, "consumer of %s: %s", name, s->answer);
}

/* Lets the open stages work until s has settled that many, the publisher
 * having made no more than that, and the server knows it. */
static void
work_until(struct stage *s, int64_t settled)
{
    struct wire *all[STAGES];
    struct stage *p = &stages[PUBLISHER];
    int i;

    for (i = 0; i < STAGES; i++)
        all[i] = &stages[i].wire;
    while (s->settled < settled) {
        while (p->wire.fd >= 0 && p->sent < settled && p->free_count > 0)
            put_new_message(p);
        for (i = FIRST; i < STAGES; i++)
            if (stages[i].wire.fd >= 0)
                put_pulls(&stages[i]);
        wire_turn(all, STAGES);
    }
}

/* Opens a hop here, or in a process that ends when its work is done. */
static void
start_hop(struct stage *s)
{
    pid_t parent = getpid(), pid = opts.processes ? fork() : 0;

    if (pid < 0)
        err(1, "fork");
    if (pid > 0)
        return;
    if (!opts.processes) {
        stage_open(s);
        return;
    }
    /* It must not outlive a parent that failed or was killed. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        errx(1, "%s: alone", s->name);
    (void)close(stages[PUBLISHER].wire.fd);
    stages[PUBLISHER].wire.fd = -1;
    stage_open(s);
    work_until(s, opts.count);
    wire_sync(&s->wire);
    exit(0);
}

static void
end_hops(void)
{
    int status;

    while (wait(&status) > 0)
        if (status != 0)
            errx(1, "a hop failed");
}

/* --- the modes ----------------------------------------------------------- */

static void
measure_rate(struct stage *last)
{
    int64_t begin;

    if (last == &stages[FIRST]) { /* its work is waiting when it starts */
        work_until(&stages[PUBLISHER], opts.count);
        stage_open(last);
    } else if (last == &stages[SINK]) {
        start_hop(&stages[FIRST]);
        start_hop(&stages[SECOND]);
        stage_open(last);
    }
    begin = bench_now_ns();
    work_until(last, opts.count);
    wire_sync(&last->wire); /* its acknowledgements count too */
    bench_print_rate(opts.count, bench_now_ns() - begin);
}

static void
measure_latency(void)
{
    int64_t *took = calloc((size_t)opts.count, sizeof *took), begin;
    int n = opts.count - WARM_UP, i, j;

    if (!took || n < 1)
        errx(2, "latency takes more than %d messages", WARM_UP);
    start_hop(&stages[FIRST]);
    start_hop(&stages[SECOND]);
    stage_open(&stages[SINK]);
    for (i = 0; i < opts.count; i++) {
        begin = bench_now_ns();
        work_until(&stages[SINK], i + 1);
        took[i] = bench_now_ns() - begin;
        /* All is quiet again before the next one leaves. */
        for (j = PUBLISHER; j < STAGES; j++) {
            if (stages[j].wire.fd < 0)
                continue;
            work_until(&stages[j], i + 1);
            wire_sync(&stages[j].wire);
        }
        (void)poll(NULL, 0, BENCH_QUIET_MS);
    }
    bench_print_times(took + WARM_UP, (size_t)n);
    free(took);
}

/* --- the command line ---------------------------------------------------- */

static const char *
read_options(int argc, char **argv)
{
    int opt;

    while ((opt = getopt(argc, argv, "u:t:n:s:ip")) != -1) {
        switch (opt) {
        case 'u':
            opts.address = optarg;
            break;
        case 't':
            wire_read_token(optarg, opts.token, sizeof opts.token);
            break;
        case 'n':
            opts.count = bench_number(optarg, 1, MAX_COUNT);
            break;
        case 's':
            opts.size = bench_number(optarg, MIN_SIZE, MAX_SIZE);
            break;
        case 'i':
            opts.ids = true;
            break;
        case 'p':
            opts.processes = true;
            break;
        default:
            exit(2);
        }
    }
    if (optind != argc - 1)
        errx(2, "one of publish, hop, three, latency");
    return argv[optind];
}

int
main(int argc, char **argv)
{
    static const char *const names[] = {"BENCH_IN", "BENCH_TASKS",
                                        "BENCH_RESULTS"};
    const char *mode = read_options(argc, argv);
    struct stage *p = &stages[PUBLISHER];
    size_t i;

    for (i = 0; i < STAGES; i++)
        stages[i].wire.fd = -1;
    stage_open(p);
    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        make_stream(p, names[i], stages[i].to);

    if (strcmp(mode, "publish") == 0)
        measure_rate(p);
    else if (strcmp(mode, "hop") == 0)
        measure_rate(&stages[FIRST]);
    else if (strcmp(mode, "three") == 0)
        measure_rate(&stages[SINK]);
    else if (strcmp(mode, "latency") == 0)
        measure_latency();
    else
        errx(2, "'%s': expected publish, hop, three or latency", mode);
    end_hops();

    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        ask(p, "STREAM.DELETE", names[i], "");
    return 0;
}
