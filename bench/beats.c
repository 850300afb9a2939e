/*
 * beats - sends the heartbeats of many idle workers.
 *
 * usage: beats -u HOST:PORT -t TOKEN_FILE [-n WORKERS] [-d SECONDS]
 *
 * Every worker sends the heartbeat of an idle worker each 10 s, spread evenly
 * over the interval. In the first second all send one, so that router and
 * ledger know them. Ends after SECONDS (default 10).
 *
 * Exit     0, 1 something did not work, 2 usage
 */
#include "bench/bench.h"
#include "lib/base/log.h"
#include "lib/base/version.h"
#include "lib/bus/bus.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CONNECT_MS = 10000,
    BEAT_MS = 10000, /* of one worker */
    TURN_MS = 10,
    FIRST_MS = 1000, /* all of them once */
    MAX_WORKERS = 4000,
    MAX_SECONDS = 600,
};

static struct {
    struct bus *bus;
    struct str bytes;
    int workers;
    int64_t began_ms, said;
} beats = {.workers = 1000};

static void
beat(int worker)
{
    const char *lanes[] = {"default"};
    double load[] = {0.1, 0.1, 0.1};
    char name[TASK_ID_SIZE], subject[SUBJECT_SIZE];
    struct heartbeat h;

    codec_init(CODEC_HEARTBEAT, &h);
    (void)snprintf(name, sizeof name, "bench-%04d", worker);
    h.worker = name;
    h.backend = "local";
    h.lanes = lanes;
    h.n_lanes = 1;
    h.slots = 8;
    h.memory_free_bytes = 1ULL << 33;
    h.sent_at_ms = str_wall_ms();
    h.started_at_ms = h.sent_at_ms;
    h.version = shunt_version;
    h.host = name;
    h.pid = 1;
    h.load = load;
    h.n_load = 3;
    str_reset(&beats.bytes);
    codec_encode(CODEC_HEARTBEAT, &h, &beats.bytes);
    bus_publish_core(beats.bus, subject_heartbeat(subject, h.backend, name),
                     beats.bytes.data, beats.bytes.len);
}

/* Says what is due by now. */
static void
on_turn(void *ctx)
{
    int64_t since = loop_now_ms() - beats.began_ms, due;

    (void)ctx;
    if (since < FIRST_MS)
        due = beats.workers * since / FIRST_MS;
    else
        due = beats.workers +
              beats.workers * (since - FIRST_MS) / (int64_t)BEAT_MS;
    for (; beats.said < due; beats.said++)
        beat((int)(beats.said % beats.workers));
}

int
main(int argc, char **argv)
{
    static char none[] = "", url[128];
    struct bus_conf conf = {url,  none, none,  none, none,
                            none, none, false, none};
    const bool never = false;
    struct loop_timer *timer;
    struct loop *loop = NULL;
    struct err e = {0};
    int opt, seconds = 10;

    while ((opt = getopt(argc, argv, "u:t:n:d:")) != -1) {
        switch (opt) {
        case 'u':
            (void)snprintf(url, sizeof url, "nats://%s", optarg);
            break;
        case 't':
            conf.token_file = optarg;
            break;
        case 'n':
            beats.workers = bench_number(optarg, 1, MAX_WORKERS);
            break;
        case 'd':
            seconds = bench_number(optarg, 1, MAX_SECONDS);
            break;
        default:
            return 2;
        }
    }
    if (optind != argc || *url == '\0')
        errx(2, "-u HOST:PORT");
    log_open("bench-beats");
    if (loop_open(&loop, &e) < 0 ||
        bus_open(&beats.bus, loop, &conf, "worker-local", CONNECT_MS, &e) < 0)
        errx(1, "%s", e.msg);
    beats.began_ms = loop_now_ms();
    timer = loop_timer_start(loop, 0, TURN_MS, on_turn, NULL);
    (void)loop_until(loop, &never, (int64_t)seconds * 1000);
    loop_timer_stop(timer);
    bus_close(beats.bus);
    loop_close(loop);
    str_free(&beats.bytes);
    return 0;
}
