/*
 * submit: a task that is safe once this ends, broker or not.
 */
#include "cli/build.h"
#include "cli/commands.h"
#include "cli/out.h"

#include <stdio.h>
#include <string.h>

enum {
    CONNECT_MS = 300,   /* a broker that restarts is worth a moment */
    PATIENCE_MS = 5000, /* without any confirmation */
};

static json_t *
to_json(const struct task *t, bool spooled)
{
    return out_with_schema("task", json_pack("{s:s, s:s, s:s, s:s, s:b}", "id",
                                             t->id, "name", t->name, "state",
                                             "submitted", "command", t->command,
                                             "spooled", spooled));
}

static void
print_ids(const struct cli *c, const struct build *b, bool spooled)
{
    json_t *list;
    size_t i;

    if (!c->json) {
        for (i = 0; i < b->n; i++)
            (void)printf("%s\n", b->tasks[i].id);
        (void)fflush(stdout);
        return;
    }
    if (!b->from_files) {
        out_json(to_json(&b->tasks[0], spooled));
        return;
    }
    list = json_array();
    for (i = 0; i < b->n; i++)
        (void)json_array_append_new(list, to_json(&b->tasks[i], spooled));
    out_json(list);
}

/* Makes the tasks durable here. */
static int
spool(struct cli *c, const struct build *b, struct spool_file **out,
      struct err *e)
{
    struct home_path dir;
    size_t i;

    if (home_make(&c->home, e) < 0 ||
        spool_create(out, cli_spool_dir(c, &dir), b->tasks[0].id, e) < 0)
        return -1;
    for (i = 0; i < b->n; i++)
        if (spool_put(*out, &b->tasks[i], e) < 0)
            return err_wrap(e, "task %s", b->tasks[i].name);
    return spool_commit(*out, e);
}

int
cmd_submit(struct cli *c, const struct args *a)
{
    struct spool_file *f = NULL;
    struct build b;
    struct err e = {0};
    size_t known = 0;
    int rc = build_tasks(c, a, &b);

    if (rc)
        return rc;
    if (build_resolve(c, &b, &e) < 0)
        return cli_fail_err("submit", b.tasks[0].name, &e, "shunt ls");
    if (spool(c, &b, &f, &e) < 0) {
        spool_close(f);
        return cli_fail(RC_FAILED, "submit", b.tasks[0].name, e.msg,
                        "shunt doctor");
    }
    cli_remember_last(c, b.tasks[b.n - 1].id);
    if (cli_connect(c, CONNECT_MS, &e) < 0 ||
        build_send(c, f, PATIENCE_MS, &known, &e) < 0) {
        print_ids(c, &b, true);
        spool_close(f);
        cli_say(c,
                "spooled: %s; the task will be sent when the fleet is up "
                "(shunt up -d)",
                e.msg);
        return RC_OK;
    }
    spool_close(f);
    print_ids(c, &b, false);
    if (known)
        cli_say(c, "%zu of %zu had been submitted before under the same id",
                known, b.n);
    cli_drain_spool(c);
    return RC_OK;
}
