/*
 * The command rally: writes one task for each line of stdin to a spool file,
 * sends it and follows the batch. Progress comes from batch.<id>, whose
 * messages may be lost, and from the reaper, which is polled.
 */
#include "cli/commands.h"
#include "cli/line_template.h"
#include "cli/output.h"
#include "cli/submit_env.h"
#include "cli/task_args.h"
#include "cli/task_builder.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    CONNECT_MS = 3000,
    PATIENCE_MS = 60000,
    REDRAW_MS = 100,
    POLL_MS = 1000,
    REPORT_MS = 1500, /* for the report to be written */
    LINES_MAX = 1000000,
    NAMED_MAX = 20, /* failed tasks listed at the end */
};
static const size_t INPUT_MAX = (size_t)256 * 1024 * 1024;

static struct {
    const char *each_line;
    bool no_wait;
} flags;

const struct arg_opt rally_opts[] = {
    {"each-line", 0, "COMMAND",
     "command of each task; {} is replaced by the line", ARG_TEXT,
     .to = &flags.each_line},
    {"no-wait", 0, NULL, "print the batch's id and return at once", ARG_SWITCH,
     .to = &flags.no_wait},
    ARG_END,
};

struct rally_run {
    struct cli *c;
    struct task base; /* the fields all tasks share */
    struct batch_ref ref;
    struct line_template *command;
    char id[TASK_ID_SIZE];
    struct batch seen; /* newest counts */
    struct bus_sub *batch_sub;
    struct spool_file *file;
    struct spool_sender *sender;
    struct loop_timer *redraw, *poll;
    int64_t began_ms;
    unsigned printed; /* tenths done, without a terminal */
    bool sent, finished, left, asking;
    struct err failure;
};

/* --- making the tasks ---------------------------------------------------- */

/* The next line that is not empty, without its line break; false at the end. */
static bool
next_line(struct str *input, size_t *at, size_t *number, char **line)
{
    char *end;
    size_t len;

    while (*at < input->len) {
        *line = input->data + *at;
        end = memchr(*line, '\n', input->len - *at);
        len = end ? (size_t)(end - *line) : input->len - *at;
        *at += len + 1;
        ++*number;
        if (len && (*line)[len - 1] == '\r')
            len--;
        if (!len)
            continue;
        (*line)[len] = '\0'; /* over the line's end, or str's own NUL */
        return true;
    }
    return false;
}

static int
count_lines(const struct str *input, size_t *count, struct err *e)
{
    size_t at = 0, number = 0, len, bad = 0;
    struct str clean = {0};
    const char *p, *end;

    if (memchr(input->data, '\0', input->len))
        return err_set(e, ERR_INVALID, "stdin holds NUL bytes");
    for (*count = 0; at < input->len && !bad; at += len + 1) {
        p = input->data + at;
        end = memchr(p, '\n', input->len - at);
        len = end ? (size_t)(end - p) : input->len - at;
        number++;
        str_reset(&clean);
        str_add_utf8(&clean, p, len);
        if (clean.len != len || memcmp(str_text(&clean), p, len) != 0)
            bad = number;
        *count += len && !(len == 1 && *p == '\r');
    }
    str_free(&clean);
    if (bad)
        return err_set(e, ERR_INVALID, "line %zu is not UTF-8", bad);
    if (!*count)
        return err_set(e, ERR_INVALID, "stdin has no lines");
    return *count <= LINES_MAX
               ? 0
               : err_set(e, ERR_INVALID, "%zu lines; at most %d are allowed",
                         *count, LINES_MAX);
}

/* Fills base and the batch from the flags. */
static int
make_base(struct rally_run *r, const struct args *a, size_t count,
          struct err *e)
{
    char *word = mem_pool_strdup(r->c->pool, flags.each_line);

    if (line_template_parse(word, r->c->pool, &r->command, e) < 0)
        return err_wrap(e, "--each-line");
    if (task_args_new(&r->base, r->c->pool, e) < 0 ||
        task_args_command(&r->base, &word, 1, r->c->pool, e) < 0 ||
        task_args_apply(a, &r->base, r->c->pool, e) < 0)
        return -1;
    if (submit_env_capture(r->c, &r->base, e) < 0)
        return -1;
    task_complete(&r->base, r->c->pool, str_wall_ms());
    task_new_id(r->id);
    r->ref = (struct batch_ref){.id = r->id,
                                .name = r->base.name,
                                .size = (uint32_t)count,
                                .branch = ""};
    r->base.batch = &r->ref;
    r->base.format = "each-line";
    r->seen.size = (uint32_t)count;
    return task_check(&r->base, e);
}

/* A copy without its secrets, which have a file for each task. */
static int
put_task(struct rally_run *r, struct spool_file *f, const struct task *t,
         struct err *e)
{
    struct task copy = *t;

    if (submit_env_hide_secrets(r->c, &copy, e) < 0)
        return -1;
    return spool_put(f, &copy, e);
}

static int
put_tasks(struct rally_run *r, struct str *input, struct spool_file *f,
          struct err *e)
{
    struct task t = r->base;
    struct step step = *r->base.steps;
    struct str script = {0}, name = {0};
    char id[TASK_ID_SIZE], *line;
    size_t at = 0, number = 0;
    int rc = 0;

    t.env = mem_zero(r->base.n_env + 1, sizeof *t.env);
    for (size_t i = 0; i < r->base.n_env; i++)
        t.env[i] = r->base.env[i];
    t.steps = &step;
    t.id = id;
    while (rc == 0 && next_line(input, &at, &number, &line)) {
        str_reset(&script);
        str_reset(&name);
        line_template_add(r->command, line, &script);
        t.env[r->base.n_env] = (struct key_value){LINE_TEMPLATE_VARIABLE, line};
        t.n_env = r->base.n_env + 1;
        r->ref.index++;
        str_addf(&name, "%s-%" PRIu32, r->base.name, r->ref.index);
        task_new_id(id);
        step.script = t.command = str_text(&script);
        t.name = str_text(&name);
        if (r->ref.index == 1)
            rc = task_check(&t, e);
        if (rc == 0)
            rc = put_task(r, f, &t, e);
        if (rc < 0)
            err_wrap(e, "line %zu", number);
    }
    mem_free(t.env);
    str_free(&script);
    str_free(&name);
    return rc;
}

/* Reads stdin into a durable spool file. */
static int
prepare(struct rally_run *r, const struct args *a, struct spool_file **f,
        struct err *e)
{
    struct str input = {0};
    struct fleet_dir_path dir;
    size_t count = 0;
    int rc = -1;

    if (task_builder_read("-", INPUT_MAX, &input, e) < 0)
        goto out;
    str_addz(&input, ""); /* data is there, even of nothing */
    if (!input.len) {
        err_set(e, ERR_INVALID, "stdin is empty");
        goto out;
    }
    if (count_lines(&input, &count, e) < 0 || make_base(r, a, count, e) < 0 ||
        cli_make_spool(r->c, &dir, e) < 0 ||
        spool_create(f, dir.s, r->id, e) < 0 ||
        put_tasks(r, &input, *f, e) < 0 || spool_commit(*f, e) < 0)
        goto out;
    rc = 0;
out:
    str_free(&input);
    return rc;
}

/* --- following ----------------------------------------------------------- */

static uint32_t
ended(const struct batch *b)
{
    return b->succeeded + b->failed + b->cancelled;
}

static void
take_counts(struct rally_run *r, const struct batch *b)
{
    struct batch *s = &r->seen;

    if (ended(b) < ended(s))
        return; /* older than the counts known */
    s->accepted = b->accepted > s->accepted ? b->accepted : s->accepted;
    s->succeeded = b->succeeded;
    s->failed = b->failed;
    s->cancelled = b->cancelled;
    if (ended(s) >= s->size)
        r->finished = true;
}

static void
on_batch(void *ctx, const struct bus_note *note)
{
    struct rally_run *r = ctx;
    struct mem_pool *pool = mem_pool_new();
    struct batch b;
    struct err e = {0};

    if (codec_decode(CODEC_BATCH, note->data, note->len, pool, &b, &e) == 0 &&
        !strcmp(b.id, r->id))
        take_counts(r, &b);
    mem_pool_free(pool);
}

static void
on_answer(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct rally_run *r = ctx;
    struct mem_pool *pool;
    struct err bad = {0};
    struct batch b;
    json_t *v;

    r->asking = false;
    if (e)
        return;
    pool = mem_pool_new();
    v = codec_parse_json("the reaper's answer", note->data, note->len, &bad);
    if (v && codec_from_json(CODEC_BATCH, json_object_get(v, "batch"), pool, &b,
                             NULL, NULL, &bad) == 0)
        take_counts(r, &b);
    json_decref(v);
    mem_pool_free(pool);
}

static void
poll_reaper(void *ctx)
{
    struct rally_run *r = ctx;
    char subject[SUBJECT_SIZE], text[TASK_ID_SIZE + 16];

    if (r->asking || !bus_is_up(r->c->bus))
        return;
    (void)snprintf(text, sizeof text, "{\"batch\":\"%s\"}", r->id);
    r->asking = true;
    bus_request(r->c->bus, subject_ask(subject, "batch"), text, strlen(text),
                5000, on_answer, r);
}

static void
draw(void *ctx)
{
    struct rally_run *r = ctx;
    uint32_t done = ended(&r->seen), size = r->seen.size;
    int64_t took = loop_now_ms() - r->began_ms;
    double rate = took > 0 ? done * 1000.0 / (double)took : 0;
    char line[256], eta[32] = "-";
    unsigned tenth = (unsigned)((uint64_t)done * 10 / size);

    if (r->c->quiet)
        return;
    if (rate > 0)
        (void)str_duration((uint64_t)((size - done) / rate * 1000), eta,
                           sizeof eta);
    if (!r->sent && r->sender)
        (void)snprintf(line, sizeof line,
                       "%u/%u done, %u failed, %zu sent, %.0f/s", done, size,
                       r->seen.failed, spool_sender_stored(r->sender), rate);
    else
        (void)snprintf(line, sizeof line,
                       "%u/%u done, %u failed, %.0f/s, %s left", done, size,
                       r->seen.failed, rate, eta);
    if (out_can_progress())
        out_progress(line);
    else if (tenth > r->printed)
        cli_say(r->c, "%s", line);
    r->printed = tenth;
}

static void
on_sent(void *ctx, const struct err *e)
{
    struct rally_run *r = ctx;

    r->sent = true;
    if (e) {
        r->failure = *e;
        r->finished = true;
    } else {
        spool_remove(r->file); /* the broker has stored it */
    }
}

static void
on_term(void *ctx, int nth)
{
    struct rally_run *r = ctx;

    if (nth > 1)
        return;
    out_progress("");
    cli_say(r->c,
            "the tasks continue; see shunt rally status %s, shunt wait %s, "
            "shunt cancel %s",
            r->id, r->id, r->id);
    r->left = true;
    loop_stop(r->c->loop, 0);
}

static void
stop_following(struct rally_run *r)
{
    out_progress("");
    loop_timer_stop(r->redraw);
    loop_timer_stop(r->poll);
    bus_unsubscribe(r->batch_sub);
    bus_forget(r->c->bus, r);
    loop_on_term(r->c->loop, NULL, NULL);
}

/* --- the end ------------------------------------------------------------- */

static void
print_failed(json_t *rows)
{
    static const struct out_column columns[] = {
        {"FAILED", "id", NULL, 0, false},
        {"NAME", "name", NULL, 1, false},
        {"STATE", "state", NULL, 0, true},
        {"EXIT", "exit_code", NULL, 3, false},
        {"COMMAND", "command", NULL, 2, false},
    };

    while (json_array_size(rows) > NAMED_MAX)
        (void)json_array_remove(rows, NAMED_MAX);
    if (json_array_size(rows))
        OUT_TABLE(rows, columns);
}

static void
print_batch(struct cli *c, const json_t *reply, int64_t took_ms)
{
    const json_t *b = json_object_get(reply, "batch");
    const char *written = cli_text(reply, "report", "");
    json_t *o;
    char took[32] = "";
    struct str sum = {0};
    int64_t size = cli_int(b, "size", 0), ok = cli_int(b, "succeeded", 0),
            bad = cli_int(b, "failed", 0), gone = cli_int(b, "cancelled", 0);
    int64_t open = size - ok - bad - gone;

    if (c->json) {
        o = json_pack("{s:I, s:I, s:I, s:b}", "succeeded", (json_int_t)ok,
                      "failed", (json_int_t)bad, "cancelled", (json_int_t)gone,
                      "done", !open);
        (void)json_object_update_missing(o, (json_t *)(uintptr_t)b);
        (void)json_object_update_new(
            o, json_pack("{s:O*, s:s*, s:o*}", "failed_tasks",
                         json_object_get(reply, "failed"), "report",
                         *written ? written : NULL, "wall_ms",
                         took_ms ? json_integer(took_ms) : NULL));
        out_object("batch", o);
        return;
    }
    str_addf(&sum,
             "%" PRId64 " tasks, %" PRId64 " succeeded, %" PRId64
             " failed, %" PRId64 " cancelled",
             size, ok, bad, gone);
    if (open)
        str_addf(&sum, ", %" PRId64 " open", open);
    if (took_ms)
        str_addf(&sum, ", in %s (%.0f/s)",
                 str_duration((uint64_t)took_ms, took, sizeof took),
                 (double)size * 1000.0 / (double)took_ms);
    out_line("rally %s (%s): %s", cli_text(b, "name", ""),
             cli_text(b, "id", ""), str_text(&sum));
    str_free(&sum);
    if (*written)
        out_line("report %s", written);
    print_failed(json_object_get(reply, "failed"));
}

static int
ask_batch(struct cli *c, const char *selector, json_t **reply)
{
    struct err e = {0};

    if (cli_ask(c, "batch", json_pack("{s:s}", "batch", selector), reply, &e) <
        0)
        return cli_fail_lookup("find the batch", selector, &e);
    return RC_OK;
}

static int
summary(struct rally_run *r)
{
    int64_t took = loop_now_ms() - r->began_ms;
    int64_t until = loop_now_ms() + REPORT_MS;
    json_t *reply = NULL;
    int rc;

    for (;;) {
        rc = ask_batch(r->c, r->id, &reply);
        if (rc)
            return rc;
        if (cli_text(reply, "report", "")[0] || loop_now_ms() > until)
            break;
        json_decref(reply);
        reply = NULL;
        cli_pause(r->c, 100);
    }
    print_batch(r->c, reply, took ? took : 1);
    json_decref(reply);
    return r->seen.succeeded == r->seen.size ? RC_OK : RC_UNSUCCESSFUL;
}

/* --- the command --------------------------------------------------------- */

static int
follow(struct rally_run *r, struct spool_file *f)
{
    const int64_t forever = -1;
    char subject[SUBJECT_SIZE];
    struct err e = {0};

    if (bus_subscribe(r->c->bus, subject_batch(subject, r->id), on_batch, r,
                      &r->batch_sub, &e) < 0)
        return cli_fail_err("rally", r->id, &e, "shunt status");
    loop_on_term(r->c->loop, on_term, r);
    r->began_ms = loop_now_ms();
    r->file = f;
    r->sender = spool_send(f, r->c->bus, r->c->loop, PATIENCE_MS, on_sent, r);
    r->redraw = loop_timer_start(r->c->loop, REDRAW_MS, REDRAW_MS, draw, r);
    r->poll = loop_timer_start(r->c->loop, POLL_MS, POLL_MS, poll_reaper, r);
    while (!r->finished && !r->left)
        (void)loop_until(r->c->loop, &r->finished, forever);
    stop_following(r);
    spool_sender_free(r->sender);
    if (r->failure.code != ERR_NONE)
        return cli_fail_err(
            "submit the rally", r->id, &r->failure,
            "shunt status (tasks that were not sent are spooled)");
    return r->left ? RC_INTERRUPTED : summary(r);
}

static int
send_only(struct rally_run *r, struct spool_file *f)
{
    struct err e = {0};
    size_t known = 0;
    int rc;

    if (cli_connect(r->c, CONNECT_MS, &e) < 0 ||
        task_builder_send(r->c, f, PATIENCE_MS, &known, &e) < 0) {
        rc = task_builder_refused(r->c, f, r->base.name, &e);
        if (rc)
            return rc;
        cli_say(r->c,
                "spooled: %s; the tasks are sent once the fleet is up "
                "(shunt up -d)",
                e.msg);
    }
    cli_note_submitted(r->c, r->id);
    if (r->c->json)
        out_object("batch", json_pack("{s:s, s:s, s:i}", "id", r->id, "name",
                                      r->base.name, "size", (int)r->seen.size));
    else
        (void)printf("%s\n", r->id);
    return RC_OK;
}

static int
rally_status(struct cli *c, const char *selector)
{
    json_t *reply = NULL;
    int rc = cli_need_broker(c, CONNECT_MS);

    if (!rc)
        rc = ask_batch(c, selector, &reply);
    if (rc)
        return rc;
    print_batch(c, reply, 0);
    json_decref(reply);
    return RC_OK;
}

int
cmd_rally(struct cli *c, const struct args *a)
{
    struct rally_run r = {.c = c};
    struct spool_file *f = NULL;
    struct err e = {0};
    int rc;

    if (a->n_words && !strcmp(a->words[0], "status") && a->n_words <= 2)
        return rally_status(c, a->n_words == 2 ? a->words[1] : "last");
    if (a->n_words || a->dashes || !flags.each_line)
        return cli_usage(c, "--each-line 'COMMAND {}' and lines on stdin are "
                            "required");
    if (isatty(STDIN_FILENO))
        cli_say(c, "reading lines from the terminal; ^D ends the input");
    if (!flags.no_wait) {
        rc = cli_need_broker(c, CONNECT_MS);
        if (rc)
            return rc;
    }
    codec_init(CODEC_BATCH, &r.seen);
    if (prepare(&r, a, &f, &e) < 0) {
        spool_close(f);
        return cli_fail(e.code == ERR_INVALID ? RC_USAGE : RC_FAILED, "rally",
                        NULL, e.msg, "shunt rally --help");
    }
    if (!flags.no_wait)
        cli_say(c, "rally %s (%s): %u tasks", r.base.name, r.id, r.seen.size);
    rc = flags.no_wait ? send_only(&r, f) : follow(&r, f);
    spool_close(f);
    return rc;
}
