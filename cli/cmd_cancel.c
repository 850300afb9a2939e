/*
 * The command cancel: leaves a request for each task that is open, and waits
 * for their ends. Once the broker has stored a request it is in force, whatever
 * becomes of this process: nothing of the task starts any more.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/task_ops.h"
#include "lib/model/subject.h"
#include "lib/submit/spool.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

enum {
    CONNECT_MS = 3000,
    CANCEL_MS = 60000, /* a lost worker's lease, and more */
    EACH_MS = 2,       /* the same for each of thousands of tasks */
    PROBE_MS = 300,    /* for the reaper to answer, before others are asked */
    WINDOW = 256,      /* requests on their way */
    NAMED_MOST = 20,   /* tasks named one by one */
    SHOWN_MOST = 32,   /* rows with all that is known of the task */
    FULL_ID = 16,      /* characters of an id that we made */
};

static struct {
    int64_t wait_ms; /* < 0: by the number of tasks */
    struct arg_list states;
    const char *name;
    bool all, no_wait;
} cancel = {.wait_ms = -1};

const struct arg_opt cancel_opts[] = {
    {"timeout", 0, "TIME",
     "wait at most TIME for the end (default 60s, and 2ms for each task)",
     ARG_MS, .to = &cancel.wait_ms},
    {"no-wait", 0, NULL, "leave the requests and return", ARG_SWITCH,
     .to = &cancel.no_wait},
    {"state", 0, "STATE",
     "cancel the tasks in this state; open, or the name of one; repeatable",
     ARG_LIST, &cancel.states,
     .words = "open submitted accepted held blocked routed running retry_wait"},
    {"name", 0, "GLOB", "cancel the open tasks whose name matches", ARG_TEXT,
     .to = &cancel.name},
    {"all", 0, NULL, "cancel all open tasks", ARG_SWITCH, .to = &cancel.all},
    ARG_END,
};

/* What became of a request; the member "cancel" of a row. */
enum fate { FATE_CANCELLED, FATE_BEFORE, FATE_FIRST, FATE_OPEN, N_FATES };

static const char *const fates[N_FATES] = {
    [FATE_CANCELLED] = "cancelled",
    [FATE_BEFORE] = "finished_before",
    [FATE_FIRST] = "ended_first",
    [FATE_OPEN] = "open",
};

/* --- requests ------------------------------------------------------------- */

struct requests {
    struct cli *c;
    json_t *ids;
    size_t under_way;
    bool room; /* an answer has come */
    struct err e;
};

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct requests *r = ctx;

    (void)stored;
    if (e)
        r->e = *e;
    r->under_way--;
    r->room = true;
}

static void
wait_for_room(struct requests *r, size_t most)
{
    while (r->under_way > most) {
        r->room = false;
        (void)loop_until(r->c->loop, &r->room, -1);
    }
}

static void
request(struct requests *r, const char *id)
{
    r->under_way++;
    task_ops_cancel(r->c, id, on_stored, r);
    wait_for_room(r, WINDOW);
}

/* False if one was not stored. */
static bool
request_all(void *ctx)
{
    struct requests *r = ctx;
    json_t *v;
    size_t i;

    json_array_foreach(r->ids, i, v)
    {
        if (!cli_bool(v, "over"))
            request(r, cli_text(v, "id", ""));
    }
    wait_for_room(r, 0);
    return r->e.code == ERR_NONE && !cancel.no_wait;
}

/*
 * Whether the reaper answers. If not, the tasks whose full ids are given are
 * cancelled at once: the router and the workers need nobody to read that.
 */
static int
request_unasked(struct cli *c, const struct args *a, json_t **asked)
{
    struct requests r = {.c = c};
    char subject[SUBJECT_SIZE];
    struct str answer = {0};
    struct err e = {0};
    int rc = bus_call(c->bus, subject_ask(subject, "find"), "{}", 2, PROBE_MS,
                      &answer, &e);

    str_free(&answer);
    *asked = json_object();
    for (size_t i = 0; rc < 0 && i < a->n_words; i++)
        if (strlen(a->words[i]) == FULL_ID && subject_token_ok(a->words[i])) {
            (void)json_object_set_new(*asked, a->words[i], json_true());
            request(&r, a->words[i]);
        }
    wait_for_room(&r, 0);
    if (r.e.code != ERR_NONE)
        return cli_fail_err("cancel", a->words[0], &r.e, "shunt status");
    if (json_object_size(*asked))
        cli_say(c, "the reaper does not answer; the requests are stored");
    return RC_OK;
}

/* The id of a task that waits alone in a file of the spool. */
static bool
is_spooled(struct cli *c, const char *selector, char id[TASK_ID_SIZE])
{
    struct fleet_dir_path dir;
    struct spool_file *f = NULL;
    struct err e;
    bool alone;

    if (!task_ops_spooled(c, selector, id) ||
        spool_take(&f, cli_spool_dir(c, &dir), id, &e) < 0)
        return false;
    alone = spool_count(f) == 1;
    spool_close(f);
    return alone;
}

/* Without a broker: the tasks that wait in the spool are never sent without
 * their requests. False if others are named, too. */
static bool
request_in_spool(struct cli *c, const struct args *a)
{
    struct fleet_dir_path dir;
    struct control msg;
    char id[TASK_ID_SIZE];
    struct err e = {0};

    for (size_t i = 0; i < a->n_words; i++)
        if (!is_spooled(c, a->words[i], id))
            return false;
    for (size_t i = 0; i < a->n_words; i++) {
        (void)task_ops_spooled(c, a->words[i], id);
        msg = task_ops_cancel_msg(c, id);
        if (spool_cancel(cli_spool_dir(c, &dir), &msg, &e) < 0) {
            cli_say(c, "%s", e.msg);
            return false;
        }
    }
    return a->n_words > 0;
}

/* --- which tasks ---------------------------------------------------------- */

static bool
filtered(void)
{
    return cancel.all || cancel.name || cancel.states.n;
}

static int
check_usage(struct cli *c, const struct args *a)
{
    enum state s;

    if (a->dashes || (!a->n_words && !filtered()))
        return cli_usage(c, "at least one task or batch, --state, --name or "
                            "--all is required");
    if (a->n_words && filtered())
        return cli_usage(c, "give tasks, or --state, --name and --all, not "
                            "both");
    for (size_t i = 0; i < cancel.states.n; i++) {
        s = state_from_name(cancel.states.items[i]);
        if (state_is_terminal(s) || !strcmp(cancel.states.items[i], "done"))
            return cli_usage(c, "tasks that are %s have finished",
                             cancel.states.items[i]);
    }
    return RC_OK;
}

/* The open tasks that --state and --name select. */
static int
select_tasks(struct cli *c, json_t **ids)
{
    static const struct arg_list open = {.items = {"open"}, .n = 1};
    json_t *states, *rows, *v;
    struct err e = {0};
    size_t i;
    int rc;

    task_ops_catch_up(c);
    rc = task_ops_states(c, cancel.states.n ? &cancel.states : &open, &states);
    if (rc)
        return rc;
    if (task_ops_list(c, json_pack("{s:o}", "states", states), 0, &rows, &e) <
        0)
        return cli_fail_err("list tasks", NULL, &e, "shunt status");
    *ids = json_array();
    json_array_foreach(rows, i, v)
    {
        if (!cancel.name ||
            fnmatch(cancel.name, cli_text(v, "name", ""), 0) == 0)
            (void)json_array_append_new(
                *ids, json_pack("{s:s, s:s, s:s}", "id", cli_text(v, "id", ""),
                                "name", cli_text(v, "name", ""), "state",
                                cli_text(v, "state", "")));
    }
    json_decref(rows);
    return RC_OK;
}

/* --- what became of them -------------------------------------------------- */

static enum fate
fate_of(const json_t *v)
{
    enum state s = cli_state(v);

    if (cli_bool(v, "over"))
        return FATE_BEFORE;
    if (!state_is_terminal(s))
        return FATE_OPEN;
    return s == STATE_CANCELLED ? FATE_CANCELLED : FATE_FIRST;
}

static void
print_sum(const struct cli *c, const size_t n[N_FATES])
{
    static const char *const texts[N_FATES] = {
        "cancelled", "had already finished", "ended first", "not ended yet"};
    struct str s = {0};

    if (cancel.no_wait)
        str_addf(&s, "%zu requested", n[FATE_OPEN]);
    else if (!n[FATE_CANCELLED] && !n[FATE_BEFORE] && !n[FATE_FIRST] &&
             !n[FATE_OPEN])
        str_addz(&s, "0 cancelled: no open task matches");
    for (size_t i = 0; i < N_FATES; i++)
        if (n[i] && (!cancel.no_wait || i == FATE_BEFORE))
            str_addf(&s, "%s%zu %s", s.len ? ", " : "", n[i], texts[i]);
    if (!c->json)
        (void)printf("%s\n", str_text(&s));
    str_free(&s);
}

/* The tasks that were not cancelled as they should have been. */
static void
say_exceptions(const struct cli *c, const json_t *ids)
{
    size_t i, n = 0;
    json_t *v;

    json_array_foreach(ids, i, v)
    {
        enum fate fate = fate_of(v);

        if (fate == FATE_CANCELLED || (fate == FATE_OPEN && cancel.no_wait) ||
            ++n > NAMED_MOST)
            continue;
        cli_say(c, "%s %s%s", cli_text(v, "id", ""),
                fate == FATE_OPEN     ? "has not ended yet: "
                : fate == FATE_BEFORE ? "had already finished: "
                                      : "ended before it could be cancelled: ",
                cli_text(v, "state", ""));
    }
    if (n > NAMED_MOST)
        cli_say(c, "and %zu more", n - NAMED_MOST);
}

/* The rows for --json. Asks the reaper about each of a few: it writes a task's
 * report before it answers. */
static void
print_rows(struct cli *c, const json_t *ids)
{
    bool few = json_array_size(ids) <= SHOWN_MOST;
    json_t *list = json_array(), *v, *task;
    struct err e = {0};
    size_t i;

    json_array_foreach(ids, i, v)
    {
        task = NULL;
        if (!few || cli_show(c, cli_text(v, "id", ""), &task, &e) < 0)
            task = json_copy(v);
        (void)json_object_del(task, "over");
        (void)json_object_del(task, "output");
        (void)json_object_set_new(task, "cancel",
                                  json_string(fates[fate_of(v)]));
        (void)json_array_append_new(list, task);
    }
    if (c->json)
        out_list("task", list);
    json_decref(list);
}

static int
print_fates(struct cli *c, const json_t *ids)
{
    size_t n[N_FATES] = {0}, i;
    json_t *v;

    json_array_foreach(ids, i, v)
    {
        n[fate_of(v)]++;
    }
    say_exceptions(c, ids);
    print_rows(c, ids);
    print_sum(c, n);
    if (n[FATE_FIRST])
        return RC_UNSUCCESSFUL;
    return n[FATE_OPEN] && !cancel.no_wait ? RC_PENDING : RC_OK;
}

/* What had ended when we came; not what was cancelled by us a moment before. */
static void
mark_over(json_t *ids, const json_t *asked)
{
    json_t *v;
    size_t i;

    json_array_foreach(ids, i, v)
    {
        if (state_is_terminal(cli_state(v)) &&
            !(cli_state(v) == STATE_CANCELLED &&
              json_object_get(asked, cli_text(v, "id", ""))))
            (void)json_object_set_new(v, "over", json_true());
    }
}

int
cmd_cancel(struct cli *c, const struct args *a)
{
    struct requests r = {.c = c};
    json_t *asked = NULL;
    struct err e = {0};
    int rc = check_usage(c, a);

    if (rc)
        return rc;
    if (cli_connect(c, CONNECT_MS, &e) < 0 && request_in_spool(c, a)) {
        cli_say(c, "%s: the requests are sent before the tasks", e.msg);
        return RC_PENDING;
    }
    if ((rc = cli_need_broker(c, 0)))
        return rc;
    cli_drain_spool(c);
    rc = request_unasked(c, a, &asked);
    if (!rc && filtered())
        rc = select_tasks(c, &r.ids);
    else if (!rc)
        rc = task_ops_resolve(c, a->words, a->n_words, "cancel", &r.ids);
    if (rc)
        goto out;
    mark_over(r.ids, asked);
    if (cancel.wait_ms < 0)
        cancel.wait_ms = CANCEL_MS + EACH_MS * (int64_t)json_array_size(r.ids);
    (void)task_ops_wait(c, r.ids, cancel.wait_ms, request_all, &r);
    rc = r.e.code == ERR_NONE
             ? print_fates(c, r.ids)
             : cli_fail_err("cancel", a->n_words ? a->words[0] : NULL, &r.e,
                            "shunt status");
out:
    json_decref(r.ids);
    json_decref(asked);
    return rc;
}
