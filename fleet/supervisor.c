#include "fleet/supervisor.h"

#include "fleet/daemons.h"
#include "fleet/embedded_broker.h"
#include "fleet/fsync_server.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "lib/model/subject.h"
#include "lib/os/secret.h"
#include "lib/submit/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ANSWER_MS = 20000, /* for a fresh broker to answer */
    READY_MS = 20000,  /* for the daemons to be there */
    PROBE_MS = 5000,
    PROBE_ANSWER_MS = 4000,
    MISSES = 3, /* probes without an answer: the broker hangs */
    DRAIN_MS = 5000,
    ROTATE_MS = 60000,
    EARLY_DEATHS = 3, /* of a daemon at start: it will not come up */
    KILL_MS = 5000,
};

struct supervisor {
    const struct fleet_dir *home;
    const struct supervisor_conf *conf;
    struct loop *loop;
    struct proc_set *procs;
    struct daemons *children;
    struct bus *bus;
    struct embedded_broker broker;
    char http[128]; /* address of the ledger's pages; "": there are none */
    struct fsync_server *keeper; /* NULL: nothing is to be confirmed */
    struct loop_timer *probe, *drain_timer, *rotate, *ask;
    struct proc *provision; /* NULL: not running */
    int provisioned;        /* deaths of the broker it has seen */
    int provisioning;       /* those it will have seen */
    struct bus_sub *heartbeats;
    struct spool_drain *drain;
    char ready_subject[SUBJECT_SIZE];
    int64_t started_ms;
    int lock;
    int misses;
    bool ledger_answers, worker_beats, ready;
    bool stopping; /* asked to, or never came up */
    bool stop_begun;
};

/* --- status.json --------------------------------------------------------- */

static void
write_status(void *ctx)
{
    struct supervisor *s = ctx;
    char since[32];
    struct err e = {0};
    json_t *v;
    char *text;

    v = json_pack(
        "{s:i, s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:o}", "pid", (int)getpid(),
        "started_at", str_time(s->started_ms, since, sizeof since), "version",
        SHUNT_VERSION, "url", s->broker.url, "fast", s->conf->fast, "durable",
        s->broker.durable, "durability", s->broker.durability, "state",
        s->stopping ? "stopping"
        : s->ready  ? "up"
                    : "starting",
        "processes", daemons_to_json(s->children));
    if (v && s->http[0])
        (void)json_object_set_new(v, "http",
                                  json_sprintf("http://%s", s->http));
    text = v ? json_dumps(v, JSON_INDENT(2)) : NULL;
    if (text && fleet_dir_write(s->home, "status.json", text, 0600, &e) < 0)
        log_warn("status.write", "error=\"%s\"", LOG_TEXT(e.msg));
    free(text);
    json_decref(v);
}

/* --- the store ---------------------------------------------------------- */

/* A stream of a few seconds vanished whole in a power cut; after this it does
 * not. */
static void
sync_store(struct supervisor *s)
{
    struct fleet_dir_path path;
    int fd = open(fleet_dir_path(s->home, "nats", &path),
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)syncfs(fd);
    (void)close(fd);
}

/* The streams are there, perhaps made anew. */
static void
secure_store(struct supervisor *s)
{
    struct err e = {0};

    if (embedded_broker_write_through(&s->broker, s->home, &e) < 0) {
        log_warn("broker.durability", "error=\"%s\"", LOG_TEXT(e.msg));
        write_status(s);
    }
    sync_store(s);
}

/* --- while it runs ------------------------------------------------------- */

static void
on_provisioned(void *ctx, const struct proc_end *end)
{
    struct supervisor *s = ctx;

    s->provision = NULL;
    if (!end->signalled && end->code == 0) {
        s->provisioned = s->provisioning;
        secure_store(s);
    } else if (!s->stopping) {
        log_warn("broker.provision", "end=\"%s %d\" text=\"tried again\"",
                 end->signalled ? "signal" : "status", end->code);
    }
}

/*
 * A broker that was restarted may have come back with an emptied store, in
 * which nobody could go on: sees to it that all streams are there. Done by a
 * process of its own, since asking the broker blocks.
 */
static void
provision_again(struct supervisor *s)
{
    static const char self[] = "/proc/self/exe";
    int deaths = daemons_deaths(s->children, "broker");
    const char *argv[] = {"shunt", "provision", "--quiet", NULL};
    struct proc_opts o = {.file = self,
                          .argv = argv,
                          .env = daemons_env(s->children),
                          .in = -1,
                          .out = -1,
                          .err = STDERR_FILENO};
    struct err e = {0};

    if (s->stopping || s->provision || deaths == s->provisioned)
        return;
    s->provisioning = deaths;
    if (proc_start(s->procs, &o, on_provisioned, s, &s->provision, &e) < 0)
        log_warn("broker.provision", "error=\"%s\"", LOG_TEXT(e.msg));
}

static void
on_probe(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct supervisor *s = ctx;

    (void)note;
    if (!e) {
        s->misses = 0;
        provision_again(s);
        return;
    }
    /* While the broker is down or starting there is nothing to kill. */
    if (!daemons_age_ms(s->children, "broker") ||
        daemons_age_ms(s->children, "broker") < PROBE_MS)
        s->misses = 0;
    else if (++s->misses >= MISSES) {
        s->misses = 0;
        log_warn("broker.hangs", "answer=none probes=%d action=restart",
                 MISSES);
        daemons_kill(s->children, "broker");
    }
}

static void
probe(void *ctx)
{
    struct supervisor *s = ctx;

    if (!s->stopping)
        bus_request(s->bus, "$JS.API.INFO", "", 0, PROBE_ANSWER_MS, on_probe,
                    s);
}

static void
on_bus(void *ctx, enum bus_event event, const char *text)
{
    (void)text;
    if (event == BUS_UP)
        probe(ctx);
}

static void
on_drained(void *ctx, const struct spool_report *r)
{
    struct supervisor *s = ctx;

    if (r->tasks || r->corrupt)
        log_info("spool.drained", "tasks=%zu files=%zu corrupt=%zu left=%zu",
                 r->tasks, r->files, r->corrupt, r->left);
    /* Freed at the next turn: it is still on the stack. */
    loop_timer_again(s->drain_timer, DRAIN_MS, 0);
}

static void
drain(void *ctx)
{
    struct supervisor *s = ctx;
    struct spool_backlog backlog;
    struct fleet_dir_path dir;

    spool_drain_free(s->drain);
    s->drain = NULL;
    spool_look(fleet_dir_path(s->home, "spool", &dir), &backlog);
    if (backlog.files && bus_is_up(s->bus) && !s->stopping)
        s->drain = spool_drain_start(dir.s, s->bus, s->loop, on_drained, s);
    else
        loop_timer_again(s->drain_timer, DRAIN_MS, 0);
}

static void
rotate(void *ctx)
{
    struct supervisor *s = ctx;

    daemons_rotate(s->children);
}

/* --- stopping ------------------------------------------------------------ */

static void
on_all_ended(void *ctx)
{
    struct supervisor *s = ctx;

    loop_stop(s->loop, 0);
}

static void
begin_stop(struct supervisor *s)
{
    s->stopping = true;
    if (!s->children || s->stop_begun)
        return;
    s->stop_begun = true;
    daemons_stop(s->children, on_all_ended, s);
    write_status(s);
}

static void
on_term(void *ctx, int nth)
{
    struct supervisor *s = ctx;

    if (nth == 1) {
        log_info("fleet.stopping", "again=kill");
        begin_stop(s);
        loop_stop(s->loop, 0); /* ends a wait at start, and loop_run */
    } else if (s->children) {
        log_warn("fleet.killing", "signals=%d", nth);
        daemons_kill_all(s->children);
    }
}

/* Waits for the end of what daemons_stop began. */
static void
finish(struct supervisor *s)
{
    begin_stop(s);
    while (daemons_alive(s->children))
        (void)loop_run(s->loop);
}

/* --- starting ------------------------------------------------------------ */

static int
start_broker(struct supervisor *s, struct err *e)
{
    struct fleet_dir_path conf, token;
    const char *argv[] = {s->broker.program, "-c",
                          fleet_dir_path(s->home, "nats-server.conf", &conf),
                          NULL};
    char none[] = "";
    struct embedded_broker_env env;
    struct bus_conf bus = {.url = s->broker.url,
                           .creds_file = none,
                           .nkey_file = none,
                           .ca_file = none,
                           .cert_file = none,
                           .key_file = none};
    int64_t until = loop_now_ms() + ANSWER_MS;
    const bool never = false;

    embedded_broker_environment(&env);
    if (daemons_start(s->children, "broker", s->broker.program, argv,
                      &(struct child_opts){.env = env.list,
                                           .timer_slack_ns =
                                               EMBEDDED_BROKER_TIMER_SLACK_NS},
                      e) < 0)
        return -1;
    (void)fleet_dir_path(s->home, "token", &token);
    bus.token_file = token.s;
    while (bus_open(&s->bus, s->loop, &bus, "supervisor", 0, e) < 0) {
        if (e->code == ERR_DENIED || e->code == ERR_INVALID)
            return -1;
        (void)loop_until(s->loop, &never, 50);
        if (s->stopping)
            return err_set(e, ERR_UNAVAILABLE, "interrupted");
        if (loop_now_ms() > until ||
            daemons_deaths(s->children, "broker") >= EARLY_DEATHS) {
            (void)daemons_last_words(s->children, "broker", e);
            return -1;
        }
    }
    return 0;
}

/* JetStream may need a moment longer than the port. */
static int
wait_jetstream(struct supervisor *s, struct err *e)
{
    int64_t until = loop_now_ms() + ANSWER_MS;
    struct str answer = {0};
    const bool never = false;
    int rc;

    for (;;) {
        str_reset(&answer);
        rc = bus_call(s->bus, "$JS.API.INFO", "", 0, 1000, &answer, e);
        if (rc == 0 || loop_now_ms() > until || s->stopping)
            break;
        (void)loop_until(s->loop, &never, 50);
    }
    str_free(&answer);
    return rc;
}

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct supervisor *s = ctx;

    (void)note;
    s->worker_beats = true;
}

static void
on_ledger(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct supervisor *s = ctx;

    (void)note;
    if (!e)
        s->ledger_answers = true;
    else if (!s->ready)
        loop_timer_again(s->ask, 20, 0);
}

static void
ask_ledger(void *ctx)
{
    struct supervisor *s = ctx;

    bus_request(s->bus, s->ready_subject, "{}", 2, 1000, on_ledger, s);
}

/* "shunt-<name>" from the folder this program is in. */
static int
start_daemon(struct supervisor *s, const char *name, const char *const *extra,
             struct err *e)
{
    char file[FLEET_DIR_PATH], self[FLEET_DIR_PATH - 64], *slash;
    const char *argv[] = {file, NULL};
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0)
        return err_set(e, ERR_UNAVAILABLE, "/proc/self/exe: %s",
                       strerror(errno));
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    (void)snprintf(file, sizeof file, "%s/shunt-%s", self, name);
    return daemons_start(s->children, name, file, argv,
                         &(struct child_opts){.env = extra}, e);
}

/*
 * The worker of the AI platform. It alone is given the key. Its lanes, its
 * folder and how much it takes at once are its own: the local worker's would
 * be wrong.
 */
static int
start_delegation(struct supervisor *s, struct err *e)
{
    struct fleet_dir_path path;
    struct str dir = {0};
    const char *extra[] = {NULL, NULL, "SHUNT_WORKER_SLOTS",
                           "SHUNT_WORKER_LANES=auto,gpu,gemini,claude-api",
                           NULL};
    size_t size = strlen(s->conf->secutools_key) + 32;
    char *entry = mem_alloc(size);
    int rc;

    (void)snprintf(entry, size, "SECUTOOLS_API_KEY=%s", s->conf->secutools_key);
    str_addf(&dir, "SHUNT_WORKER_STATE_DIR=%s",
             fleet_dir_path(s->home, "worker-secutools", &path));
    extra[0] = entry;
    extra[1] = str_text(&dir);
    rc = start_daemon(s, "worker-secutools", extra, e);
    secret_free(entry);
    str_free(&dir);
    return rc;
}

/* Until *ready, or one of the daemons keeps dying. What only takes long is
 * said, and no failure. */
static int
wait_ready(struct supervisor *s, const bool *ready, const char *what,
           struct err *e)
{
    static const char *const names[] = {"reaper", "router", "worker-local"};
    int64_t until = loop_now_ms() + READY_MS;
    size_t i;

    while (!loop_until(s->loop, ready, 100)) {
        if (s->stopping)
            return err_set(e, ERR_UNAVAILABLE, "interrupted");
        for (i = 0; i < sizeof names / sizeof names[0]; i++)
            if (daemons_deaths(s->children, names[i]) >= EARLY_DEATHS)
                return daemons_last_words(s->children, names[i], e);
        if (loop_now_ms() > until) {
            log_warn("fleet.slow", "silent=%s", what);
            break;
        }
    }
    return 0;
}

/* The ledger first: what the others say from their first word on is heard. */
static int
start_daemons(struct supervisor *s, struct err *e)
{
    if (start_daemon(s, "reaper", NULL, e) < 0)
        return -1;
    (void)subject_ask(s->ready_subject, "status");
    s->ask = loop_timer_start(s->loop, 0, 0, ask_ledger, s);
    if (wait_ready(s, &s->ledger_answers, "reaper", e) < 0 ||
        bus_subscribe(s->bus, SUBJECT_HEARTBEATS, on_heartbeat, s,
                      &s->heartbeats, e) < 0 ||
        start_daemon(s, "router", NULL, e) < 0 ||
        start_daemon(s, "worker-local", NULL, e) < 0 ||
        wait_ready(s, &s->worker_beats, "worker-local", e) < 0 ||
        (s->conf->secutools_key && start_delegation(s, e) < 0) ||
        (s->conf->folders && start_daemon(s, "gateway-folder", NULL, e) < 0))
        return -1;
    bus_unsubscribe(s->heartbeats);
    s->heartbeats = NULL;
    s->ready = true;
    return 0;
}

/* The ledger answers HTTP on loopback, unless another address is configured,
 * or none. */
static int
choose_http(struct supervisor *s, struct err *e)
{
    if (strcmp(s->conf->http, "off") == 0)
        return 0;
    if (*s->conf->http) {
        (void)str_copy(s->http, sizeof s->http, s->conf->http);
        return 0;
    }
    if (embedded_broker_http(s->home, s->http, sizeof s->http, s->loop, e) < 0)
        return -1;
    daemons_set(s->children, "SHUNT_REAPER_HTTP", s->http);
    return 0;
}

static int
start(struct supervisor *s, struct err *e)
{
    struct fleet_dir_path store;

    if (proc_set_open(&s->procs, s->loop, false, e) < 0 ||
        embedded_broker_find(&s->broker, s->loop, s->procs, e) < 0 ||
        embedded_broker_prepare(&s->broker, s->home, s->conf->port,
                                s->conf->fast, s->loop, e) < 0)
        return -1;
    s->children = daemons_new(s->home, s->loop, s->procs, write_status, s);
    daemons_environment(s->children,
                        &(struct daemons_facts){.url = s->broker.url,
                                                .confirm = s->broker.confirm,
                                                .fast = s->conf->fast,
                                                .slots = s->conf->slots,
                                                .project = s->conf->project});
    if (choose_http(s, e) < 0)
        return -1;
    if (start_broker(s, e) < 0 || wait_jetstream(s, e) < 0)
        return err_wrap(e, "start the broker");
    log_info("broker.up", "url=%s version=%d.%d.%d durable=%s", s->broker.url,
             s->broker.major, s->broker.minor, s->broker.patch,
             s->broker.durable ? "yes" : "no");
    if (jetstream_provision(s->bus, &s->conf->topology, NULL, NULL, e) < 0)
        return err_wrap(e, "provision");
    secure_store(s);
    if (s->broker.confirm &&
        fsync_server_open(&s->keeper, s->bus, s->loop,
                          fleet_dir_path(s->home, "nats", &store), e) < 0)
        return err_wrap(e, "keep the store");
    return start_daemons(s, e);
}

static void
run(struct supervisor *s)
{
    write_status(s);
    log_info("fleet.up", "url=%s", s->broker.url);
    if (s->conf->ready)
        s->conf->ready(s->conf->ctx, s->broker.url, s->broker.durability);
    s->provisioned = daemons_deaths(s->children, "broker");
    bus_on_event(s->bus, on_bus, s);
    s->probe = loop_timer_start(s->loop, PROBE_MS, PROBE_MS, probe, s);
    s->rotate = loop_timer_start(s->loop, ROTATE_MS, ROTATE_MS, rotate, s);
    s->drain_timer = loop_timer_start(s->loop, 0, 0, drain, s);
    (void)loop_run(s->loop);
}

int
supervisor_run(const struct fleet_dir *h, const struct supervisor_conf *conf,
               struct err *e)
{
    struct supervisor s = {.home = h, .conf = conf, .lock = -1};
    pid_t holder = 0;
    int rc = -1;

    log_level_set(LOG_INFO); /* a command says less */
    log_open("supervisor");
    s.started_ms = str_wall_ms();
    if (fleet_dir_make(h, e) < 0 ||
        fleet_dir_lock(h, &s.lock, &holder, e) < 0 || loop_open(&s.loop, e) < 0)
        goto out;
    loop_on_term(s.loop, on_term, &s);
    if (start(&s, e) == 0) {
        run(&s);
        rc = 0;
    } else if (s.stopping) {
        rc = 0; /* asked to stop before it was up */
    }
    if (s.children)
        finish(&s);
out:
    loop_timer_stop(s.probe);
    loop_timer_stop(s.rotate);
    loop_timer_stop(s.ask);
    spool_drain_free(s.drain);
    loop_timer_stop(s.drain_timer);
    bus_unsubscribe(s.heartbeats);
    if (s.provision)
        proc_forget(s.provision);
    fsync_server_close(s.keeper);
    bus_close(s.bus);
    daemons_free(s.children);
    proc_set_close(s.procs);
    loop_close(s.loop);
    if (s.lock >= 0) {
        (void)unlink(FLEET_DIR_PATH_OF(h, "status.json"));
        (void)close(s.lock);
    }
    return rc;
}
