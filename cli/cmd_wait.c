/*
 * The commands wait and retry: both resolve selectors to tasks first; wait then
 * waits until those are terminal.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/task_builder.h"
#include "cli/task_ops.h"
#include "lib/base/mask.h"
#include "lib/model/codec.h"

#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 3000, PATIENCE_MS = 10000 };

static int64_t wait_ms = -1;

const struct arg_opt wait_opts[] = {
    {"timeout", 0, "TIME", "wait at most TIME (default: no limit)", ARG_MS,
     .to = &wait_ms},
    ARG_END,
};

/*
 * Prints id and state of each task. Asks the reaper about each once more: it
 * writes the task's report before it answers, and a caller that waited for a
 * task may read its report next.
 */
static void
print_ends(struct cli *c, const json_t *ids)
{
    json_t *list = json_array(), *v, *task;
    struct err e = {0};
    size_t i;

    json_array_foreach(ids, i, v)
    {
        task = NULL;
        if (cli_show(c, cli_text(v, "id", ""), &task, &e) < 0)
            task = json_incref(v);
        else /* the list would repeat the output of every task */
            (void)json_object_del(task, "output");
        if (!c->json)
            out_line("%s\t%s", cli_text(v, "id", ""), cli_text(v, "state", ""));
        (void)json_array_append_new(list, task);
    }
    if (c->json)
        out_list("task", list);
    json_decref(list);
}

int
cmd_wait(struct cli *c, const struct args *a)
{
    size_t open = 0, bad = 0, i;
    json_t *ids = NULL, *v;
    int rc;

    if (!a->n_words || a->dashes)
        return cli_usage(c, "at least one task or batch is required");
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc)
        return rc;
    cli_drain_spool(c);
    rc = task_ops_resolve(c, a->words, a->n_words, "wait", &ids);
    if (rc)
        return rc;
    (void)task_ops_wait(c, ids, wait_ms, NULL, NULL);
    json_array_foreach(ids, i, v)
    {
        open += !state_is_terminal(cli_state(v));
        bad +=
            state_is_terminal(cli_state(v)) && cli_state(v) != STATE_SUCCEEDED;
    }
    print_ends(c, ids);
    json_decref(ids);
    if (bad)
        return RC_UNSUCCESSFUL;
    return open ? RC_PENDING : RC_OK;
}

/* --- retry --------------------------------------------------------------- */

/* Values that the ledger does not have are secrets: they are named. */
static void
name_hidden(struct cli *c, struct task *t)
{
    const char **names =
        mem_pool_alloc(c->pool, (t->n_secret_env + t->n_env) * sizeof *names);
    size_t n = 0;

    if (t->n_secret_env)
        memcpy(names, t->secret_env, t->n_secret_env * sizeof *names);
    t->secret_env = names;
    for (size_t i = 0; i < t->n_env; i++)
        if (strcmp(t->env[i].value, MASK_TEXT) == 0)
            names[t->n_secret_env++] = t->env[i].key;
        else
            t->env[n++] = t->env[i];
    t->n_env = n;
}

/* The task of a selector as a new submission. */
static int
again(struct cli *c, const char *selector, struct task *t, struct err *e)
{
    json_t *shown = NULL, *reply = NULL;
    char old[TASK_ID_SIZE], *fresh;
    int rc = -1;

    if (cli_show(c, selector, &shown, e) < 0)
        return -1;
    (void)str_copy(old, sizeof old, cli_text(shown, "id", ""));
    if (!state_is_terminal(cli_state(shown))) {
        err_set(e, ERR_INVALID, "it has not finished yet (%s)",
                cli_text(shown, "state", "?"));
        goto out;
    }
    if (cli_ask(c, "submission", json_pack("{s:s}", "task", old), &reply, e) <
            0 ||
        codec_from_json(CODEC_TASK, json_object_get(reply, "task"), c->pool, t,
                        NULL, NULL, e) < 0)
        goto out;
    name_hidden(c, t);
    fresh = mem_pool_alloc(c->pool, TASK_ID_SIZE);
    task_new_id(fresh);
    t->id = fresh;
    t->retry_of = mem_pool_strdup(c->pool, old);
    t->submitter = cli_user(c->pool);
    t->submitted_at_ms = 0;
    t->not_before_ms = 0;
    t->n_after = 0;
    /* It is not part of the old batch, whose counts stay. */
    t->batch = NULL;
    task_complete(t, c->pool, str_wall_ms());
    rc = task_check(t, e);
out:
    json_decref(shown);
    json_decref(reply);
    return rc;
}

int
cmd_retry(struct cli *c, const struct args *a)
{
    struct spool_file *f = NULL;
    struct task *tasks;
    struct err e = {0};
    json_t *list;
    size_t i, known = 0;
    int rc;

    if (!a->n_words || a->dashes)
        return cli_usage(c, "at least one task is required");
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc)
        return rc;
    tasks = mem_pool_alloc(c->pool, a->n_words * sizeof *tasks);
    for (i = 0; i < a->n_words; i++)
        if (again(c, a->words[i], &tasks[i], &e) < 0)
            return cli_fail_lookup("retry the task", a->words[i], &e);
    if (task_builder_spool(c, tasks, a->n_words, &f, &e) < 0)
        return cli_fail(RC_FAILED, "retry the task", a->words[0], e.msg,
                        "shunt doctor");
    if (task_builder_send(c, f, PATIENCE_MS, &known, &e) < 0)
        cli_say(c, "spooled: %s; the tasks are sent once the broker is back",
                e.msg);
    spool_close(f);
    cli_remember_last(c, tasks[a->n_words - 1].id);
    list = json_array();
    for (i = 0; i < a->n_words; i++) {
        cli_note_submitted(c, tasks[i].id);
        if (!c->json)
            (void)printf("%s\n", tasks[i].id);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s}", "id", tasks[i].id, "name",
                            tasks[i].name, "state", "submitted", "retry_of",
                            tasks[i].retry_of));
    }
    if (c->json)
        out_list("task", list);
    json_decref(list);
    return RC_OK;
}
