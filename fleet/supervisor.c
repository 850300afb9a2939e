/*
 * Reads from top to bottom as a fleet lives: the broker with its streams, the
 * daemons, then the loop with what it does meanwhile, then the stop. The
 * starts may run the loop while they wait, so that a signal ends them early.
 */
#include "fleet/supervisor.h"

#include "fleet/broker_watch.h"
#include "fleet/daemon_env.h"
#include "fleet/daemons.h"
#include "fleet/embedded_broker.h"
#include "fleet/fsync_server.h"
#include "fleet/reaper_env.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/session_vars.h"
#include "lib/base/str.h"
#include "lib/base/version.h"
#include "lib/bus/bus.h"
#include "lib/bus/fleet_id.h"
#include "lib/io/loop.h"
#include "lib/model/subject.h"
#include "lib/os/file.h"
#include "lib/os/os.h"
#include "lib/os/proc.h"
#include "lib/os/secret.h"
#include "lib/submit/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ANSWER_MS = 20000,     /* for a new broker to answer */
    READY_MS = 20000,      /* for the daemons to answer */
    SPOOL_MS = 5000,       /* between two looks at the spool */
    SECRETS_S = 7 * 86400, /* that a file of secrets is kept at most */
    ROTATE_MS = 60000,
    DEATHS_MAX = 3, /* of a daemon at start: it will not come up */
};

struct supervisor {
    const struct fleet_dir *dir;
    const struct supervisor_conf *conf;
    int lock;
    int64_t started_ms;
    struct loop *loop;
    struct proc_set *procs;
    struct embedded_broker broker;
    struct reaper_http http;
    struct daemon_env env;
    struct daemons *daemons;
    struct bus *bus;
    struct fsync_server *fsync; /* NULL: nothing is to be confirmed */
    char ready_subject[SUBJECT_SIZE];
    struct loop_timer *ask_reaper;
    struct bus_sub *heartbeats;
    bool reaper_answers, worker_beats, ready;
    struct loop_signal *usr1;
    bool gateway; /* is started */
    struct broker_watch *watch;
    struct loop_timer *rotate_timer, *spool_timer;
    struct spool_drain *drain;
    bool stopping; /* a signal came, or the start failed */
    bool stop_begun;
};

/* Names of the variables of our environment that no daemon gets, since they
 * belong to the session that started us. */
static json_t *
session_names(void)
{
    json_t *list = json_array();

    for (char **at = environ; *at; at++)
        if (session_vars_has(*at))
            (void)json_array_append_new(list,
                                        json_stringn(*at, strcspn(*at, "=")));
    return list;
}

/* For `shunt status`: rewritten at each change. */
static void
write_status(void *ctx)
{
    struct supervisor *s = ctx;
    char since[32];
    struct err e = {0};
    json_t *v;
    char *text;

    v = json_pack(
        "{s:i, s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:o, s:o, s:o*, "
        "s:s, s:s}",
        "pid", (int)getpid(), "started_at",
        str_time(s->started_ms, since, sizeof since), "version", shunt_version,
        "url", s->broker.url, "fast", s->conf->fast, "durable",
        s->broker.durable, "durability", s->broker.durability, "state",
        s->stopping ? "stopping"
        : s->ready  ? "up"
                    : "starting",
        "processes", daemons_to_json(s->daemons), "session_vars",
        session_names(), "http",
        s->http.address[0] ? json_sprintf("http://%s", s->http.address) : NULL,
        "http_socket", s->http.socket, "http_token_file", s->http.token_file);
    text = v ? json_dumps(v, JSON_INDENT(2)) : NULL;
    if (text && fleet_dir_write(s->dir, "status.json", text, 0600, &e) < 0)
        log_warn("status.write", "error=\"%s\"", LOG_TEXT(e.msg));
    free(text);
    json_decref(v);
}

/* --- the broker ---------------------------------------------------------- */

/* Runs the loop for a moment; -1 if a signal has ended the start. */
static int
wait_moment(struct supervisor *s, struct err *e)
{
    const bool never = false;

    (void)loop_until(s->loop, &never, 50);
    return s->stopping ? err_set(e, ERR_UNAVAILABLE, "interrupted") : 0;
}

static int
start_broker(struct supervisor *s, struct err *e)
{
    struct fleet_dir_path conf;
    const char *argv[] = {s->broker.program, "-c",
                          fleet_dir_path(s->dir, "nats-server.conf", &conf),
                          NULL};
    struct embedded_broker_env env;
    struct daemon_opts opts = {
        .env = env.list, .timer_slack_ns = EMBEDDED_BROKER_TIMER_SLACK_NS};

    embedded_broker_environment(&env);
    return daemons_start(s->daemons, "broker", argv, &opts, e);
}

/* Connects, trying again until the broker listens. */
static int
connect_broker(struct supervisor *s, struct err *e)
{
    struct fleet_dir_path token;
    char none[] = "";
    struct bus_conf bus = {.url = s->broker.url,
                           .creds_file = none,
                           .nkey_file = none,
                           .ca_file = none,
                           .cert_file = none,
                           .key_file = none};
    int64_t until = loop_now_ms() + ANSWER_MS;

    (void)fleet_dir_path(s->dir, "token", &token);
    bus.token_file = token.s;
    while (bus_open(&s->bus, s->loop, &bus, "supervisor", 0, e) < 0) {
        if (e->code == ERR_DENIED || e->code == ERR_INVALID ||
            wait_moment(s, e) < 0)
            return -1;
        if (loop_now_ms() > until ||
            daemons_deaths(s->daemons, "broker") >= DEATHS_MAX)
            return daemons_explain_end(s->daemons, "broker", e);
    }
    return 0;
}

/* JetStream may need a moment longer than the port. */
static int
wait_jetstream(struct supervisor *s, struct err *e)
{
    int64_t until = loop_now_ms() + ANSWER_MS;
    struct str answer = {0};
    struct err interrupted;
    int rc;

    do {
        str_reset(&answer);
        rc = bus_call(s->bus, "$JS.API.INFO", "", 0, 1000, &answer, e);
    } while (rc < 0 && loop_now_ms() <= until &&
             wait_moment(s, &interrupted) == 0);
    str_free(&answer);
    return rc;
}

/*
 * Makes the streams, which may be new, as durable as the broker promises. A
 * stream of a few seconds vanished whole in a power cut: the whole file system
 * is synced.
 */
static void
make_streams_durable(void *ctx)
{
    struct supervisor *s = ctx;
    struct err e = {0};
    int fd;

    if (embedded_broker_write_through(&s->broker, s->dir, &e) < 0) {
        log_warn("broker.durability", "error=\"%s\"", LOG_TEXT(e.msg));
        write_status(s);
    }
    fd = open(FLEET_DIR_PATH_OF(s->dir, "nats"),
              O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    os_sync_all(fd);
    (void)close(fd);
}

/* The broker, connected to, with all streams, and what confirms its writes. */
static int
bring_up_broker(struct supervisor *s, struct err *e)
{
    static const struct jetstream_rules rules = {
        .change = true, .keep = true, .by = "shunt up"};
    struct fleet_dir_path store;

    if (start_broker(s, e) < 0 || connect_broker(s, e) < 0 ||
        wait_jetstream(s, e) < 0)
        return err_wrap(e, "start the broker");
    log_info("broker.up", "url=%s version=%d.%d.%d durable=%s", s->broker.url,
             s->broker.major, s->broker.minor, s->broker.patch,
             s->broker.durable ? "yes" : "no");
    if (jetstream_provision(s->bus, &s->conf->jetstream, &rules, NULL, NULL,
                            e) < 0)
        return err_wrap(e, "provision");
    make_streams_durable(s);
    if (s->broker.confirm &&
        fsync_server_open(&s->fsync, s->bus, s->loop,
                          fleet_dir_path(s->dir, "nats", &store), e) < 0)
        return err_wrap(e, "start the fsync server");
    return 0;
}

/* --- the daemons --------------------------------------------------------- */

/* Starts "shunt-<name>" from the folder this program is in; changes of its
 * environment as in struct daemon_opts. */
static int
start_daemon(struct supervisor *s, const char *name, const char *const *changes,
             struct err *e)
{
    char file[FLEET_DIR_PATH], dir[FLEET_DIR_PATH - 64];
    const char *argv[] = {file, NULL};

    if (os_program_dir(dir, sizeof dir) < 0)
        return err_set(e, ERR_UNAVAILABLE, "the folder of this program: %s",
                       strerror(errno));
    (void)snprintf(file, sizeof file, "%s/shunt-%s", dir, name);
    return daemons_start(s->daemons, name, argv,
                         &(struct daemon_opts){.env = changes}, e);
}

/*
 * The worker of the AI platform. It alone is given the key. Its lanes, its
 * state folder and its number of slots are its own: those of the local worker
 * would be wrong.
 */
static int
start_secutools_worker(struct supervisor *s, struct err *e)
{
    struct fleet_dir_path path;
    struct str dir = {0};
    const char *changes[] = {NULL, NULL, "SHUNT_WORKER_SLOTS",
                             "SHUNT_WORKER_LANES=auto,gpu,gemini,claude-api",
                             NULL};
    size_t size = strlen(s->conf->secutools_key) + 32;
    char *key = mem_alloc(size);
    int rc;

    (void)snprintf(key, size, "SECUTOOLS_API_KEY=%s", s->conf->secutools_key);
    str_addf(&dir, "SHUNT_WORKER_STATE_DIR=%s",
             fleet_dir_path(s->dir, "worker-secutools", &path));
    changes[0] = key;
    changes[1] = str_text(&dir);
    rc = start_daemon(s, "worker-secutools", changes, e);
    secret_free(key);
    str_free(&dir);
    return rc;
}

static void
on_reaper(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct supervisor *s = ctx;

    (void)note;
    if (!e)
        s->reaper_answers = true;
    else if (!s->ready)
        loop_timer_again(s->ask_reaper, 20, 0);
}

static void
ask_reaper(void *ctx)
{
    struct supervisor *s = ctx;

    bus_request(s->bus, s->ready_subject, "{}", 2, 1000, on_reaper, s);
}

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct supervisor *s = ctx;

    (void)note;
    s->worker_beats = true;
}

/* The gateway of folders, if there is one to watch. */
static int
start_gateway(struct supervisor *s, struct err *e)
{
    if (s->gateway || (!s->conf->folders &&
                       access(FLEET_DIR_PATH_OF(s->dir, "folders"), F_OK) < 0))
        return 0;
    s->gateway = true;
    return start_daemon(s, "gateway-folder", NULL, e);
}

static void
on_usr1(void *ctx)
{
    struct supervisor *s = ctx;
    struct err e;

    log_info("fleet.folders", "text=\"folders were added\"");
    if (s->gateway)
        daemons_signal(s->daemons, "gateway-folder", SIGUSR1);
    else if (s->ready && start_gateway(s, &e) < 0)
        log_error("fleet.folders", "error=\"%s\"", LOG_TEXT(e.msg));
}

/* Waits until *ready, or until one of the daemons keeps dying. A daemon that
 * only takes long is logged, and is no failure. */
static int
wait_ready(struct supervisor *s, const bool *ready, const char *what,
           struct err *e)
{
    static const char *const names[] = {"reaper", "router", "worker-local"};
    int64_t until = loop_now_ms() + READY_MS;

    while (!loop_until(s->loop, ready, 100)) {
        if (s->stopping)
            return err_set(e, ERR_UNAVAILABLE, "interrupted");
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (daemons_deaths(s->daemons, names[i]) >= DEATHS_MAX)
                return daemons_explain_end(s->daemons, names[i], e);
        if (loop_now_ms() > until) {
            log_warn("fleet.slow", "silent=%s", what);
            break;
        }
    }
    return 0;
}

/*
 * The fleet's id is kept beside its broker's files: a broker that lost its
 * store must not make the files that were claimed before somebody else's.
 */
static int
choose_id(struct supervisor *s, struct err *e)
{
    struct fleet_dir_path path;
    struct str text = {0};
    char id[FLEET_ID_SIZE];
    size_t len;
    int rc = 0;

    (void)file_read(fleet_dir_path(s->dir, "fleet", &path), 256, &text);
    len = strspn(str_text(&text), "0123456789abcdef");
    if (len + 1 == sizeof id) {
        (void)snprintf(id, sizeof id, "%.*s", (int)len, str_text(&text));
    } else {
        rc = fleet_id_read(s->bus, id, e);
        if (rc == 0)
            rc = fleet_dir_write(s->dir, "fleet", id, 0600, e);
    }
    str_free(&text);
    if (rc == 0)
        daemon_env_set(&s->env, "SHUNT_FOLDER_FLEET", id);
    return rc;
}

/* The reaper first: it hears the others from their first message on. */
static int
start_daemons(struct supervisor *s, struct err *e)
{
    if (start_daemon(s, "reaper", NULL, e) < 0)
        return -1;
    (void)subject_ask(s->ready_subject, "status");
    s->ask_reaper = loop_timer_start(s->loop, 0, 0, ask_reaper, s);
    if (wait_ready(s, &s->reaper_answers, "reaper", e) < 0 ||
        bus_subscribe(s->bus, SUBJECT_HEARTBEATS, on_heartbeat, s,
                      &s->heartbeats, e) < 0 ||
        start_daemon(s, "router", NULL, e) < 0 ||
        start_daemon(s, "worker-local", NULL, e) < 0 ||
        wait_ready(s, &s->worker_beats, "worker-local", e) < 0 ||
        (s->conf->secutools_key && start_secutools_worker(s, e) < 0) ||
        start_gateway(s, e) < 0)
        return -1;
    bus_unsubscribe(s->heartbeats);
    s->heartbeats = NULL;
    s->ready = true;
    return 0;
}

/* --- the start ----------------------------------------------------------- */

static int
start(struct supervisor *s, struct err *e)
{
    /* A fleet that a task has started is not expendable as the task is. */
    if (getenv("SHUNT_RUN"))
        os_set_oom_score(os_oom_score() - PROC_OOM_RAISE);
    os_hide_memory(); /* after that: it is ours to write no more */
    if (proc_set_open(&s->procs, s->loop, false, e) < 0 ||
        embedded_broker_find(&s->broker, s->loop, s->procs, e) < 0 ||
        embedded_broker_prepare(&s->broker, s->dir, s->conf->port,
                                s->conf->fast, s->loop, e) < 0)
        return -1;
    daemon_env_init(&s->env, s->dir,
                    &(struct daemon_env_facts){.url = s->broker.url,
                                               .confirm = s->broker.confirm,
                                               .fast = s->conf->fast,
                                               .slots = s->conf->slots,
                                               .project = s->conf->project});
    s->daemons =
        daemons_new(s->dir, &s->env, s->loop, s->procs, write_status, s);
    if (reaper_env_set(&s->env, s->dir, s->loop, &s->http, e) < 0 ||
        bring_up_broker(s, e) < 0 || choose_id(s, e) < 0)
        return -1;
    return start_daemons(s, e);
}

/* --- while it runs ------------------------------------------------------- */

static void
on_drained(void *ctx, const struct spool_report *r)
{
    struct supervisor *s = ctx;

    if (r->tasks || r->corrupt)
        log_info("spool.drained", "tasks=%zu files=%zu corrupt=%zu left=%zu",
                 r->tasks, r->files, r->corrupt, r->left);
    /* s->drain is still on the stack: the next look frees it. */
    loop_timer_again(s->spool_timer, SPOOL_MS, 0);
}

/* Sends what waits in the spool. */
static void
drain_spool(void *ctx)
{
    struct supervisor *s = ctx;
    struct spool_backlog backlog;
    struct fleet_dir_path dir;

    spool_drain_free(s->drain);
    s->drain = NULL;
    spool_look(fleet_dir_path(s->dir, "spool", &dir), &backlog);
    if (backlog.files && bus_is_up(s->bus) && !s->stopping)
        s->drain = spool_drain_start(dir.s, s->bus, s->loop, on_drained, s);
    else
        loop_timer_again(s->spool_timer, SPOOL_MS, 0);
}

/* Removes secrets of tasks that nobody will repeat any more. */
static void
sweep_secrets(const struct supervisor *s)
{
    struct fleet_dir_path dir, path;
    time_t before = time(NULL) - SECRETS_S;
    struct dirent *entry;
    struct stat st;
    DIR *d = opendir(fleet_dir_path(s->dir, "secrets", &dir));

    while (d && (entry = readdir(d))) {
        (void)snprintf(path.s, sizeof path.s, "%.200s/%.200s", dir.s,
                       entry->d_name);
        if (lstat(path.s, &st) == 0 && S_ISREG(st.st_mode) &&
            st.st_mtime < before)
            (void)unlink(path.s);
    }
    if (d)
        (void)closedir(d);
}

static void
rotate_logs(void *ctx)
{
    struct supervisor *s = ctx;

    daemons_rotate_logs(s->daemons);
    sweep_secrets(s);
}

static void
run(struct supervisor *s)
{
    write_status(s);
    log_info("fleet.up", "url=%s", s->broker.url);
    if (s->conf->ready)
        s->conf->ready(s->conf->ctx, s->broker.url, s->broker.durability);
    s->watch = broker_watch_start(s->bus, s->loop, s->procs, s->daemons,
                                  &s->env, make_streams_durable, s);
    s->rotate_timer =
        loop_timer_start(s->loop, ROTATE_MS, ROTATE_MS, rotate_logs, s);
    s->spool_timer = loop_timer_start(s->loop, 0, 0, drain_spool, s);
    (void)loop_run(s->loop);
}

/* --- the stop ------------------------------------------------------------ */

static void
on_all_stopped(void *ctx)
{
    struct supervisor *s = ctx;

    loop_stop(s->loop, 0);
}

static void
begin_stop(struct supervisor *s)
{
    s->stopping = true;
    if (!s->daemons || s->stop_begun)
        return;
    s->stop_begun = true;
    broker_watch_stop(s->watch);
    s->watch = NULL;
    daemons_stop(s->daemons, on_all_stopped, s);
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
    } else if (s->daemons) {
        log_warn("fleet.killing", "signals=%d", nth);
        daemons_kill_all(s->daemons);
    }
}

static void
stop(struct supervisor *s)
{
    begin_stop(s);
    while (daemons_alive(s->daemons))
        (void)loop_run(s->loop);
}

/* --- all of it ----------------------------------------------------------- */

int
supervisor_run(const struct fleet_dir *dir, const struct supervisor_conf *conf,
               struct err *e)
{
    struct supervisor s = {.dir = dir, .conf = conf, .lock = -1};
    pid_t holder = 0;
    int rc = -1;

    log_level_set(LOG_INFO); /* a command logs less */
    log_open("supervisor");
    s.started_ms = str_wall_ms();
    (void)signal(SIGUSR1, SIG_IGN); /* until the list is read */
    if (fleet_dir_make(dir, e) < 0 ||
        fleet_dir_lock(dir, &s.lock, &holder, e) < 0 ||
        loop_open(&s.loop, e) < 0)
        goto out;
    loop_on_term(s.loop, on_term, &s);
    s.usr1 = loop_signal_start(s.loop, SIGUSR1, on_usr1, &s);
    if (start(&s, e) == 0) {
        run(&s);
        rc = 0;
    } else if (s.stopping) {
        rc = 0; /* asked to stop before it was up */
    }
    if (s.daemons)
        stop(&s);
out:
    broker_watch_stop(s.watch);
    loop_timer_stop(s.rotate_timer);
    loop_timer_stop(s.ask_reaper);
    loop_signal_stop(s.usr1);
    spool_drain_free(s.drain);
    loop_timer_stop(s.spool_timer);
    bus_unsubscribe(s.heartbeats);
    fsync_server_close(s.fsync);
    bus_close(s.bus);
    daemons_free(s.daemons);
    daemon_env_release(&s.env);
    proc_set_close(s.procs);
    loop_close(s.loop);
    if (s.lock >= 0) {
        (void)unlink(FLEET_DIR_PATH_OF(dir, "status.json"));
        (void)close(s.lock);
    }
    return rc;
}
