/*
 * client - submits tasks and waits for their outcomes, in one process.
 *
 * usage: client -u HOST:PORT -t TOKEN_FILE [-n COUNT] [-c COMMAND]...
 *               [-l LANE]... [-b BATCH] [-p PROMPT]
 * run|submit|filled|watch|latency|routed
 *
 *   run      submits COUNT tasks and waits until the ledger has all their
 *            outcomes and has read every other message about them
 *   submit   submits them and waits for the broker's acknowledgements
 *   filled   waits until the ledger holds COUNT tasks that are routed and wait
 *   watch    waits until the ledger has the outcomes of all COUNT tasks of
 *            BATCH
 *   latency  one task at a time, with a pause before the next: from the
 *            submission to done.<task>, which the ledger publishes once the
 *            outcome is stored
 *   routed   waits until COUNT tasks stand in their lanes; the rate is that of
 *            the broker's own times, so that nobody's start counts
 *
 *   -c, -l   the command and lane of the tasks; of several the first task has
 *            the first, the second the second, and so on in turn. Default
 *            "true" and the router's choice
 *   -p       in place of a command: the tasks are prompts that may be delegated
 *   -b       the batch they belong to; default: one of their own
 *
 * Writes   run, submit, routed: "rate <per second>"; latency: "p50_us <n>
 *          p99_us <n> max_us <n>"; watch: a line "<monotonic s> <ended>"
 *          whenever the ledger has stored some
 * Exit     0 every task succeeded, 1 something did not work, 2 usage
 */
#include "bench/bench.h"
#include "lib/base/log.h"
#include "lib/bus/bus.h"
#include "lib/bus/multi_msg.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECT_MS = 10000,
    ANSWER_MS = 10000,
    STALL_MS = 30000, /* nothing moved for that long: give up */
    WINDOW = 512,     /* submissions that wait for their acknowledgement */
    WARM_UP = 20,     /* tasks before latency is noted */
    LOOK_MS = 20,     /* between two questions */
    SILENT_MS = 500,  /* no event of the batch for that long: ask */
    MAX_COUNT = 10000000,
    MAX_TURNS = 8,
};

/* Values that are taken in turn. */
struct turns {
    const char *v[MAX_TURNS];
    int n;
};

static struct {
    struct bus_conf bus;
    struct turns commands, lanes;
    char batch[TASK_ID_SIZE];
    const char *prompt; /* NULL: they are commands */
    int count;
} opts = {.count = 1000};

static struct loop *loop;
static struct bus *bus;
static struct bus_sub *events; /* what this mode listens to */

static void
add_turn(struct turns *t, const char *value)
{
    if (t->n == MAX_TURNS)
        errx(2, "at most %d in turn", MAX_TURNS);
    t->v[t->n++] = value;
}

static const char *
turn(const struct turns *t, int i, const char *fallback)
{
    return t->n ? t->v[i % t->n] : fallback;
}

/* What is waited for, and how far it is. */
struct progress {
    const char *what;
    int n;
    bool over;
};

static void
come_to(struct progress *p, int n)
{
    p->n = n;
    p->over = n >= opts.count;
}

/* Runs the loop until p is over, and calls look every now and then (NULL:
 * callbacks do it all). */
static void
await(const struct progress *p, void (*look)(void))
{
    int64_t moved_ms = loop_now_ms();
    int last = p->n;

    while (!loop_until(loop, &p->over, LOOK_MS)) {
        if (look)
            look();
        if (p->n != last) {
            last = p->n;
            moved_ms = loop_now_ms();
        } else if (loop_now_ms() - moved_ms > STALL_MS) {
            errx(1, "%d of %d tasks %s, and no more for %d s", last, opts.count,
                 p->what, STALL_MS / 1000);
        }
    }
}

/* --- submitting ---------------------------------------------------------- */

static struct {
    struct mem_pool *pool;
    struct str bytes;
    struct multi_msg bulk; /* the message that is being made */
    int sent;
    struct progress stored;
} submission = {.bulk.type = CODEC_TASKS, .stored.what = "are stored"};

static void pump(void);

/* ctx: how many tasks were in the message. */
static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    if (!stored)
        errx(1, "not stored: %s", e->msg);
    come_to(&submission.stored, submission.stored.n + (int)(intptr_t)ctx);
    /* Room for a good part at once costs fewer writes. */
    if (submission.sent - submission.stored.n <= WINDOW * 3 / 4)
        pump();
}

static void
flush(void)
{
    struct bus_publication p;

    if (submission.bulk.n == 0)
        return;
    p = multi_msg_publication(&submission.bulk);
    bus_publish_until(bus, &p, on_stored, (void *)(intptr_t)submission.bulk.n);
    multi_msg_reset(&submission.bulk);
}

/* Hands in task i of the batch, by the next flush; its id is left in id. */
static void
submit(int i, char id[TASK_ID_SIZE], bool batched)
{
    struct batch_ref batch = {.id = opts.batch,
                              .name = "bench",
                              .index = (uint32_t)i,
                              .size = (uint32_t)opts.count,
                              .branch = ""};
    struct step step = {.kind = STEP_SHELL, .name = "", .workdir = ""};
    struct delegation delegation = {.preferred_ai = "gpu",
                                    .allow_delegation = true,
                                    .complexity_hint = "",
                                    .max_cost_usd = ""};
    struct task t;

    mem_pool_reset(submission.pool);
    codec_init(CODEC_TASK, &t);
    task_new_id(id);
    step.script = turn(&opts.commands, i, "true");
    t.id = id;
    if (opts.prompt) {
        t.prompt = opts.prompt;
        t.delegation = &delegation;
    } else {
        t.steps = &step;
        t.n_steps = 1;
        t.command = step.script;
    }
    t.lane = turn(&opts.lanes, i, "");
    t.batch = batched ? &batch : NULL;
    task_complete(&t, submission.pool, str_wall_ms());
    str_reset(&submission.bytes);
    codec_encode(CODEC_TASK, &t, &submission.bytes);
    if (!multi_msg_fits(&submission.bulk, submission.bytes.len))
        flush();
    multi_msg_add(&submission.bulk, id, submission.bytes.data,
                  submission.bytes.len);
    submission.sent++;
}

static void
pump(void)
{
    char id[TASK_ID_SIZE];

    while (submission.sent < opts.count &&
           submission.sent - submission.stored.n < WINDOW)
        submit(submission.sent, id, true);
    flush();
}

/* --- what the ledger knows ----------------------------------------------- */

static struct {
    struct progress ended;
    int64_t heard_ms;
    bool print;
} batch = {.ended.what = "have ended"};

static void
note_batch(int succeeded, int failed)
{
    batch.heard_ms = loop_now_ms();
    if (failed > 0)
        errx(1, "%d tasks failed", failed);
    if (succeeded <= batch.ended.n)
        return;
    come_to(&batch.ended, succeeded);
    if (batch.print) {
        printf("%.6f %d\n", (double)bench_now_ns() / 1e9, succeeded);
        (void)fflush(stdout);
    }
}

static void
on_batch(void *ctx, const struct bus_note *note)
{
    struct mem_pool *pool = mem_pool_new();
    struct batch b;
    struct err e;

    (void)ctx;
    if (codec_decode(CODEC_BATCH, note->data, note->len, pool, &b, &e) < 0)
        errx(1, "event of the batch: %s", e.msg);
    note_batch((int)b.succeeded, (int)(b.failed + b.cancelled));
    mem_pool_free(pool);
}

/* The answer to a question as JSON; the caller owns it. */
static json_t *
ask(const char *subject, const char *question)
{
    struct str answer = {0};
    struct err e = {0};
    json_t *o;

    if (bus_call(bus, subject, question, strlen(question), ANSWER_MS, &answer,
                 &e) < 0)
        errx(1, "%s: %s", subject, e.msg);
    o = json_loadb(str_text(&answer), answer.len, 0, NULL);
    if (!json_is_object(o))
        errx(1, "%s: the answer is not a JSON object", subject);
    str_free(&answer);
    return o;
}

static int
member(const json_t *o, const char *key)
{
    return (int)json_integer_value(json_object_get(o, key));
}

/* Events may be lost: if none arrive, the ledger is asked. */
static void
look_at_batch(void)
{
    char subject[SUBJECT_SIZE], question[96];
    json_t *o, *b;

    if (loop_now_ms() - batch.heard_ms < SILENT_MS)
        return;
    (void)snprintf(question, sizeof question, "{\"batch\": \"%s\"}",
                   opts.batch);
    o = ask(subject_ask(subject, "batch"), question);
    /* Until its first task is stored there is no such batch. */
    b = json_object_get(o, "batch");
    note_batch(member(b, "succeeded"),
               member(b, "failed") + member(b, "cancelled"));
    json_decref(o);
}

static void
follow_batch(void)
{
    char subject[SUBJECT_SIZE];
    struct err e = {0};

    if (bus_subscribe(bus, subject_batch(subject, opts.batch), on_batch, NULL,
                      &events, &e) < 0)
        errx(1, "%s: %s", subject, e.msg);
    batch.heard_ms = loop_now_ms();
}

static struct progress known = {.what = "are known to the ledger in all"};

static void
look_at_lag(void)
{
    char subject[SUBJECT_SIZE];
    json_t *o = ask(subject_ask(subject, "status"), "{}"), *n;
    json_int_t lag = 0;
    const char *name;

    json_object_foreach(json_object_get(o, "lag"), name, n)
    {
        lag += json_integer_value(n);
    }
    come_to(&known, lag < opts.count ? opts.count - (int)lag : 0);
    json_decref(o);
}

/* --- the modes ----------------------------------------------------------- */

static void
measure_submit(void)
{
    int64_t begin = bench_now_ns();

    pump();
    await(&submission.stored, NULL);
    bench_print_rate(opts.count, bench_now_ns() - begin);
}

static void
measure_run(void)
{
    int64_t begin = bench_now_ns();

    follow_batch();
    pump();
    await(&batch.ended, look_at_batch);
    look_at_lag();
    await(&known, look_at_lag);
    bench_print_rate(opts.count, bench_now_ns() - begin);
}

static void
print_watch(void)
{
    batch.print = true;
    follow_batch();
    printf("%.6f 0\n", (double)bench_now_ns() / 1e9);
    (void)fflush(stdout);
    await(&batch.ended, look_at_batch);
}

static struct progress filled = {.what = "are routed"};

static void
look_at_counters(void)
{
    char subject[SUBJECT_SIZE];
    json_t *o = ask(subject_ask(subject, "status"), "{}");

    come_to(&filled, member(json_object_get(o, "counters"), "routed"));
    json_decref(o);
}

static void
wait_filled(void)
{
    await(&filled, look_at_counters);
}

struct awaited {
    char subject[SUBJECT_SIZE];
    bool over;
};

static void
on_done(void *ctx, const struct bus_note *note)
{
    struct awaited *w = ctx;

    w->over = w->over || strcmp(note->subject, w->subject) == 0;
}

static void
measure_latency(void)
{
    int64_t *took = calloc((size_t)opts.count, sizeof *took), begin;
    struct awaited w = {.over = false};
    const bool never = false;
    char id[TASK_ID_SIZE];
    struct err e = {0};

    if (!took || opts.count <= WARM_UP)
        errx(2, "latency takes more than %d tasks", WARM_UP);
    if (bus_subscribe(bus, SUBJECT_DONE_ALL, on_done, &w, &events, &e) < 0)
        errx(1, "%s: %s", SUBJECT_DONE_ALL, e.msg);
    for (int i = 0; i < opts.count; i++) {
        w.over = false;
        begin = bench_now_ns();
        submit(i, id, false);
        flush();
        (void)subject_done(w.subject, id);
        if (!loop_until(loop, &w.over, STALL_MS))
            errx(1, "no outcome of task %s", id);
        took[i] = bench_now_ns() - begin;
        (void)loop_until(loop, &never, BENCH_QUIET_MS);
    }
    bench_print_times(took + WARM_UP, (size_t)(opts.count - WARM_UP));
    free(took);
}

/* Seconds since 1970 of "2026-01-31T12:00:00.123456789Z". */
static double
seconds(const json_t *time)
{
    const char *text = json_string_value(time), *rest;
    struct tm tm = {0};

    rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!rest)
        errx(1, "the broker's time \"%s\" is invalid", text ? text : "");
    return (double)timegm(&tm) + (*rest == '.' ? strtod(rest, NULL) : 0);
}

static struct {
    struct progress n;
    double first_s, last_s;
} routed = {.n.what = "are routed"};

static void
look_at_lanes(void)
{
    json_t *o = ask("$JS.API.STREAM.INFO.TASKS", "");
    json_t *state = json_object_get(o, "state");
    int n = member(state, "messages");

    if (n > 0) {
        routed.first_s = seconds(json_object_get(state, "first_ts"));
        routed.last_s = seconds(json_object_get(state, "last_ts"));
    }
    come_to(&routed.n, n);
    json_decref(o);
}

static void
measure_routed(void)
{
    if (opts.count < 2)
        errx(2, "a rate takes two tasks");
    await(&routed.n, look_at_lanes);
    bench_print_rate(opts.count - 1,
                     (int64_t)((routed.last_s - routed.first_s) * 1e9));
}

/* --- the command line ---------------------------------------------------- */

static const char *
read_options(int argc, char **argv)
{
    static char none[] = "", url[128];
    int opt;

    opts.bus =
        (struct bus_conf){url, none, none, none, none, none, none, false, none};
    task_new_id(opts.batch);
    while ((opt = getopt(argc, argv, "u:t:n:c:l:b:p:")) != -1) {
        switch (opt) {
        case 'u':
            (void)snprintf(url, sizeof url, "nats://%s", optarg);
            break;
        case 't':
            opts.bus.token_file = optarg;
            break;
        case 'n':
            opts.count = bench_number(optarg, 1, MAX_COUNT);
            break;
        case 'c':
            add_turn(&opts.commands, optarg);
            break;
        case 'l':
            add_turn(&opts.lanes, optarg);
            break;
        case 'p':
            opts.prompt = optarg;
            break;
        case 'b':
            if (!subject_token_ok(optarg))
                errx(2, "'%s' is not a batch id", optarg);
            (void)str_copy(opts.batch, sizeof opts.batch, optarg);
            break;
        default:
            exit(2);
        }
    }
    if (optind != argc - 1 || *url == '\0')
        errx(2, "-u HOST:PORT and one of run, submit, filled, watch, latency, "
                "routed");
    return argv[optind];
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } modes[] = {
        {"run", measure_run},         {"submit", measure_submit},
        {"filled", wait_filled},      {"watch", print_watch},
        {"latency", measure_latency}, {"routed", measure_routed},
    };
    const char *mode = read_options(argc, argv);
    struct err e = {0};
    size_t i = 0;

    log_open("bench-client");
    while (i < sizeof modes / sizeof *modes && strcmp(modes[i].name, mode) != 0)
        i++;
    if (i == sizeof modes / sizeof *modes)
        errx(2, "unknown mode '%s'", mode);
    if (loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &opts.bus, "cli", CONNECT_MS, &e) < 0)
        errx(1, "%s", e.msg);
    submission.pool = mem_pool_new();
    modes[i].fn();
    mem_pool_free(submission.pool);
    str_free(&submission.bytes);
    multi_msg_free(&submission.bulk);
    bus_unsubscribe(events);
    bus_close(bus);
    loop_close(loop);
    return 0;
}
