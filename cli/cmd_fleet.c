/*
 * The commands up and down: what fleet/ does, with flags, and said for people
 * or programs.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/watched_folders.h"
#include "fleet/control.h"
#include "lib/os/secret.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    ASK_MS = 1500,  /* for the reaper to answer */
    ADD_MS = 15000, /* for the gateway to watch folders that are added */
    LOOK_MS = 50,
};

static struct {
    bool detach, fast;
    int64_t slots, port;
} up;

const struct arg_opt up_opts[] = {
    {"detach", 'd', NULL, "run in the background; return once it is ready",
     ARG_SWITCH, .to = &up.detach},
    {"fast", 0, NULL, "faster, but a power cut may lose the newest tasks",
     ARG_SWITCH, .to = &up.fast},
    {"slots", 0, "N", "run N tasks at once (default: one per processor)",
     ARG_NUMBER, &up.slots, .least = 1, .most = 10000},
    {"port", 0, "P",
     "port of the broker (default: the last one, or a free one)", ARG_NUMBER,
     &up.port, .least = 1, .most = 65535},
    ARG_END,
};

static int64_t down_ms = 60000;

const struct arg_opt down_opts[] = {
    {"timeout", 0, "TIME", "wait at most TIME for the end (default 60s)",
     ARG_MS, .to = &down_ms},
    ARG_END,
};

/* --- up ------------------------------------------------------------------ */

static void
say_what_comes_in(struct cli *c, bool delegating, const json_t *folders)
{
    const json_t *v;
    size_t i;

    if (delegating)
        cli_say(c, "SECUTOOLS_API_KEY is set: prompts that allow delegation "
                   "go to the AI platform");
    json_array_foreach(folders, i, v)
    {
        cli_say(c, "watching %s", cli_text(v, "path", "?"));
    }
}

static json_t *
paths_of(const json_t *folders)
{
    json_t *paths = json_array(), *v;
    size_t i;

    json_array_foreach(folders, i, v)
    {
        (void)json_array_append(paths, json_object_get(v, "path"));
    }
    return paths;
}

static int
already_running(struct cli *c, pid_t pid)
{
    json_t *status = cli_fleet_status(c);
    const char *since = cli_text(status, "started_at", "");
    char why[160];

    (void)snprintf(why, sizeof why, "it is already running, pid %d%s%.40s",
                   (int)pid, *since ? ", since " : "", since);
    json_decref(status);
    return cli_fail(RC_FAILED, "start the fleet", c->fleet_dir.path, why,
                    "shunt status");
}

/* --- folders for a fleet that runs already -------------------------------- */

/* Whether the gateway says that it watches all of the folders. */
static bool
are_watched(struct cli *c, const json_t *folders)
{
    json_t *reply = NULL, *watched, *v, *w;
    struct err e = {0};
    size_t i, j, found = 0;

    c->ask_patience_ms = ASK_MS;
    if (cli_ask(c, "status", json_object(), &reply, &e) < 0)
        return false;
    watched = json_object_get(reply, "folders");
    json_array_foreach(folders, i, v)
    {
        json_array_foreach(watched, j, w)
        {
            if (strcmp(cli_text(v, "waiting", ""), cli_text(w, "path", "?")) ==
                0) {
                found++;
                break;
            }
        }
    }
    json_decref(reply);
    return found == json_array_size(folders);
}

static bool
wait_watched(struct cli *c, const json_t *folders)
{
    int64_t until = loop_now_ms() + ADD_MS;
    bool watched;

    while (!(watched = are_watched(c, folders)) && loop_now_ms() < until)
        (void)poll(NULL, 0, LOOK_MS);
    return watched;
}

/* Adds the folders of another project to the fleet, whose supervisor is pid. */
static int
add_folders(struct cli *c, pid_t pid, const struct watched_folders *w)
{
    struct err e = {0};
    bool already;

    if (cli_connect(c, ADD_MS, &e) < 0)
        return cli_fail_err("reach the running fleet", c->fleet_dir.path, &e,
                            "shunt status");
    already = are_watched(c, w->list);
    if (!already) {
        if (watched_folders_remember(w, &c->fleet_dir, &e) < 0)
            return cli_fail_err("add folders to the running fleet", NULL, &e,
                                "shunt down && shunt up -d");
        if (kill(pid, SIGUSR1) < 0)
            return cli_fail(RC_FAILED, "add folders to the running fleet",
                            c->fleet_dir.path, strerror(errno), "shunt status");
        if (!wait_watched(c, w->list))
            return cli_fail(RC_PENDING, "add folders to the running fleet",
                            c->fleet_dir.path,
                            "their gateway has not said that it watches them",
                            "read log/gateway-folder.log");
    }
    if (c->json)
        out_object("up", json_pack("{s:i, s:b, s:o}", "pid", (int)pid, "added",
                                   !already, "watching", paths_of(w->list)));
    cli_say(c, "the fleet is already running, pid %d; %s", (int)pid,
            already ? "it watches the folders found here"
                    : "the folders found here are added to it until 'shunt "
                      "down'");
    say_what_comes_in(c, false, w->list);
    return RC_OK;
}

/* --- the start -------------------------------------------------------------
 */

static int
start_failed(struct cli *c, const struct err *e)
{
    pid_t pid;

    if (e->code == ERR_CONFLICT) {
        (void)fleet_dir_locked(&c->fleet_dir, &pid);
        return already_running(c, pid);
    }
    return cli_fail(e->code == ERR_INVALID ? RC_USAGE : RC_FAILED,
                    "start the fleet", c->fleet_dir.path, e->msg,
                    "shunt doctor");
}

static void
on_ready(void *ctx, const char *url, const char *durability)
{
    (void)ctx;
    (void)fprintf(stderr, "shunt: the fleet is up at %s: %s\n", url,
                  durability);
}

static void
say_up(struct cli *c, const struct control_started *s, bool delegating,
       json_t *folders)
{
    if (c->json) {
        out_object("up", json_pack("{s:s, s:i, s:s, s:b, s:o}", "url", s->url,
                                   "pid", (int)s->pid, "durability",
                                   s->durability, "delegating", delegating,
                                   "watching", paths_of(folders)));
        return;
    }
    (void)printf("%s\n", s->url);
    cli_say(c, "the fleet is up, pid %d: %s", (int)s->pid, s->durability);
    say_what_comes_in(c, delegating, folders);
    if (!c->quiet)
        (void)fputs("  next: shunt run -- 'echo hello'\n"
                    "        shunt status\n"
                    "        shunt down\n",
                    stderr);
}

static int
start_fleet(struct cli *c, const struct supervisor_conf *conf, json_t *folders)
{
    bool delegating = conf->secutools_key != NULL;
    struct control_started started;
    struct err e = {0};
    int rc;

    if (up.detach) {
        rc = control_start(&c->fleet_dir, conf, &started, &e);
        if (rc == 0)
            say_up(c, &started, delegating, folders);
    } else {
        say_what_comes_in(c, delegating, folders);
        rc = supervisor_run(&c->fleet_dir, conf, &e);
    }
    return rc < 0 ? start_failed(c, &e) : RC_OK;
}

int
cmd_up(struct cli *c, const struct args *a)
{
    struct supervisor_conf conf = {.fast = up.fast,
                                   .slots = up.slots,
                                   .port = (int)up.port,
                                   .ready = on_ready};
    struct watched_folders watched;
    struct err e = {0};
    pid_t pid;
    char *key;
    int rc;

    if (cli_no_arguments(c, a))
        return RC_USAGE;
    /* All of it is read here, so that a mistake in a file is seen at once. */
    if (cli_find_broker(c, &e) < 0 || provision_conf(&conf.jetstream, &e) < 0 ||
        watched_folders_find(&watched, &e) < 0)
        return cli_fail_err("read the configuration", NULL, &e, "shunt doctor");
    if (fleet_dir_locked(&c->fleet_dir, &pid) && pid) {
        rc = json_array_size(watched.list) ? add_folders(c, pid, &watched)
                                           : already_running(c, pid);
        json_decref(watched.list);
        return rc;
    }
    if (watched_folders_recall(&watched, &c->fleet_dir, &e) < 0) {
        json_decref(watched.list);
        return cli_fail_err("read the folders that were added", NULL, &e,
                            "shunt down, which forgets them");
    }
    key = secret_take("SECUTOOLS_API_KEY");
    conf.secutools_key = key;
    conf.project = watched.project;
    conf.folders = json_array_size(watched.list) > 0;
    rc = start_fleet(c, &conf, watched.list);
    secret_free(key);
    json_decref(watched.list);
    return rc;
}

/* --- down ---------------------------------------------------------------- */

int
cmd_down(struct cli *c, const struct args *a)
{
    struct err e = {0};
    pid_t pid;

    if (cli_no_arguments(c, a))
        return RC_USAGE;
    if (control_stop(&c->fleet_dir, down_ms, &pid, &e) < 0)
        return cli_fail(e.code == ERR_TIMEOUT ? RC_PENDING : cli_rc(&e),
                        "stop the fleet", c->fleet_dir.path, e.msg,
                        e.code == ERR_TIMEOUT ? "shunt down, which then kills"
                                              : "shunt status");
    watched_folders_forget(&c->fleet_dir);
    if (c->json)
        out_object("down", json_pack("{s:b, s:i}", "stopped", pid != 0, "pid",
                                     (int)pid));
    else
        cli_say(c, pid ? "the fleet is stopped" : "no fleet is running");
    return RC_OK;
}
