/*
 * The command lane: lists lanes with their tasks and pauses, and writes the
 * pauses to the bucket `control`, where workers see them.
 */
#include "cli/commands.h"
#include "cli/decide_inputs.h"
#include "cli/output.h"
#include "lib/base/nearest.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/bus/lane_pause.h"

#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 2000, READ_MS = 5000, LANE_SIZE = 96 };

static struct {
    int64_t for_ms;
    const char *reason;
} pause_opts;

const struct arg_opt lane_opts[] = {
    {"for", 0, "TIME", "pause: resume after TIME", ARG_MS,
     .to = &pause_opts.for_ms},
    {"reason", 0, "TEXT", "pause: reason shown for waiting tasks", ARG_TEXT,
     .to = &pause_opts.reason},
    ARG_END,
};

/* --- ls ------------------------------------------------------------------ */

/* The row of a lane, added if it is not there yet. */
static json_t *
row_of(json_t *rows, const char *lane)
{
    json_t *row = json_object_get(rows, lane);

    if (row)
        return row;
    row = json_pack("{s:s, s:s, s:i, s:i, s:i}", "lane", lane, "state", "open",
                    "waiting", 0, "running", 0, "workers", 0);
    (void)json_object_set_new(rows, lane, row);
    return row;
}

static void
add_counts(json_t *rows, const json_t *lanes)
{
    const char *lane;
    json_t *n;

    json_object_foreach((json_t *)lanes, lane, n)
    {
        int64_t waiting = cli_int(n, "routed", 0) + cli_int(n, "retry_wait", 0);

        (void)json_object_update_new(
            row_of(rows, lane),
            json_pack("{s:I, s:I, s:I}", "waiting", (json_int_t)waiting,
                      "running", (json_int_t)cli_int(n, "running", 0),
                      "workers", (json_int_t)cli_int(n, "workers", 0)));
    }
}

static void
add_pauses(json_t *rows, const struct lane_pauses *p)
{
    int64_t now = str_wall_ms();
    char lane[LANE_SIZE], since[32], until[32];

    for (size_t i = 0; i < lane_pauses_count(p); i++) {
        const struct lane_pause *at = lane_pauses_at(p, i);

        if (!lane_pauses_find(p, at->backend, at->lane, now))
            continue;
        (void)snprintf(lane, sizeof lane, "%s.%s", at->backend, at->lane);
        (void)str_time(at->at_ms, since, sizeof since);
        (void)str_time(at->until_ms, until, sizeof until);
        (void)json_object_update_new(
            row_of(rows, lane),
            json_pack("{s:s, s:s, s:s, s:s, s:s*}", "state", "paused", "reason",
                      at->reason, "by", at->by, "since", since, "until",
                      at->until_ms ? until : NULL));
    }
}

static const struct out_column lane_columns[] = {
    {"LANE", "lane", NULL, 0, false},
    {"STATE", "state", NULL, 0, false},
    {"WAITING", "waiting", NULL, 1, false},
    {"RUNNING", "running", NULL, 2, false},
    {"WORKERS", "workers", NULL, 3, false},
    {"UNTIL", "until", NULL, 5, false},
    {"REASON", "reason", NULL, 4, false},
};

static void
on_known(void *ctx)
{
    *(bool *)ctx = true;
}

/* Reads the pauses of all lanes from the bucket. */
static int
read_pauses(struct cli *c, struct lane_pauses **out, struct err *e)
{
    bool known = false;

    if (lane_pauses_open(out, c->bus, c->loop, on_known, &known, e) < 0)
        return -1;
    if (loop_until(c->loop, &known, READ_MS))
        return 0;
    lane_pauses_close(*out);
    return err_set(e, ERR_UNAVAILABLE,
                   "the broker did not list the paused lanes in time");
}

/* Rows by lane: those set up, with tasks, workers or a pause. */
static int
known_lanes(struct cli *c, json_t **rows, struct err *e)
{
    json_t *reply = NULL;
    struct lane_pauses *pauses;
    int rc = -1;

    *rows = json_object();
    for (const char *const *lane = jetstream_lanes(); *lane; lane++)
        (void)row_of(*rows, *lane);
    if (cli_ask(c, "status", json_object(), &reply, e) == 0 &&
        read_pauses(c, &pauses, e) == 0) {
        add_counts(*rows, json_object_get(reply, "lanes"));
        add_pauses(*rows, pauses);
        lane_pauses_close(pauses);
        rc = 0;
    }
    json_decref(reply);
    return rc;
}

static int
lane_ls(struct cli *c)
{
    json_t *rows = NULL;
    struct err e = {0};
    int rc = RC_OK;

    if (known_lanes(c, &rows, &e) < 0)
        rc = cli_fail_err("list lanes", NULL, &e, "shunt status");
    else if (c->json)
        out_list("lane", rows);
    else
        OUT_TABLE(rows, lane_columns);
    json_decref(rows);
    return rc;
}

/* The lane that was probably meant: spelled alike, with or without its backend,
 * else any of that backend; NULL: none. */
static const char *
nearest_lane(const char *lane, const char *const *names)
{
    const char *found = nearest_of(lane, names), *dot = strchr(lane, '.');
    size_t least = SIZE_MAX, len = dot ? (size_t)(dot - lane) + 1 : 0;

    for (size_t i = 0; !dot && names[i]; i++)
        if (nearest_is(lane, strchr(names[i], '.') + 1, &least))
            found = names[i];
    for (size_t i = 0; !found && dot && names[i]; i++)
        if (strncmp(names[i], lane, len) == 0)
            found = names[i];
    return found;
}

static int
fail_unknown_lane(const struct cli *c, const char *what, const char *lane,
                  const json_t *rows)
{
    const char **names =
        mem_pool_alloc(c->pool, (json_object_size(rows) + 1) * sizeof *names);
    const char *near, *name;
    json_t *row;
    size_t n = 0;
    char why[256];

    json_object_foreach((json_t *)(uintptr_t)rows, name, row)
    {
        names[n++] = name;
    }
    names[n] = NULL;
    near = nearest_lane(lane, names);
    (void)snprintf(why, sizeof why, "no such lane%s%s%s",
                   near ? "; did you mean " : "", near ? near : "",
                   near ? "?" : "");
    return cli_fail(RC_USAGE, what, lane, why, "shunt lane ls");
}

/* --- pause and resume ---------------------------------------------------- */

struct stored {
    bool done;
    struct err e;
};

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct stored *s = ctx;

    (void)stored;
    s->done = true;
    if (e)
        s->e = *e;
}

/* "backend.lane" into its two tokens. */
static bool
split(const char *text, struct lane_pause *out)
{
    return subject_token_at(text, 0, out->backend) &&
           subject_token_at(text, 1, out->lane) &&
           strlen(text) == strlen(out->backend) + 1 + strlen(out->lane);
}

static int
say_set(struct cli *c, const char *lane, const struct lane_pause *p)
{
    char until[32] = "";

    if (p->until_ms)
        (void)str_time(p->until_ms, until, sizeof until);
    if (!c->json) {
        if (!p->paused)
            cli_say(c, "lane %s takes tasks again", lane);
        else
            cli_say(c, "lane %s is paused %s%s; its running tasks continue",
                    lane, *until ? "until " : "until shunt lane resume", until);
        return RC_OK;
    }
    out_object("lane", json_pack("{s:s, s:s, s:s*, s:s*}", "lane", lane,
                                 "state", p->paused ? "paused" : "open",
                                 "until", *until ? until : NULL, "reason",
                                 *p->reason ? p->reason : NULL));
    return RC_OK;
}

/* Adds lanes that the policy names: tasks may go there. */
static int
add_policy(struct cli *c, json_t *rows)
{
    struct policy p;
    char lane[LANE_SIZE];
    int rc = decide_inputs_policy(c, NULL, &p);

    for (size_t i = 0; rc == RC_OK && i < p.n_executors; i++) {
        (void)snprintf(lane, sizeof lane, "%s.%s", p.executors[i].backend,
                       p.executors[i].lane);
        (void)row_of(rows, lane);
    }
    for (size_t i = 0; rc == RC_OK && i < p.n_providers; i++) {
        (void)snprintf(lane, sizeof lane, "secutools.%s", p.providers[i]);
        (void)row_of(rows, lane);
    }
    return rc;
}

/*
 * Refuses a lane that nobody knows: not set up, in no policy, without a pause,
 * a task or a worker. Where the ledger does not answer, every lane may be one.
 */
static int
check_known(struct cli *c, const char *what, const char *lane)
{
    json_t *rows = NULL;
    struct err e = {0};
    int rc = RC_OK;

    if (known_lanes(c, &rows, &e) == 0 && !json_object_get(rows, lane)) {
        rc = add_policy(c, rows);
        if (!rc && !json_object_get(rows, lane))
            rc = fail_unknown_lane(c, what, lane, rows);
    }
    json_decref(rows);
    return rc;
}

static int
lane_set(struct cli *c, const char *lane, bool paused)
{
    const char *what = paused ? "pause lane" : "resume lane";
    struct lane_pause p = {.paused = paused, .at_ms = str_wall_ms()};
    struct stored s = {0};
    int rc;

    rc = check_known(c, what, lane);
    if (rc)
        return rc;
    if (!split(lane, &p))
        return cli_fail(RC_USAGE, what, lane,
                        "a lane is named BACKEND.LANE, like secutools.gpu",
                        "shunt lane ls");
    if (paused && pause_opts.for_ms)
        p.until_ms = p.at_ms + pause_opts.for_ms;
    if (paused)
        (void)str_copy(p.reason, sizeof p.reason,
                       pause_opts.reason ? pause_opts.reason
                                         : "paused by a person");
    (void)str_copy(p.by, sizeof p.by, cli_user(c->pool));
    lane_pauses_set(c->bus, &p, on_stored, &s);
    if (!loop_until(c->loop, &s.done, 2 * READ_MS)) {
        bus_forget(c->bus, &s);
        return cli_fail(RC_UNREACHABLE, what, lane, "interrupted", NULL);
    }
    if (s.e.code)
        return cli_fail_err(what, lane, &s.e, "shunt status");
    return say_set(c, lane, &p);
}

int
cmd_lane(struct cli *c, const struct args *a)
{
    const char *verb = a->n_words ? a->words[0] : "";
    bool ls = cli_is_ls(a);
    bool set =
        (!strcmp(verb, "pause") || !strcmp(verb, "resume")) && a->n_words == 2;
    int rc;

    if (!ls && !set)
        return cli_usage(c, "use ls, pause LANE or resume LANE");
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc)
        return rc;
    return ls ? lane_ls(c) : lane_set(c, a->words[1], !strcmp(verb, "pause"));
}
