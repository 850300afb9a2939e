/*
 * The commands run and logs: follow a task's output; run submits the task first
 * and ends with its exit code.
 */
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/submit_env.h"
#include "cli/task_builder.h"
#include "cli/task_ops.h"
#include "lib/model/task_state.h"
#include "lib/os/file.h"

#include <string.h>

enum { CONNECT_MS = 3000, PATIENCE_MS = 30000 };

static struct {
    bool follow, raw;
    int64_t attempt;
} logs;

const struct arg_opt logs_opts[] = {
    {"follow", 'f', NULL, "follow the output until the task has finished",
     ARG_SWITCH, .to = &logs.follow},
    {"attempt", 0, "N", "print the output of attempt N (default: the newest)",
     ARG_NUMBER, &logs.attempt, .least = 1, .most = 1000000},
    {"raw", 0, NULL,
     "print to a terminal all that the task wrote, not only text and colours",
     ARG_SWITCH, .to = &logs.raw},
    ARG_END,
};

const struct arg_opt run_opts[] = {
    {"raw", 0, NULL,
     "print to a terminal all that the task writes, not only text and colours",
     ARG_SWITCH, .to = &logs.raw},
    ARG_END,
};

/* "exit code 7", or nothing at all. */
static bool
repeats_exit_code(const char *reason)
{
    static const char words[] = "exit code ";
    size_t len = strlen(words);

    if (strncmp(reason, words, len) != 0)
        return !*reason;
    return !reason[len + strspn(reason + len, "0123456789")];
}

/* Prints warnings, and the outcome, unless the task succeeded or its exit code
 * tells all. */
static void
say_end(const struct cli *c, const char *id, const struct result *end)
{
    for (size_t i = 0; i < end->n_warnings; i++)
        cli_say(c, "%s warning: %s", id, end->warnings[i]);
    if (end->state == STATE_SUCCEEDED)
        return;
    if (end->state == STATE_FAILED && end->exit_code &&
        repeats_exit_code(end->reason))
        return;
    cli_say(c, "%s %s%s%s", id, state_name(end->state),
            end->reason[0] ? ": " : "", end->reason);
}

/*
 * The reaper writes the task's report before it answers: whoever asked for one
 * finds it when run ends. Says where it is, if that is not where it was to be,
 * or why it could not be written.
 */
static void
await_report(struct cli *c, const struct task *t)
{
    json_t *shown = NULL;
    struct err e = {0};
    const char *path, *why;
    bool taken;

    if (!*t->report_path || cli_show(c, t->id, &shown, &e) < 0)
        return;
    taken = file_exists(
        mem_pool_printf(c->pool, "%s/%s", t->workdir, t->report_path));
    path = cli_text(shown, "report", "");
    why = cli_text(shown, "report_error", "");
    if (*why)
        cli_say(c, "the report is not written yet: %s", why);
    else if (*path && !str_ends_with(path, t->report_path))
        cli_say(c,
                taken ? "the report is in %s: what is at %s is not a report "
                        "of this task"
                      : "the report is in %s: files at %s become tasks",
                path, t->report_path);
    json_decref(shown);
}

/* Spools the task and sends it; if that fails it stays in the spool. */
static int
send_task(struct cli *c, const struct task *t)
{
    struct spool_file *f = NULL;
    struct err e = {0};
    size_t known = 0;
    int rc = RC_OK;

    if (task_builder_spool(c, t, 1, &f, &e) < 0) {
        rc = cli_fail(RC_OUR_SIDE, "submit", t->name, e.msg, "shunt doctor");
    } else if (task_builder_send(c, f, PATIENCE_MS, &known, &e) < 0) {
        rc = task_builder_refused(c, f, t->name, &e);
        if (!rc) {
            cli_say(c, "%s is spooled, and is sent once the broker is back",
                    t->id);
            rc = cli_fail(RC_UNREACHABLE, "submit", t->id, e.msg,
                          "shunt status");
        }
    } else {
        cli_remember_last(c, t->id);
    }
    spool_close(f);
    return rc;
}

int
cmd_run(struct cli *c, const struct args *a)
{
    struct follow *f = NULL;
    const struct result *end;
    struct task_builder b;
    struct err e = {0};
    int rc;

    if (!a->dashes)
        return cli_usage(c, "a command is required after --");
    rc = task_builder_tasks(c, a, &b);
    if (rc)
        return rc;
    submit_env_note_stdin(c, &b.tasks[0]);
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc)
        return rc;
    if (task_builder_resolve(c, &b, &e) < 0)
        return cli_fail_err("run the task", b.tasks[0].name, &e, "shunt ls");
    if (follow_open(&f, c, b.tasks[0].id, &e) < 0)
        return cli_fail_err("run the task", b.tasks[0].id, &e, "shunt status");
    if (logs.raw)
        follow_raw(f);
    rc = send_task(c, &b.tasks[0]);
    if (!rc) {
        follow_on_interrupt(f, true);
        task_ops_say_routing(c, b.tasks[0].id, false);
        end = follow_to_end(f);
        if (end && follow_output_rc(f) == RC_PIPE) {
            rc = RC_PIPE; /* quietly, as any program in a pipe */
        } else if (end) {
            say_end(c, b.tasks[0].id, end);
            rc = follow_rc(f, end);
            await_report(c, &b.tasks[0]);
            cli_drain_spool(c);
        } else {
            cli_say(c, "%s continues; follow it with shunt logs -f %s",
                    b.tasks[0].id, b.tasks[0].id);
            rc = RC_INTERRUPTED;
        }
    }
    follow_close(f);
    return rc;
}

int
cmd_logs(struct cli *c, const struct args *a)
{
    struct follow *f = NULL;
    const struct result *end;
    struct err e = {0};
    json_t *task = NULL;
    const char *id;
    int rc;

    if (a->n_words != 1 || a->dashes)
        return cli_usage(c, "one task is required: an id or its beginning, a "
                            "name, or last");
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc)
        return rc;
    if (cli_show(c, a->words[0], &task, &e) < 0)
        return cli_fail_lookup("read the output", a->words[0], &e);
    id = cli_text(task, "id", "");
    rc = follow_open(&f, c, id, &e);
    if (rc == 0 && logs.raw)
        follow_raw(f);
    if (rc < 0 || follow_print(f, task, (uint32_t)logs.attempt, &e) < 0) {
        rc = cli_fail_err("read the output", id, &e, "shunt status");
    } else if (logs.follow && !state_is_terminal(cli_state(task))) {
        follow_on_interrupt(f, false);
        end = follow_to_end(f);
        if (end && follow_output_rc(f) != RC_PIPE)
            say_end(c, id, end);
        else
            rc = RC_INTERRUPTED;
    }
    if (!rc || rc == RC_INTERRUPTED)
        rc = follow_output_rc(f) ? follow_output_rc(f) : rc;
    follow_close(f);
    json_decref(task);
    return rc;
}
