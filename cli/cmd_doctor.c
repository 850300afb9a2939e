/*
 * The command doctor: checks programs, state folder, disk, spool, broker,
 * streams and reaper in turn, and prints a verdict and a remedy for each.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "fleet/embedded_broker.h"
#include "lib/base/version.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/os/os.h"
#include "lib/submit/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    CONNECT_MS = 1500,
    LAG_WARN = 10000, /* messages the reaper is behind */
    DISK_WARN_MB = 2048,
    DISK_FAIL_MB = 256,
    FULL_PERCENT = 70, /* of a stream */
};

enum doctor_verdict { OK, WARN, FAIL };

struct doctor {
    size_t n_spooled; /* files in the spool */
    struct cli *c;
    json_t *list;
    int failed;
};

static const char *const verdicts[] = {"ok", "warn", "fail"};

static void report(struct doctor *d, enum doctor_verdict v, const char *check,
                   const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Prints one line: verdict, check, finding; and the remedy on the next. */
static void
report(struct doctor *d, enum doctor_verdict v, const char *check,
       const char *remedy, const char *fmt, ...)
{
    static const char *const colours[] = {"32", "33", "31"};
    bool colour = out_colour(STDOUT_FILENO);
    unsigned columns = out_columns(STDOUT_FILENO);
    struct str seen = {0}, line = {0}, lines = {0};
    char text[768], verdict[32];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    str_add_printable(&seen, text, strlen(text));
    d->failed += v == FAIL;
    (void)json_array_append_new(
        d->list, json_pack("{s:s, s:s, s:s, s:s*}", "check", check, "verdict",
                           verdicts[v], "seen", str_text(&seen), "remedy",
                           v == OK ? NULL : remedy));
    if (!d->c->json) {
        (void)out_coloured(verdicts[v], colours[v], colour, verdict,
                           sizeof verdict);
        str_addf(&line, "%-4s  %-11s  %s", verdicts[v], check, str_text(&seen));
        out_wrap(str_text(&line), columns ? columns : SIZE_MAX, &lines);
        (void)printf("%s%s", verdict, str_text(&lines) + strlen(verdicts[v]));
        if (v != OK && remedy)
            out_line("      %-11s  try: %s", "", remedy);
    }
    str_free(&lines);
    str_free(&line);
    str_free(&seen);
}

static void
check_programs(struct doctor *d)
{
    static const char *const names[] = {"shunt-router", "shunt-worker-local",
                                        "shunt-worker-secutools",
                                        "shunt-reaper", "shunt-gateway-folder"};
    char self[FLEET_DIR_PATH - 64], path[FLEET_DIR_PATH];
    size_t i, missing = 0;

    if (os_program_dir(self, sizeof self) < 0)
        self[0] = '\0';
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", self, names[i]);
        if (access(path, X_OK) == 0)
            continue;
        missing++;
        report(d, FAIL, "programs", "make install", "%s: %s", path,
               strerror(errno));
    }
    if (!missing)
        report(d, OK, "programs", NULL, "all in %s, version %s", self,
               shunt_version);
}

static void
check_broker_program(struct doctor *d)
{
    struct embedded_broker b = {0};
    struct proc_set *procs = NULL;
    struct err e = {0};

    if (cli_loop(d->c, &e) < 0 ||
        proc_set_open(&procs, d->c->loop, false, &e) < 0 ||
        embedded_broker_find(&b, d->c->loop, procs, &e) < 0) {
        report(d, d->c->nats ? WARN : FAIL, "nats-server",
               "apt install nats-server, or set SHUNT_NATS_SERVER", "%s",
               e.msg);
    } else {
        report(d, b.major == 2 && b.minor < 10 ? WARN : OK, "nats-server",
               "install 2.10.27 or later for more than one machine",
               "%s, version %d.%d.%d", b.program, b.major, b.minor, b.patch);
    }
    proc_set_close(procs);
}

static void
check_state_folder(struct doctor *d)
{
    struct fleet_dir_path path;
    struct stat st;
    const char *dir = d->c->fleet_dir.path;

    if (stat(dir, &st) < 0) {
        report(d, errno == ENOENT ? OK : FAIL, "home", NULL, "%s: %s", dir,
               errno == ENOENT ? "the first start creates it"
                               : strerror(errno));
        return;
    }
    if (st.st_uid != geteuid())
        report(d, FAIL, "home", "set SHUNT_HOME to a folder of your own",
               "%s belongs to another user", dir);
    else if (st.st_mode & 0077)
        report(d, FAIL, "home", "chmod 700 the folder",
               "other users can read %s (mode %03o)", dir,
               (unsigned)(st.st_mode & 0777));
    else if (access(dir, W_OK) < 0)
        report(d, FAIL, "home", "set SHUNT_HOME to a folder of your own",
               "%s: %s", dir, strerror(errno));
    else
        report(d, OK, "home", NULL, "%s, private to this user", dir);
    if (stat(fleet_dir_path(&d->c->fleet_dir, "token", &path), &st) == 0 &&
        (st.st_mode & 0077))
        report(d, FAIL, "token", "chmod 600 the file",
               "other users can read %s", path.s);
}

static void
check_disk(struct doctor *d)
{
    struct statvfs v;
    char size[32], dir[FLEET_DIR_PATH], *slash;
    uint64_t free_bytes;

    /* The nearest folder that exists: the state folder may not yet. */
    (void)str_copy(dir, sizeof dir, d->c->fleet_dir.path);
    while (statvfs(dir, &v) < 0) {
        slash = strrchr(dir, '/');
        if (!slash || slash == dir)
            return;
        *slash = '\0';
    }
    free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    (void)out_size(free_bytes, size, sizeof size);
    if (free_bytes < (uint64_t)DISK_FAIL_MB << 20)
        report(d, FAIL, "disk", "free some space; a full disk stops the broker",
               "%s free at %s", size, dir);
    else
        report(d, free_bytes < (uint64_t)DISK_WARN_MB << 20 ? WARN : OK, "disk",
               "free some space", "%s free at %s", size, dir);
}

/* What the session that started the fleet had, and no task gets. */
static void
check_session_vars(struct doctor *d, const json_t *names)
{
    struct str list = {0};
    const json_t *v;
    size_t i;

    json_array_foreach(names, i, v)
    {
        str_addf(&list, "%s%s", i ? ", " : "", json_string_value(v));
    }
    if (list.len)
        report(d, OK, "session", NULL,
               "tasks get none of %s, which the session that started the fleet "
               "had",
               str_text(&list));
    str_free(&list);
}

static void
check_durability(struct doctor *d)
{
    json_t *v;
    pid_t pid;

    if (d->c->nats) {
        report(d, OK, "durability", NULL,
               "not known for a broker elsewhere; with sync_interval: always "
               "accepted tasks survive a power cut");
        return;
    }
    if (!fleet_dir_locked(&d->c->fleet_dir, &pid)) {
        report(d, WARN, "fleet", "shunt up -d",
               "no fleet runs on this machine");
        return;
    }
    v = cli_fleet_status(d->c);
    report(d, OK, "fleet", NULL, "%s, supervisor pid %d",
           cli_text(v, "state", "starting"), (int)pid);
    if (cli_text(v, "durability", "")[0])
        report(d, cli_bool(v, "durable") ? OK : WARN, "durability",
               cli_bool(v, "fast") ? "shunt down && shunt up -d, without --fast"
                                   : "install nats-server 2.10 or later",
               "%s", cli_text(v, "durability", ""));
    check_session_vars(d, json_object_get(v, "session_vars"));
    json_decref(v);
}

static void
check_spool_of(void *ctx, const char *dir, const char *broker)
{
    struct doctor *d = ctx;
    struct spool_backlog b;
    char age[32];

    spool_look(dir, &b);
    if (b.corrupt)
        report(d, WARN, "spool",
               "look at the files, and remove those of no use",
               "%zu unreadable files in %s/corrupt", b.corrupt, dir);
    if (b.files)
        report(d, WARN, "spool",
               strchr(broker, ':') ? "shunt spool send --nats ADDRESS"
                                   : "shunt up -d",
               "%zu files to be sent to %s, the oldest from %s", b.files,
               broker, out_ago(b.oldest_ms, str_wall_ms(), age, sizeof age));
    d->n_spooled += b.files + b.corrupt;
}

static void
check_spool(struct doctor *d)
{
    cli_each_spool(d->c, check_spool_of, d);
    if (!d->n_spooled)
        report(d, OK, "spool", NULL, "empty");
}

static bool
check_broker(struct doctor *d)
{
    struct cli *c = d->c;
    struct err e = {0};
    pid_t pid;

    if (cli_connect(c, CONNECT_MS, &e) < 0) {
        report(d, FAIL, "broker",
               fleet_dir_locked(&c->fleet_dir, &pid) ? "shunt status"
                                                     : "shunt up -d",
               "%s", e.msg);
        return false;
    }
    report(d, OK, "broker", NULL, "%s answers", bus_url(c->bus));
    return true;
}

static void
check_topology(struct doctor *d)
{
    static const struct {
        const char *stream, *durable;
    } rows[] = {{"TASKS_IN", "router"},
                {"TASKS_IN", "ledger"},
                {"TASKS", "ledger"},
                {"RESULTS", "reaper"},
                {"LOGS", NULL},
                {"DEAD", NULL},
                {"KV_claims", NULL},
                {"KV_control", "ledger"},
                {"TASKS", "local_default"}};
    struct err e = {0};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (jetstream_verify(d->c->bus, rows[i].stream, rows[i].durable, &e) <
            0) {
            report(d, FAIL, "streams", "shunt provision", "%s", e.msg);
            return;
        }
    report(d, OK, "streams", NULL, "all streams and consumers are there");
}

/* The fullest of those that refuse what is new. */
static void
check_levels(struct doctor *d, const json_t *streams)
{
    const json_t *s, *fullest = NULL;
    size_t i;

    json_array_foreach(streams, i, s)
    {
        if (strcmp(cli_text(s, "name", ""), "LOGS") != 0 &&
            (!fullest ||
             cli_int(s, "percent", 0) > cli_int(fullest, "percent", 0)))
            fullest = s;
    }
    if (fullest)
        report(d, cli_int(fullest, "percent", 0) >= FULL_PERCENT ? WARN : OK,
               "space", "raise bus.max_bytes, then shunt provision --change",
               "the fullest stream is %s, with %lld %% of its limit",
               cli_text(fullest, "name", "?"),
               (long long)cli_int(fullest, "percent", 0));
}

static int64_t
total_lag(const json_t *lag)
{
    const char *key;
    json_t *v;
    int64_t sum = 0;

    json_object_foreach((json_t *)(uintptr_t)lag, key, v)
    {
        sum += json_is_integer(v) ? json_integer_value(v) : 0;
    }
    return sum;
}

/* The alarms the reaper has raised. */
static void
check_alarms(struct doctor *d, const json_t *list)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        const char *name = cli_text(v, "name", "alarm");

        /* Files would wait for ever in a folder that cannot be used. */
        report(d, strcmp(name, "folder_unusable") == 0 ? FAIL : WARN, name,
               "see docs/reliability.md, \"When an alarm rings\"", "%s",
               cli_text(v, "text", ""));
    }
    if (list && !json_array_size(list))
        report(d, OK, "alarms", NULL, "none");
}

static void
check_reaper(struct doctor *d)
{
    json_t *reply = NULL, *w;
    struct err e = {0};
    size_t i, alive = 0;
    int64_t lag;

    d->c->ask_patience_ms = CONNECT_MS;
    if (cli_ask(d->c, "status", json_object(), &reply, &e) < 0) {
        report(d, FAIL, "ledger", "shunt status, then read log/reaper.log",
               "%s", e.msg);
        return;
    }
    lag = total_lag(json_object_get(reply, "lag"));
    report(d, lag > LAG_WARN ? WARN : OK, "ledger",
           "wait, or read log/reaper.log",
           "the reaper answers, %" PRId64 " messages behind", lag);
    json_array_foreach(json_object_get(reply, "workers"), i, w)
    {
        alive += !cli_bool(w, "stopped") &&
                 !json_is_false(json_object_get(w, "alive"));
    }
    report(d, alive ? OK : FAIL, "workers",
           "shunt status, then read log/worker-local.log", "%zu alive", alive);
    check_levels(d, json_object_get(reply, "streams"));
    check_alarms(d, json_object_get(reply, "alarms"));
    json_decref(reply);
}

int
cmd_doctor(struct cli *c, const struct args *a)
{
    struct doctor d = {.c = c};

    if (cli_no_arguments(c, a))
        return RC_USAGE;
    d.list = json_array();
    check_programs(&d);
    check_broker_program(&d);
    check_state_folder(&d);
    check_disk(&d);
    check_spool(&d);
    check_durability(&d);
    if (check_broker(&d)) {
        check_topology(&d);
        check_reaper(&d);
    }
    if (c->json)
        out_object("doctor",
                   json_pack("{s:b, s:o}", "ok", !d.failed, "checks", d.list));
    else
        json_decref(d.list);
    return d.failed ? RC_FAILED : RC_OK;
}
