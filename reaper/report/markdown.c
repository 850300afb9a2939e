/*
 * Renders the report of a task as Markdown, or as plain text: a list of facts,
 * the steps, the attempts, and the output.
 *
 * Text from outside is escaped: it stays on its line, ends no table cell, and
 * no fence in the output ends the report's own.
 */
#include "reaper/report/report_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
report_add_text(struct str *out, const char *text)
{
    struct str clean = {0};

    str_add_printable(&clean, text, strlen(text));
    for (size_t i = 0; i < clean.len; i++) {
        char c = clean.data[i];

        if (c == '\n' || c == '\t')
            c = ' ';
        if (strchr("\\|<>`*_[]#~", c))
            str_addc(out, '\\');
        str_addc(out, c);
    }
    str_free(&clean);
}

void
report_add_mark(bool batch, const char *id, const char *name, bool markdown,
                struct str *out)
{
    struct report_mark m;

    report_mark_init(&m, batch, id, name);
    if (markdown)
        str_addz(out, "<!-- ");
    report_mark_add(&m, out);
    if (markdown)
        str_addz(out, "-->\n");
}

/* The longest run of backticks in text. */
static size_t
longest_run(const struct str *text)
{
    size_t most = 0, run = 0;

    for (size_t i = 0; i < text->len; i++) {
        run = text->data[i] == '`' ? run + 1 : 0;
        if (run > most)
            most = run;
    }
    return most;
}

/* A fenced block that nothing inside can end. */
static void
add_fenced(struct str *out, const char *info, const struct str *text)
{
    size_t ticks = longest_run(text) + 1;

    if (ticks < 3)
        ticks = 3;
    for (size_t i = 0; i < ticks; i++)
        str_addc(out, '`');
    str_addf(out, "%s\n", info);
    str_add(out, str_text(text), text->len);
    if (text->len && text->data[text->len - 1] != '\n')
        str_addc(out, '\n');
    for (size_t i = 0; i < ticks; i++)
        str_addc(out, '`');
    str_addz(out, "\n\n");
}

/* The facts of the head, in both forms. */
struct report_facts {
    struct str *out;
    bool markdown;
};

static void
fact(struct report_facts *f, const char *label, const char *text)
{
    if (!*text)
        return;
    if (f->markdown) {
        str_addf(f->out, "| %s | ", label);
        report_add_text(f->out, text);
        str_addz(f->out, " |\n");
        return;
    }
    str_addf(f->out, "%s: ", label);
    /* A newline would make what follows look like a fact of ours. */
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");

        str_add_printable(f->out, p, len);
        p += len;
        if (*p == '\n') {
            str_addc(f->out, ' ');
            p++;
        }
    }
    str_addc(f->out, '\n');
}

static void
fact_time(struct report_facts *f, const char *label, int64_t at_ms)
{
    char text[32];

    fact(f, label, str_time(at_ms, text, sizeof text));
}

static void __attribute__((format(printf, 3, 4)))
factf(struct report_facts *f, const char *label, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fact(f, label, text);
}

/* What a service says of the work it did. */
static void
add_service(const struct result *r, struct report_facts *f)
{
    char text[64];

    fact(f, "Provider", r->provider);
    fact(f, "Model", r->model);
    fact(f, "Job", r->remote_id);
    if (*r->cost_usd)
        factf(f, "Cost (USD)", "%s%s", r->cost_usd,
              r->cost_estimated ? " (estimated)" : "");
    if (r->queue_ms)
        fact(f, "Queued there", str_duration(r->queue_ms, text, sizeof text));
    if (r->run_ms)
        fact(f, "Ran there", str_duration(r->run_ms, text, sizeof text));
    if (r->input_tokens || r->output_tokens)
        factf(f, "Tokens", "%" PRIu64 " in, %" PRIu64 " out", r->input_tokens,
              r->output_tokens);
}

static void
add_facts(const struct report_task *t, struct report_facts *f)
{
    const struct task_state *r = t->row;
    char text[64];

    fact(f, "Task", r->id);
    fact(f, "State", state_name(r->state));
    if (fold_has_exit_code(r))
        factf(f, "Exit code", "%" PRId32, r->exit_code);
    fact(f, "Reason", r->reason);
    for (size_t i = 0; t->task && i < t->task->n_warnings; i++)
        fact(f, "Warning", t->task->warnings[i]);
    for (size_t i = 0; t->outcome && i < t->outcome->n_warnings; i++)
        fact(f, "Warning", t->outcome->warnings[i]);
    if (*r->backend)
        factf(f, "Where", "%s.%s%s%s", r->backend, r->lane,
              *r->worker ? ", worker " : "", r->worker);
    if (t->decision)
        factf(f, "Why", "%s: %.400s", t->decision->rule, t->decision->reason);
    fact_time(f, "Submitted", r->submitted_at_ms);
    fact_time(f, "Started", r->started_at_ms);
    fact_time(f, "Finished", r->finished_at_ms);
    if (r->started_at_ms && r->finished_at_ms >= r->started_at_ms)
        fact(f, "Duration",
             str_duration((uint64_t)(r->finished_at_ms - r->started_at_ms),
                          text, sizeof text));
    factf(f, "Attempts", "%" PRIu32, r->attempts);
    if (r->failed_step)
        factf(f, "Failed step", "%" PRIu32, r->failed_step);
    if (r->cancel_at_ms)
        factf(f, "Cancel requested by", "%s%s%s", r->cancel_by,
              *r->cancel_reason ? ": " : "", r->cancel_reason);
    if (t->task) {
        fact(f, "Submitter", t->task->submitter);
        fact(f, "Origin", t->task->origin);
        fact(f, "Working directory", t->task->workdir);
        fact(f, "Definition of done", t->task->dod);
    }
    if (t->outcome)
        add_service(t->outcome, f);
}

static const char *const kind_names[] = {
    [STEP_UNSPECIFIED] = "shell", [STEP_SHELL] = "shell",
    [STEP_ARGV] = "argv",         [STEP_PYTHON] = "python",
    [STEP_MAKE] = "make",         [STEP_KUBECTL] = "kubectl",
};

static void
step_text(const struct step *s, struct str *out)
{
    struct str raw = {0};

    str_addz(&raw, s->script);
    for (size_t i = 0; i < s->n_argv; i++) {
        if (raw.len)
            str_addc(&raw, ' ');
        str_add_quoted(&raw, s->argv[i]);
    }
    str_add_printable(out, str_text(&raw), raw.len);
    str_free(&raw);
}

static void
add_steps(const struct task *t, uint32_t failed, struct str *out)
{
    struct str text = {0};

    str_addz(out, *t->prompt ? "## Prompt\n\n" : "## Steps\n\n");
    if (*t->prompt) {
        str_add_printable(&text, t->prompt, strlen(t->prompt));
        add_fenced(out, "text", &text);
    }
    for (size_t i = 0; i < t->n_steps; i++) {
        const struct step *s = &t->steps[i];

        str_addf(out, "%zu. %s", i + 1, kind_names[s->kind]);
        if (*s->name) {
            str_addz(out, " ");
            report_add_text(out, s->name);
        }
        str_addz(out, failed == i + 1 ? " (failed)\n\n" : "\n\n");
        str_reset(&text);
        step_text(s, &text);
        add_fenced(out, "", &text);
    }
    str_free(&text);
}

/* Both streams as they came, escaped. */
static void
output_text(const struct result *r, struct str *out)
{
    struct str raw = {0};

    task_add_output(&raw, r->output, r->n_output);
    str_add_printable(out, str_text(&raw), raw.len);
    str_free(&raw);
}

static void
add_output_note(const struct report_task *t, struct str *out)
{
    const struct result *r = t->outcome;
    uint64_t held = 0;

    for (size_t i = 0; i < r->n_output; i++)
        held += r->output[i].data.len;
    if (r->output_bytes > held)
        str_addf(out,
                 "The last %" PRIu64 " of %" PRIu64 " bytes; all that was "
                 "kept: shunt logs %s\n\n",
                 held, r->output_bytes, t->row->id);
}

static void
add_attempts(const struct report_task *t, struct str *out)
{
    char from[32], to[32];

    if (t->n_attempts < 2)
        return;
    str_addz(out, "## Attempts\n\n| attempt | state | exit code | started | "
                  "finished | worker | reason |\n|---|---|---|---|---|---|---|"
                  "\n");
    for (size_t i = 0; i < t->n_attempts; i++) {
        const struct result *r = &t->attempts[i].result;

        str_addf(out, "| %" PRIu32 " | %s%s | ", r->attempt,
                 state_name(r->state),
                 t->attempts[i].superseded ? " (superseded)" : "");
        if (task_has_exit_code(r))
            str_addf(out, "%" PRId32, r->exit_code);
        str_addf(out, " | %s | %s | ",
                 str_time(r->started_at_ms, from, sizeof from),
                 str_time(r->finished_at_ms, to, sizeof to));
        report_add_text(out, r->worker);
        str_addz(out, " | ");
        report_add_text(out, r->reason);
        str_addz(out, " |\n");
    }
    str_addc(out, '\n');
}

void
report_task_markdown(const struct report_task *t, struct str *out)
{
    struct report_facts f = {out, true};
    struct str text = {0};

    report_add_mark(false, t->row->id, t->row->name, true, out);
    str_addz(out, "# ");
    report_add_text(out, *t->row->name ? t->row->name : t->row->id);
    str_addf(out, ": %s\n\n| | |\n|---|---|\n", state_name(t->row->state));
    add_facts(t, &f);
    str_addc(out, '\n');
    if (t->task)
        add_steps(t->task, t->row->failed_step, out);
    add_attempts(t, out);
    if (t->outcome && t->outcome->n_output) {
        str_addz(out, "## Output\n\n");
        add_output_note(t, out);
        output_text(t->outcome, &text);
        add_fenced(out, "text", &text);
    }
    str_free(&text);
}

void
report_task_plain(const struct report_task *t, struct str *out)
{
    struct report_facts f = {out, false};

    report_add_mark(false, t->row->id, t->row->name, false, out);
    fact(&f, "Name", t->row->name);
    add_facts(t, &f);
    str_addc(out, '\n');
    if (!t->outcome)
        return;
    add_output_note(t, out);
    output_text(t->outcome, out);
    if (out->data[out->len - 1] != '\n')
        str_addc(out, '\n');
}
