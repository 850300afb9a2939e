/*
 * Renders the report of a batch as Markdown or JSON: its sums, the tasks that
 * did not succeed, and all tasks in the order of the batch.
 */
#include "reaper/report/report_private.h"

#include <inttypes.h>
#include <string.h>

/* A command in a table, as code: it must not end the cell or the code span. */
static void
add_code_cell(struct str *out, const char *text)
{
    struct str clean = {0};

    if (!*text || strchr(text, '`')) {
        report_add_text(out, text);
        return;
    }
    str_add_printable(&clean, text, strlen(text));
    str_addc(out, '`');
    for (size_t i = 0; i < clean.len; i++) {
        char c = clean.data[i];

        if (c == '|')
            str_addc(out, '\\');
        str_addc(out, c == '\n' || c == '\t' ? ' ' : c);
    }
    str_addc(out, '`');
    str_free(&clean);
}

static void
add_rows(const struct task_state *const *rows, size_t n, struct str *out)
{
    char text[64];

    str_addz(out, "| # | task | state | exit code | duration | command | "
                  "reason |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        const struct task_state *r = rows[i];
        bool ran = r->started_at_ms && r->finished_at_ms >= r->started_at_ms;

        str_addf(out, "| %" PRIu32 " | %s | %s | ", r->batch_index, r->id,
                 state_name(r->state));
        if (fold_has_exit_code(r))
            str_addf(out, "%" PRId32, r->exit_code);
        str_addf(
            out, " | %s | ",
            ran ? str_duration((uint64_t)(r->finished_at_ms - r->started_at_ms),
                               text, sizeof text)
                : "");
        add_code_cell(out, r->command);
        str_addz(out, " | ");
        report_add_text(out, r->reason);
        str_addz(out, " |\n");
    }
    str_addc(out, '\n');
}

static void
batch_markdown(const struct report_batch *in, struct str *out)
{
    const struct batch *b = in->batch;
    uint32_t lost = b->failed + b->cancelled;
    char text[64];

    report_add_mark(true, b->id, b->name, true, out);
    str_addz(out, "# ");
    report_add_text(out, *b->name ? b->name : b->id);
    str_addf(out,
             ": %" PRIu32 " of %" PRIu32 " succeeded\n\n| | |\n|---|---|\n"
             "| Batch | %s |\n| Tasks | %" PRIu32 " |\n| Succeeded | %" PRIu32
             " |\n| Failed | %" PRIu32 " |\n| Cancelled | %" PRIu32 " |\n",
             b->succeeded, b->size, b->id, b->size, b->succeeded, b->failed,
             b->cancelled);
    str_addf(out, "| Submitted | %s |\n",
             str_time(b->first_at_ms, text, sizeof text));
    str_addf(out, "| Finished | %s |\n",
             str_time(b->last_at_ms, text, sizeof text));
    if (b->first_at_ms && b->last_at_ms >= b->first_at_ms)
        str_addf(out, "| Duration | %s |\n",
                 str_duration((uint64_t)(b->last_at_ms - b->first_at_ms), text,
                              sizeof text));
    str_addc(out, '\n');
    if (in->n_failed) {
        str_addz(out, "## Did not succeed\n\n");
        add_rows(in->failed, in->n_failed, out);
        if (in->n_failed < lost)
            str_addf(out, "The first %zu of %" PRIu32 ".\n\n", in->n_failed,
                     lost);
    }
    str_addz(out, "## Tasks\n\n");
    add_rows(in->members, in->n_members, out);
    if (in->n_members < b->accepted)
        str_addf(out, "The first %zu of %" PRIu32 ".\n", in->n_members,
                 b->accepted);
}

static json_t *
rows_json(const struct task_state *const *rows, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        json_t *o = report_row_json(rows[i]);

        report_set(o, "index", json_integer(rows[i]->batch_index));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static void
batch_json(const struct report_batch *in, struct str *out)
{
    const struct batch *b = in->batch;
    json_t *o = report_begin_json("batch");

    report_set_text(o, "id", b->id);
    report_set_text(o, "name", b->name);
    report_set(o, "size", json_integer(b->size));
    report_set(o, "succeeded", json_integer(b->succeeded));
    report_set(o, "failed", json_integer(b->failed));
    report_set(o, "cancelled", json_integer(b->cancelled));
    report_set_time(o, "submitted_at", b->first_at_ms);
    report_set_time(o, "finished_at", b->last_at_ms);
    report_set(o, "failed_tasks", rows_json(in->failed, in->n_failed));
    report_set(o, "tasks", rows_json(in->members, in->n_members));
    report_end_json(o, out);
}

void
report_batch(const struct report_batch *b, enum report_format format,
             struct str *out)
{
    (format == REPORT_JSON ? batch_json : batch_markdown)(b, out);
}
