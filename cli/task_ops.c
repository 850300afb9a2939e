/*
 * Requests about many tasks are made page by page and round by round: the
 * reaper answers other clients in between. Waiting goes by done.<task>; tasks
 * that are still open are polled, because such a message may be lost.
 */
#include "cli/task_ops.h"

#include "cli/output.h"
#include "lib/bus/cancels.h"
#include "lib/model/codec.h"
#include "lib/model/control_msg.h"
#include "lib/model/subject.h"
#include "lib/submit/spool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    PAGE = 200,
    EACH_MAX = 32,     /* tasks with a subscription of their own */
    POLL_MS = 2000,    /* between two rounds of polling */
    ROUND_MAX = 64,    /* requests in one round */
    BEHIND_MS = 10000, /* for the reaper to read what was submitted before */
    ROUTING_MS = 300,  /* for the router to decide */
};

struct control
task_ops_cancel_msg(const struct cli *c, const char *id)
{
    struct control msg = control_msg_new(CONTROL_CANCEL, cli_user(c->pool));

    msg.task = id;
    msg.reason = "asked for by a person";
    return msg;
}

void
task_ops_cancel(struct cli *c, const char *id, bus_stored_fn *fn, void *ctx)
{
    const struct control msg = task_ops_cancel_msg(c, id);

    cancels_put(c->bus, &msg, fn, ctx);
}

void
task_ops_say_why_waiting(struct cli *c, const char *id)
{
    json_t *task = NULL;
    struct err e = {0};
    const char *text;

    if (cli_show(c, id, &task, &e) < 0) {
        cli_say(c, "waiting for %s: %s", id, e.msg);
        return;
    }
    text = cli_text(json_object_get(task, "waits"), "text", "");
    if (*text)
        cli_say(c, "%s: %s (shunt explain %s)", id, text, id);
    json_decref(task);
}

/* Whether a person has to do something before the task goes on. */
static bool
needs_somebody(const char *waits_for)
{
    return strcmp(waits_for, "worker") == 0 ||
           strcmp(waits_for, "lane-paused") == 0 ||
           strcmp(waits_for, "draining") == 0;
}

void
task_ops_say_routing(struct cli *c, const char *id, bool rejection)
{
    int64_t until = loop_now_ms() + ROUTING_MS;
    json_t *task = NULL;
    struct err e = {0};
    const json_t *d, *waits;

    if (!isatty(STDERR_FILENO) || c->quiet || c->json)
        return;
    do {
        json_decref(task);
        task = NULL;
        if (cli_show(c, id, &task, &e) < 0)
            return;
        d = json_object_get(task, "decision");
        if (d || state_is_terminal(cli_state(task)))
            break;
        cli_pause(c, 20);
    } while (loop_now_ms() < until);
    waits = json_object_get(task, "waits");
    if (*cli_text(d, "wanted", ""))
        cli_say(c, "%s: %s", id, cli_text(d, "reason", ""));
    else if (rejection && cli_state(task) == STATE_REJECTED)
        cli_say(c, "%s: rejected: %s", id, cli_text(task, "reason", ""));
    else if (d && needs_somebody(cli_text(waits, "for", "")))
        cli_say(c, "%s: %s (shunt explain %s)", id, cli_text(waits, "text", ""),
                id);
    json_decref(task);
}

bool
task_ops_spooled(struct cli *c, const char *selector, char id[TASK_ID_SIZE])
{
    char last[TASK_ID_SIZE];
    struct fleet_dir_path dir;

    if (strcmp(selector, "last") == 0 &&
        fleet_dir_line(&c->fleet_dir, "last", last, sizeof last))
        selector = last;
    if (!str_copy(id, TASK_ID_SIZE, selector))
        return false;
    return spool_has(cli_spool_dir(c, &dir), id);
}

void
task_ops_catch_up(struct cli *c)
{
    int64_t until = loop_now_ms() + BEHIND_MS;
    json_t *reply = NULL;
    struct err e = {0};
    bool behind;

    do {
        if (cli_ask(c, "status", json_object(), &reply, &e) < 0)
            return; /* the next request says so */
        behind = cli_int(json_object_get(reply, "lag"), "TASKS_IN.ledger", 0);
        json_decref(reply);
        reply = NULL;
        if (behind)
            cli_pause(c, 100);
    } while (behind && loop_now_ms() < until);
}

int
task_ops_list(struct cli *c, json_t *request, int64_t limit, json_t **rows,
              struct err *e)
{
    json_t *all = json_array(), *reply, *page;
    int64_t next = 0, want;

    for (;;) {
        want = limit ? limit - (int64_t)json_array_size(all) : PAGE;
        (void)json_object_set_new(request, "limit",
                                  json_integer(want < PAGE ? want : PAGE));
        if (next)
            (void)json_object_set_new(request, "before", json_integer(next));
        reply = NULL;
        if (cli_ask(c, "list", json_incref(request), &reply, e) < 0)
            break;
        page = json_object_get(reply, "tasks");
        (void)json_array_extend(all, page);
        next = json_array_size(page) ? cli_int(reply, "next", 0) : 0;
        json_decref(reply);
        if (!next || (limit && (int64_t)json_array_size(all) >= limit)) {
            json_decref(request);
            *rows = all;
            return 0;
        }
    }
    json_decref(request);
    json_decref(all);
    return -1;
}

int
task_ops_states(struct cli *c, const struct arg_list *wanted, json_t **out)
{
    const char *names[STATE_COUNT + 3];
    enum state s;
    size_t i, n = 0;
    bool open, done;

    *out = wanted->n ? json_array() : NULL;
    for (s = STATE_SUBMITTED; s < STATE_LOST; s++)
        names[n++] = state_name(s);
    names[n++] = "open";
    names[n++] = "done";
    names[n] = NULL;
    for (i = 0; i < wanted->n; i++) {
        const char *want = wanted->items[i];

        open = !strcmp(want, "open");
        done = !strcmp(want, "done");
        if (!open && !done && state_from_name(want) == STATE_UNSPECIFIED) {
            json_decref(*out);
            *out = NULL;
            return cli_usage_unknown(c, "state", want, names);
        }
        for (s = STATE_SUBMITTED; s < STATE_LOST; s++)
            if ((open && !state_is_terminal(s)) ||
                (done && state_is_terminal(s)) || !strcmp(want, state_name(s)))
                (void)json_array_append_new(*out, json_string(state_name(s)));
    }
    return RC_OK;
}

/* --- selectors ----------------------------------------------------------- */

/* The tasks found so far: a list, and the same by id. */
struct selection {
    json_t *ids, *known;
};

static void
add_id(struct selection *s, const char *id, const char *state)
{
    if (json_object_get(s->known, id))
        return;
    (void)json_object_set_new(s->known, id, json_true());
    (void)json_array_append_new(
        s->ids, json_pack("{s:s, s:s}", "id", id, "state", state));
}

static int
add_batch(struct cli *c, const char *batch, struct selection *s, struct err *e)
{
    json_t *reply = NULL, *rows = NULL, *v;
    int64_t size;
    const char *id;
    size_t i;

    task_ops_catch_up(c);
    if (cli_ask(c, "batch", json_pack("{s:s}", "batch", batch), &reply, e) < 0)
        return -1;
    id = cli_text(json_object_get(reply, "batch"), "id", batch);
    if (task_ops_list(c, json_pack("{s:s}", "batch", id), 0, &rows, e) < 0) {
        json_decref(reply);
        return -1;
    }
    json_array_foreach(rows, i, v)
    {
        add_id(s, cli_text(v, "id", ""), cli_text(v, "state", ""));
    }
    size = cli_int(json_object_get(reply, "batch"), "size", 0);
    if (size > (int64_t)json_array_size(rows))
        cli_say(c,
                "%s: %" PRId64 " of its %" PRId64
                " tasks were not submitted yet",
                id, size - (int64_t)json_array_size(rows), size);
    json_decref(rows);
    json_decref(reply);
    return 0;
}

/* Adds the tasks of one selector; RC_OK, or the exit code. */
static int
add_selector(struct cli *c, const char *selector, const char *what,
             struct selection *s)
{
    char id[TASK_ID_SIZE];
    struct fleet_dir_path dir;
    struct err e = {0}, batch = {0};
    enum state state;

    if (cli_find(c, selector, id, &state, &e) == 0)
        add_id(s, id, state_name(state));
    else if (e.code == ERR_NOT_FOUND && add_batch(c, selector, s, &batch) == 0)
        return RC_OK;
    else if (e.code == ERR_NOT_FOUND &&
             spool_has(cli_spool_dir(c, &dir), selector))
        add_id(s, selector, "submitted");
    else
        return cli_fail_lookup(what, selector, &e);
    return RC_OK;
}

int
task_ops_resolve(struct cli *c, const char *const *selectors, size_t n,
                 const char *what, json_t **ids)
{
    struct selection s = {.ids = json_array(), .known = json_object()};
    int rc = RC_OK;

    for (size_t i = 0; i < n && rc == RC_OK; i++)
        rc = add_selector(c, selectors[i], what, &s);
    json_decref(s.known);
    if (rc != RC_OK) {
        json_decref(s.ids);
        s.ids = NULL;
    }
    *ids = s.ids;
    return rc;
}

/* --- waiting ------------------------------------------------------------- */

struct wait_list {
    struct cli *c;
    json_t *ids;
    json_t *index; /* id -> element of ids */
    size_t open;
    bool changed, left;
};

static void
settle(struct wait_list *w, const char *id, enum state state)
{
    json_t *v = json_object_get(w->index, id);

    if (!v || state_is_terminal(cli_state(v)))
        return;
    (void)json_object_set_new(v, "state", json_string(state_name(state)));
    if (state_is_terminal(state) && --w->open == 0)
        w->changed = true;
}

static void
on_done(void *ctx, const struct bus_note *note)
{
    struct wait_list *w = ctx;
    struct mem_pool *pool;
    struct result r;
    struct err e = {0};
    char id[SUBJECT_TOKEN_MAX + 1];

    if (!subject_token_at(note->subject, 1, id) ||
        !json_object_get(w->index, id))
        return;
    pool = mem_pool_new();
    if (codec_decode(CODEC_RESULT, note->data, note->len, pool, &r, &e) == 0)
        settle(w, r.task, r.state);
    mem_pool_free(pool);
}

static void
on_term(void *ctx, int nth)
{
    struct wait_list *w = ctx;

    (void)nth;
    w->left = true;
    loop_stop(w->c->loop, 0);
}

/* Polls some of the open tasks, from *at on and round the list. */
static void
poll_some(struct wait_list *w, size_t *at, int64_t until)
{
    size_t n = json_array_size(w->ids), i, asked = 0;
    char id[TASK_ID_SIZE];
    struct err e = {0};
    enum state state;
    json_t *v;

    for (i = 0; i < n && asked < ROUND_MAX && w->open && !w->left; i++) {
        v = json_array_get(w->ids, (*at)++ % n);
        if (state_is_terminal(cli_state(v)))
            continue;
        if (until >= 0 && loop_now_ms() > until)
            return;
        asked++;
        if (cli_find(w->c, cli_text(v, "id", ""), id, &state, &e) == 0)
            settle(w, id, state);
        else if (e.code != ERR_NOT_FOUND)
            return; /* the reaper does not answer: in the next round */
    }
}

static int
subscribe(struct wait_list *w, struct bus_sub **subs, size_t *n_subs)
{
    char subject[SUBJECT_SIZE];
    struct err e = {0};
    json_t *v;
    size_t i;

    *n_subs = 0;
    if (json_array_size(w->ids) > EACH_MAX) {
        *n_subs = 1;
        return bus_subscribe(w->c->bus, SUBJECT_DONE_ALL, on_done, w, subs, &e);
    }
    json_array_foreach(w->ids, i, v)
    {
        if (bus_subscribe(w->c->bus,
                          subject_done(subject, cli_text(v, "id", "")), on_done,
                          w, &subs[*n_subs], &e) == 0)
            (*n_subs)++;
    }
    return 0;
}

bool
task_ops_wait(struct cli *c, json_t *ids, int64_t timeout_ms,
              bool (*begin)(void *ctx), void *ctx)
{
    struct wait_list w = {.c = c, .ids = ids, .index = json_object()};
    int64_t until, left;
    struct bus_sub *subs[EACH_MAX + 1] = {NULL};
    size_t n_subs, at = 0, i;
    json_t *v;

    json_array_foreach(ids, i, v)
    {
        (void)json_object_set(w.index, cli_text(v, "id", ""), v);
        w.open += !state_is_terminal(cli_state(v));
    }
    loop_on_term(c->loop, on_term, &w);
    (void)subscribe(&w, subs, &n_subs);
    w.left = begin && !begin(ctx);
    until = timeout_ms < 0 ? -1 : loop_now_ms() + timeout_ms;
    while (w.open && !w.left && (until < 0 || loop_now_ms() < until)) {
        poll_some(&w, &at, until);
        left = until < 0 ? POLL_MS : until - loop_now_ms();
        w.changed = !w.open;
        if (w.open && !w.left && left > 0)
            (void)loop_until(c->loop, &w.changed,
                             left < POLL_MS ? left : POLL_MS);
    }
    for (i = 0; i < n_subs; i++)
        bus_unsubscribe(subs[i]);
    loop_on_term(c->loop, NULL, NULL);
    json_decref(w.index);
    return w.open == 0;
}
