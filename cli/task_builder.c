/*
 * Reads tasks from the command line or from files (gateways/formats), completes
 * and checks them, and sends them by way of the spool: they are durable on this
 * machine before the first is published.
 */
#include "cli/task_builder.h"

#include "cli/commands.h"
#include "cli/name_counter.h"
#include "cli/submit_env.h"
#include "cli/task_args.h"
#include "cli/task_ops.h"
#include "gateways/formats/formats.h"
#include "lib/base/nearest.h"
#include "lib/model/task_name.h"
#include "lib/os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ID_LEN = 16,        /* of ids made by task_new_id */
    CONNECT_MS = 300,   /* for a broker that is restarting */
    PATIENCE_MS = 5000, /* without any confirmation */
};

int
task_builder_read(const char *name, size_t cap, struct str *out, struct err *e)
{
    bool is_stdin = !strcmp(name, "-");
    int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : file_read_all(fd, cap, out);

    if (rc < 0 && errno == EFBIG)
        err_set(e, ERR_INVALID, "%s: larger than the %zu bytes allowed", name,
                cap);
    else if (rc < 0)
        err_set(e, ERR_INVALID, "%s: %s", name, strerror(errno));
    if (fd >= 0 && !is_stdin)
        (void)close(fd);
    return rc;
}

/* The length of the place (name:line:column) a message begins with, including
 * its colon and blank; 0 if there is none. */
static size_t
place_length(const char *name, const char *message)
{
    size_t len = strlen(name);

    if (strncmp(message, name, len) != 0 || message[len] != ':')
        return 0;
    len += 1 + strspn(message + len + 1, "0123456789:");
    return message[len] == ' ' ? len + 1 : 0;
}

void
task_builder_remark(const char *name, const char *word, const char *message)
{
    size_t len = place_length(name, message);
    struct str line = {0}, safe = {0};

    if (len > 0)
        str_add(&line, message, len);
    else
        str_addf(&line, "%s: ", name);
    str_addf(&line, "%s: %s\n", word, message + len);
    str_add_printable(&safe, line.data, line.len);
    (void)fflush(stdout);
    (void)fputs(str_text(&safe), stderr);
    str_free(&safe);
    str_free(&line);
}

/* Appends the tasks of one file. prompt: text in no known format is a prompt.
 */
static int
read_named(struct cli *c, const char *name, bool prompt, struct task_builder *b,
           struct err *e)
{
    /* The suffix .md makes text without front matter a prompt. */
    const char *as = prompt && !strcmp(name, "-") ? "stdin.md" : name;
    struct str text = {0};
    struct import in = {0};
    struct task *grown;
    char *path;
    int rc = -1;

    if (task_builder_read(name, FORMATS_MAX_BYTES, &text, e) < 0 ||
        formats_read(as, str_text(&text), text.len, c->pool, &in, e) < 0)
        goto out;
    for (size_t i = 0; i < in.n_warnings && !c->quiet; i++)
        task_builder_remark(name, "warning", in.warnings[i]);
    formats_link(&in, NULL, c->pool);
    path = strcmp(name, "-") ? realpath(name, NULL) : NULL;
    grown = mem_pool_alloc(c->pool, (b->n + in.n_tasks) * sizeof *grown);
    if (b->n)
        memcpy(grown, b->tasks, b->n * sizeof *grown);
    for (size_t i = 0; i < in.n_tasks; i++) {
        grown[b->n + i] = in.tasks[i];
        grown[b->n + i].source = "cli";
        if (path && !in.tasks[i].origin[0])
            grown[b->n + i].origin = mem_pool_strdup(c->pool, path);
    }
    b->tasks = grown;
    b->n += in.n_tasks;
    free(path);
    rc = 0;
out:
    str_free(&text);
    return rc;
}

static int
gather(struct cli *c, const struct args *a, struct task_builder *b,
       struct err *e)
{
    if (a->dashes) {
        b->tasks = mem_pool_alloc(c->pool, sizeof *b->tasks);
        b->n = 1;
        return task_args_new(b->tasks, c->pool, e) < 0
                   ? -1
                   : task_args_command(b->tasks, a->command, a->n_command,
                                       c->pool, e);
    }
    b->from_files = true;
    for (size_t i = 0; i < a->n_words; i++)
        if (read_named(c, a->words[i], false, b, e) < 0)
            return -1;
    return 0;
}

/* The hint for a word that is not the name of a file: it was probably meant as
 * a command. */
static const char *
hint(const struct cli *c, const char *word)
{
    return !strcmp(word, "-") || access(word, F_OK) == 0
               ? "shunt lint FILE"
               : mem_pool_printf(c->pool, "shunt %s -- %.200s", c->cmd->name,
                                 word);
}

/* Gives a task without a name one that tells what it does and when, by the
 * clock of this machine; one that is submitted shares it with no other. */
static void
name_task(struct cli *c, struct task *t, bool submitted)
{
    unsigned nth;

    if (*t->name)
        return;
    if (!*t->project)
        t->project = task_name_project(t, c->pool);
    t->name = task_name_make(t, TASK_NAME_LOCAL, c->pool, str_wall_ms());
    nth = submitted ? name_counter_next(&c->fleet_dir, t->name) : 1;
    if (nth > 1)
        t->name = mem_pool_printf(c->pool, "%s-%u", t->name, nth);
}

int
task_builder_tasks(struct cli *c, const struct args *a,
                   struct task_builder *out)
{
    struct err e = {0};

    memset(out, 0, sizeof *out);
    if (a->dashes && a->n_words)
        return cli_usage(
            c,
            "unexpected %s before --; give either files, or -- and a "
            "command",
            a->words[0]);
    if (!a->dashes && !a->n_words)
        return cli_usage(c, "a command after -- or a file is required");
    if (gather(c, a, out, &e) < 0)
        return cli_fail(RC_USAGE, "read the task", NULL, e.msg,
                        a->dashes ? NULL : hint(c, a->words[0]));
    for (size_t i = 0; i < out->n; i++) {
        if (task_args_apply(a, &out->tasks[i], c->pool, &e) < 0)
            return cli_usage(c, "%s", e.msg);
        if (submit_env_capture(c, &out->tasks[i], &e) < 0)
            return cli_fail_err("read the environment", NULL, &e,
                                "shunt submit --clean-env");
        name_task(c, &out->tasks[i], c->cmd->run != cmd_decide);
        task_complete(&out->tasks[i], c->pool, str_wall_ms());
        if (task_check(&out->tasks[i], &e) < 0)
            return cli_fail(RC_USAGE, "check the task", out->tasks[i].name,
                            e.msg, "shunt submit --help");
    }
    return RC_OK;
}

int
task_builder_prompts(struct cli *c, const struct args *a, size_t from,
                     struct task_builder *out)
{
    struct err e = {0};
    struct str prompt = {0};

    memset(out, 0, sizeof *out);
    if (a->dashes) {
        out->tasks = mem_pool_alloc(c->pool, sizeof *out->tasks);
        out->n = 1;
        for (size_t i = 0; i < a->n_command; i++)
            str_addf(&prompt, "%s%s", i ? " " : "", a->command[i]);
        if (task_args_new(out->tasks, c->pool, &e) < 0)
            return cli_fail(RC_USAGE, "read the prompt", NULL, e.msg, NULL);
        out->tasks->prompt = mem_pool_strdup(c->pool, str_text(&prompt));
        str_free(&prompt);
    }
    out->from_files = !a->dashes;
    for (size_t i = from; i < a->n_words; i++)
        if (read_named(c, a->words[i], true, out, &e) < 0)
            return cli_fail(RC_USAGE, "read the task", NULL, e.msg,
                            "shunt lint FILE");
    for (size_t i = 0; i < out->n; i++)
        if (!*out->tasks[i].prompt)
            return cli_fail(RC_USAGE, "delegate the task", out->tasks[i].name,
                            "it has no prompt; an AI platform runs no commands",
                            "shunt submit");
    return RC_OK;
}

/* Whether it is one of the tasks to be submitted now, or one that waits in the
 * spool. */
static bool
is_own(struct cli *c, const struct task_builder *b, const char *after)
{
    char id[TASK_ID_SIZE];

    for (size_t i = 0; i < b->n; i++)
        if (strcmp(b->tasks[i].id, after) == 0)
            return true;
    return task_ops_spooled(c, after, id);
}

/* The id of a task that is nearest to a misspelt one; "" if none is. */
static const char *
nearest_task(struct cli *c, const char *word)
{
    enum { LOOKED_AT = 200 };
    const char *found = "";
    size_t least = SIZE_MAX, i;
    json_t *rows = NULL, *v;
    struct err e = {0};

    if (task_ops_list(c, json_object(), LOOKED_AT, &rows, &e) < 0)
        return found;
    json_array_foreach(rows, i, v)
    {
        const char *id = cli_text(v, "id", "");

        if (nearest_is(word, id, &least))
            found = mem_pool_strdup(c->pool, id);
    }
    json_decref(rows);
    return found;
}

/* Replaces what was written by the task's id. An id is passed on as it is if
 * the ledger does not answer: it finds out later. */
static int
resolve_after(struct cli *c, const char **after, struct err *e)
{
    bool is_id = strlen(*after) == ID_LEN;
    char id[TASK_ID_SIZE];
    const char *near;

    if (cli_connect(c, is_id ? CONNECT_MS : 1000, e) == 0 &&
        cli_find(c, *after, id, NULL, e) == 0) {
        *after = mem_pool_strdup(c->pool, id);
        return 0;
    }
    if (is_id && e->code != ERR_NOT_FOUND)
        return 0;
    near = e->code == ERR_NOT_FOUND ? nearest_task(c, *after) : "";
    if (*near)
        return err_set(e, ERR_INVALID,
                       "--after %s: no such task; did you "
                       "mean %s?",
                       *after, near);
    return err_wrap(e, "--after %s", *after);
}

int
task_builder_resolve(struct cli *c, struct task_builder *b, struct err *e)
{
    const char *last = "", *found = "";

    for (size_t i = 0; i < b->n; i++) {
        struct task *t = &b->tasks[i];

        for (size_t j = 0; j < t->n_after; j++) {
            if (strcmp(t->after[j], last) != 0) { /* the same for all, mostly */
                found = last = t->after[j];
                if (!is_own(c, b, last) && resolve_after(c, &found, e) < 0)
                    return -1;
            }
            t->after[j] = found;
        }
    }
    return 0;
}

struct sent {
    bool done, ok;
    struct err *e;
};

static void
on_sent(void *ctx, const struct err *e)
{
    struct sent *s = ctx;

    s->done = true;
    s->ok = !e;
    if (e)
        *s->e = *e;
}

int
task_builder_send(struct cli *c, struct spool_file *f, int64_t patience_ms,
                  size_t *known, struct err *e)
{
    struct sent s = {.e = e};
    struct spool_sender *sender;

    err_set(e, ERR_TIMEOUT, "interrupted");
    sender = spool_send(f, c->bus, c->loop, patience_ms, on_sent, &s);
    (void)loop_until(c->loop, &s.done, -1);
    *known = spool_sender_duplicates(sender);
    spool_sender_free(sender);
    if (s.done && s.ok)
        spool_remove(f);
    return s.done && s.ok ? 0 : -1;
}

bool
task_builder_is_astray(const struct cli *c)
{
    static const char *const ways[] = {"SHUNT_HOME", "SHUNT_BUS_URL",
                                       "NATS_URL"};

    if (!getenv("SHUNT_TASK_ID") || c->nats)
        return false;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (getenv(ways[i]))
            return false;
    return true;
}

/* --- submitting ------------------------------------------------------------
 */

int
task_builder_spool(struct cli *c, const struct task *tasks, size_t n,
                   struct spool_file **out, struct err *e)
{
    struct spool_file *f = NULL;
    struct fleet_dir_path dir;
    size_t i;

    if (cli_make_spool(c, &dir, e) < 0 ||
        spool_create(&f, dir.s, tasks[0].id, e) < 0)
        return -1;
    for (i = 0; i < n; i++) {
        struct task t = tasks[i];

        if (submit_env_send_input(c, &t, e) < 0 ||
            submit_env_hide_secrets(c, &t, e) < 0 || spool_put(f, &t, e) < 0) {
            err_wrap(e, "task %s", t.name);
            break;
        }
    }
    if (i == n && spool_commit(f, e) == 0) {
        *out = f;
        return 0;
    }
    spool_close(f);
    return -1;
}

int
task_builder_submit(struct cli *c, struct task_builder *b,
                    struct submission *out)
{
    struct spool_file *f = NULL;
    struct err e = {0};
    int rc = RC_OK;

    *out = (struct submission){0};
    if (task_builder_is_astray(c))
        return cli_fail(
            RC_UNREACHABLE, "submit", b->tasks[0].name,
            mem_pool_printf(c->pool,
                            "within task %s, whose worker belongs to no fleet "
                            "of this machine; set SHUNT_HOME or NATS_URL",
                            getenv("SHUNT_TASK_ID")),
            NULL);
    if (task_builder_resolve(c, b, &e) < 0)
        return cli_fail_err("submit", b->tasks[0].name, &e, "shunt ls");
    if (task_builder_spool(c, b->tasks, b->n, &f, &e) < 0)
        return cli_fail(RC_FAILED, "submit", b->tasks[0].name, e.msg,
                        "shunt doctor");
    cli_remember_last(c, b->tasks[b->n - 1].id);
    out->spooled = cli_connect(c, CONNECT_MS, &e) < 0 ||
                   task_builder_send(c, f, PATIENCE_MS, &out->known, &e) < 0;
    if (out->spooled)
        (void)str_copy(out->why, sizeof out->why, e.msg);
    if (out->spooled)
        rc = task_builder_refused(c, f, b->tasks[0].name, &e);
    spool_close(f);
    return rc;
}

int
task_builder_refused(struct cli *c, struct spool_file *f, const char *name,
                     const struct err *e)
{
    bool denied = c->denied || e->code == ERR_DENIED;

    if (!denied && e->code != ERR_FULL)
        return RC_OK;
    spool_remove(f);
    if (denied)
        return cli_fail(RC_CREDENTIALS, "submit", name,
                        e->code == ERR_DENIED
                            ? e->msg
                            : "the broker does not let us publish tasks.in",
                        "shunt doctor");
    return cli_fail(
        RC_REFUSED, "submit", name,
        mem_pool_printf(c->pool, "the broker takes nothing more (%s)", e->msg),
        "shunt doctor, which shows how full its streams are");
}

void
task_builder_say_sent(struct cli *c, const struct task_builder *b,
                      const struct submission *s)
{
    if (s->spooled) {
        if (c->elsewhere)
            cli_say(c,
                    "spooled in %s: %s; the task is sent when a command "
                    "reaches that broker (shunt spool send)",
                    c->fleet_dir.path, s->why);
        else
            cli_say(c,
                    "spooled in %s: %s; the task is sent once that fleet is up "
                    "(shunt up -d)",
                    c->fleet_dir.path, s->why);
        return;
    }
    if (s->known)
        cli_say(c, "%zu of %zu were already submitted under the same id",
                s->known, b->n);
    cli_drain_spool(c);
}
