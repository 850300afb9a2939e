/*
 * The command submit: spools the tasks, sends them if the broker can be
 * reached, and prints their ids.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/submit_env.h"
#include "cli/task_builder.h"
#include "cli/task_ops.h"

#include <stdio.h>

enum { SAID_MAX = 3 }; /* tasks whose routing is told */

static json_t *
to_json(const struct task *t, bool spooled)
{
    return out_with_schema("task", json_pack("{s:s, s:s, s:s, s:s, s:b}", "id",
                                             t->id, "name", t->name, "state",
                                             "submitted", "command", t->command,
                                             "spooled", spooled));
}

static void
print_ids(struct cli *c, const struct task_builder *b, bool spooled)
{
    json_t *list = json_array();

    for (size_t i = 0; i < b->n; i++) {
        cli_note_submitted(c, b->tasks[i].id);
        if (!c->json)
            (void)printf("%s\n", b->tasks[i].id);
        (void)json_array_append_new(list, to_json(&b->tasks[i], spooled));
    }
    if (c->json)
        out_json(json_incref(b->from_files ? list : json_array_get(list, 0)));
    json_decref(list);
    (void)out_flush();
}

int
cmd_submit(struct cli *c, const struct args *a)
{
    struct submission sent;
    struct task_builder b;
    int rc = task_builder_tasks(c, a, &b);

    if (!rc && a->dashes)
        submit_env_note_stdin(c, &b.tasks[0]);
    if (!rc)
        rc = task_builder_submit(c, &b, &sent);
    if (rc)
        return rc;
    print_ids(c, &b, sent.spooled);
    task_builder_say_sent(c, &b, &sent);
    for (size_t i = 0; !sent.spooled && i < b.n && i < SAID_MAX; i++)
        task_ops_say_routing(c, b.tasks[i].id, true);
    return RC_OK;
}
