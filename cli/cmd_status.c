/*
 * The commands status and worker. Status joins what the supervisor of this
 * machine has written with the reaper's answer; either may be missing.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "lib/bus/control_send.h"
#include "lib/model/subject.h"
#include "lib/submit/spool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    REAPER_MS = 1500,     /* for a reaper that may be down */
    DRAIN_MS = 5000,      /* for a worker to report that it drains */
    HEARTBEAT_MS = 11000, /* a little more than between two heartbeats */
};

/* Members of the reaper's answer that status passes on. */
static const char *const from_reaper[] = {"counters", "lanes", "workers",
                                          "folders",  "lag",   "alarms",
                                          "streams",  NULL};

static json_t *
read_supervisor(const struct cli *c, pid_t pid)
{
    json_t *v = cli_fleet_status(c);

    /* A file of an earlier supervisor is of no use. */
    if (!json_is_object(v) || (pid && cli_int(v, "pid", 0) != pid)) {
        json_decref(v);
        v = json_pack("{s:i, s:s}", "pid", (int)pid, "state", "starting");
    }
    return v;
}

static int64_t
uptime_s(const json_t *v, int64_t now_ms)
{
    int64_t at = cli_time(v, "started_at");

    return at && now_ms > at ? (now_ms - at) / 1000 : 0;
}

/* What the supervisor wrote, with its times turned into uptimes. */
static json_t *
with_supervisor(json_t *written, int64_t now_ms)
{
    json_t *list = json_object_get(written, "processes"), *all, *p;
    const char *http = cli_text(written, "http", "");
    const char *socket = cli_text(written, "http_socket", "");
    const char *token = cli_text(written, "http_token_file", "");
    size_t i;

    json_array_foreach(list, i, p)
    {
        if (json_object_get(p, "pid"))
            (void)json_object_set_new(p, "uptime_s",
                                      json_integer(uptime_s(p, now_ms)));
    }
    all = json_pack(
        "{s:{s:I, s:I, s:s, s:s}, s:o, s:{s:s, s:b, s:b, s:s}, s:o*}",
        "supervisor", "pid", (json_int_t)cli_int(written, "pid", 0), "uptime_s",
        (json_int_t)uptime_s(written, now_ms), "state",
        cli_text(written, "state", "?"), "version",
        cli_text(written, "version", ""), "processes",
        list ? json_incref(list) : json_array(), "broker", "url",
        cli_text(written, "url", ""), "fast", cli_bool(written, "fast"),
        "durable", cli_bool(written, "durable"), "durability",
        cli_text(written, "durability", ""), "http",
        *http ? json_pack("{s:s, s:s, s:s}", "url", http, "socket", socket,
                          "token_file", token)
              : NULL);
    json_decref(written);
    return all;
}

static void
add_spool(struct cli *c, json_t *all)
{
    struct spool_backlog backlog;
    struct fleet_dir_path dir;

    spool_look(cli_spool_dir(c, &dir), &backlog);
    (void)json_object_set_new(all, "spool",
                              json_pack("{s:I, s:I}", "files",
                                        (json_int_t)backlog.files, "corrupt",
                                        (json_int_t)backlog.corrupt));
}

/* --- text ---------------------------------------------------------------- */

static void
add_uptime(const json_t *p, struct str *cell)
{
    char up[32] = "-";

    if (json_object_get(p, "pid"))
        (void)str_duration((uint64_t)cli_int(p, "uptime_s", 0) * 1000, up,
                           sizeof up);
    str_addz(cell, up);
}

static const struct out_column process_columns[] = {
    {"PROCESS", "name", NULL, 0, false},
    {"PID", "pid", NULL, 1, false},
    {"STATE", "state", NULL, 0, false},
    {"UPTIME", NULL, add_uptime, 3, false},
    {"RESTARTS", "restarts", NULL, 2, false},
};

static void
add_lanes(const json_t *w, struct str *cell)
{
    const json_t *v;
    size_t i;

    json_array_foreach(json_object_get(w, "lanes"), i, v)
    {
        str_addf(cell, "%s%s", i ? "," : "",
                 json_string_value(v) ? json_string_value(v) : "?");
    }
}

static const char *
worker_name(const json_t *w)
{
    return cli_text(w, "worker", cli_text(w, "name", "?"));
}

static void
add_worker_name(const json_t *w, struct str *cell)
{
    str_addz(cell, worker_name(w));
}

static void
add_running(const json_t *w, struct str *cell)
{
    const json_t *r = json_object_get(w, "running");
    int64_t running =
        json_is_array(r)
            ? cli_int(w, "running_count", (int64_t)json_array_size(r))
            : cli_int(w, "running", cli_int(w, "running_count", 0));

    str_addf(cell, "%lld/%lld", (long long)running,
             (long long)cli_int(w, "slots", 0));
}

static const char *
worker_state(const json_t *w)
{
    return cli_bool(w, "stopped")    ? "stopped"
           : cli_bool(w, "draining") ? "draining"
           : json_is_false(json_object_get(w, "alive"))
               ? "lost"
               : cli_text(w, "state", "alive");
}

static void
add_worker_state(const json_t *w, struct str *cell)
{
    str_addz(cell, worker_state(w));
}

static const struct out_column worker_columns[] = {
    {"WORKER", NULL, add_worker_name, 0, false},
    {"BACKEND", "backend", NULL, 3, false},
    {"LANES", NULL, add_lanes, 1, false},
    {"RUNNING", NULL, add_running, 2, false},
    {"STATE", NULL, add_worker_state, 0, false},
    {"HOST", "host", NULL, 4, false},
};

static void
print_counters(const json_t *counters)
{
    struct str s = {0};
    enum state state;
    int64_t n;

    for (state = STATE_SUBMITTED; state <= STATE_UNKNOWN; state++) {
        n = cli_int(counters, state_name(state), 0);
        if (n)
            str_addf(&s, ", %lld %s", (long long)n, state_name(state));
    }
    out_line("tasks       %lld%s", (long long)cli_int(counters, "tasks", 0),
             str_text(&s));
    str_free(&s);
}

static void
print_alarms(const json_t *list)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        out_line("alarm       %s: %s", cli_text(v, "name", "?"),
                 cli_text(v, "text", ""));
    }
}

static const struct out_column folder_columns[] = {
    {"FOLDER", "path", NULL, 1, false},
    {"WAITING", "waiting", NULL, 0, false},
    {"RUNNING", "running", NULL, 0, false},
    {"NOTE", "note", NULL, 2, false},
};

static void
print_status(const json_t *all)
{
    const json_t *sup = json_object_get(all, "supervisor");
    const json_t *broker = json_object_get(all, "broker");
    const json_t *spool = json_object_get(all, "spool");
    char up[32];

    if (json_is_object(sup))
        out_line("fleet       %s for %s, supervisor pid %lld",
                 cli_text(sup, "state", "?"),
                 str_duration((uint64_t)cli_int(sup, "uptime_s", 0) * 1000, up,
                              sizeof up),
                 (long long)cli_int(sup, "pid", 0));
    out_line("broker      %s", cli_text(broker, "url", "?"));
    if (json_object_get(all, "http"))
        out_line("http        %s, token in %s",
                 cli_text(json_object_get(all, "http"), "url", "?"),
                 cli_text(json_object_get(all, "http"), "token_file", "?"));
    if (cli_text(broker, "durability", "")[0])
        out_line("durability  %s", cli_text(broker, "durability", ""));
    if (cli_int(spool, "files", 0))
        out_line("spool       %lld files to be sent",
                 (long long)cli_int(spool, "files", 0));
    if (json_object_get(all, "counters"))
        print_counters(json_object_get(all, "counters"));
    print_alarms(json_object_get(all, "alarms"));
    if (json_array_size(json_object_get(all, "processes"))) {
        (void)puts("");
        OUT_TABLE(json_object_get(all, "processes"), process_columns);
    }
    if (json_array_size(json_object_get(all, "workers"))) {
        (void)puts("");
        OUT_TABLE(json_object_get(all, "workers"), worker_columns);
    } else if (json_object_get(all, "workers")) {
        (void)puts("\nno live workers");
    }
    if (json_array_size(json_object_get(all, "folders"))) {
        (void)puts("");
        OUT_TABLE(json_object_get(all, "folders"), folder_columns);
    }
}

/* --- status -------------------------------------------------------------- */

/* Asks the reaper and adds its answer to all. */
static int
add_reaper(struct cli *c, json_t *all, struct err *e)
{
    json_t *reply = NULL;

    if (cli_connect(c, 0, e) < 0)
        return -1;
    if (!json_object_get(all, "broker"))
        (void)json_object_set_new(all, "broker",
                                  json_pack("{s:s}", "url", bus_url(c->bus)));
    if (cli_ask(c, "status", json_object(), &reply, e) < 0)
        return -1;
    out_copy(all, reply, from_reaper);
    json_decref(reply);
    return 0;
}

int
cmd_status(struct cli *c, const struct args *a)
{
    struct err e = {0};
    pid_t pid = 0;
    bool local, answers;
    json_t *all;

    if (cli_no_arguments(c, a))
        return RC_USAGE;
    c->ask_patience_ms = REAPER_MS;
    local = !c->nats && fleet_dir_locked(&c->fleet_dir, &pid);
    all = local ? with_supervisor(read_supervisor(c, pid), str_wall_ms())
                : json_pack("{s:n, s:[]}", "supervisor", "processes");
    add_spool(c, all);
    answers = add_reaper(c, all, &e) == 0;
    if (!answers)
        (void)json_object_set_new(all, "error", json_string(e.msg));
    if (c->json)
        out_object("status", json_incref(all));
    else if (local || answers)
        print_status(all);
    json_decref(all);
    if (answers)
        return RC_OK;
    if (!local)
        return cli_fail(
            e.code == ERR_DENIED || c->denied ? RC_CREDENTIALS : RC_UNREACHABLE,
            "read the fleet's status",
            c->conf.bus.url ? c->conf.bus.url : c->fleet_dir.path, e.msg,
            e.code == ERR_UNAVAILABLE ? "shunt up -d" : "shunt doctor");
    cli_say(c, "%s", e.msg);
    return RC_OK;
}

/* --- worker -------------------------------------------------------------- */

/* Replaces *workers, which may be NULL. */
static int
query_workers(struct cli *c, json_t **workers, struct err *e)
{
    json_t *reply = NULL, *list;

    json_decref(*workers);
    *workers = NULL;
    if (cli_ask(c, "status", json_object(), &reply, e) < 0)
        return -1;
    list = json_object_get(reply, "workers");
    *workers = json_is_array(list) ? json_incref(list) : json_array();
    json_decref(reply);
    return 0;
}

static const json_t *
find_worker(const json_t *workers, const char *name)
{
    const json_t *w;
    size_t i;

    json_array_foreach(workers, i, w)
    {
        if (!strcmp(worker_name(w), name))
            return w;
    }
    return NULL;
}

static int
worker_ls(struct cli *c)
{
    struct err e = {0};
    json_t *workers = NULL;

    if (query_workers(c, &workers, &e) < 0)
        return cli_fail_err("list workers", NULL, &e, "shunt status");
    if (c->json)
        out_list("worker", workers);
    else
        OUT_TABLE(workers, worker_columns);
    json_decref(workers);
    return RC_OK;
}

static int
worker_drain(struct cli *c, const char *name)
{
    int64_t until = loop_now_ms() + HEARTBEAT_MS;
    struct control drain = control_msg_new(CONTROL_DRAIN, cli_user(c->pool));
    char subject[SUBJECT_SIZE];
    struct err e = {0};
    json_t *workers = NULL;
    const json_t *w;
    bool seen = false;
    int rc;

    if (!subject_token_ok(name))
        return cli_fail(RC_USAGE, "drain worker", name, "the name is invalid",
                        "shunt worker ls");
    /* A reaper that has just started hears of workers within ten seconds. */
    while ((rc = query_workers(c, &workers, &e)) == 0 &&
           !json_array_size(workers) && loop_now_ms() < until)
        cli_pause(c, 500);
    w = find_worker(workers, name);
    if (rc == 0 && !w) {
        json_decref(workers);
        return cli_fail(RC_USAGE, "drain worker", name,
                        "there is no live worker of that name",
                        "shunt worker ls");
    }
    (void)subject_drain(subject, cli_text(w, "backend", "local"), name);
    drain.worker = name;
    until = loop_now_ms() + DRAIN_MS;
    while (rc == 0 && !seen && loop_now_ms() < until) {
        control_send(c->bus, subject, &drain);
        cli_pause(c, 200);
        rc = query_workers(c, &workers, &e);
        w = find_worker(workers, name);
        seen = !w || strcmp(worker_state(w), "alive") != 0;
    }
    json_decref(workers);
    if (rc < 0)
        return cli_fail_err("drain worker", name, &e, "shunt status");
    if (!seen)
        return cli_fail(RC_PENDING, "drain worker", name,
                        "the worker has not confirmed yet", "shunt worker ls");
    if (c->json)
        out_object("worker",
                   json_pack("{s:s, s:b}", "worker", name, "draining", 1));
    else
        cli_say(c, "%s takes no new tasks", name);
    return RC_OK;
}

int
cmd_worker(struct cli *c, const struct args *a)
{
    bool ls = cli_is_ls(a);
    int rc;

    if (!ls && (a->n_words != 2 || strcmp(a->words[0], "drain") != 0))
        return cli_usage(c, "use ls or drain NAME");
    rc = cli_need_broker(c, 2000);
    if (rc)
        return rc;
    return ls ? worker_ls(c) : worker_drain(c, a->words[1]);
}
