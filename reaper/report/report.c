/*
 * Decodes what a task's row and attempts hold, and picks the format of a
 * report by the name of its file.
 */
#include "reaper/report/report_private.h"

#include "lib/model/codec.h"

#include <string.h>

enum report_format
report_format_of(const char *path)
{
    const char *dot = strrchr(path, '.');

    if (dot && !strchr(dot, '/')) {
        if (strcmp(dot, ".json") == 0)
            return REPORT_JSON;
        if (strcmp(dot, ".md") == 0 || strcmp(dot, ".markdown") == 0)
            return REPORT_MARKDOWN;
    }
    return REPORT_TEXT;
}

void
report_task_fill(const struct task_state *row,
                 const struct attempt_row *attempts, size_t n,
                 struct mem_pool *pool, struct report_task *out)
{
    struct report_attempt *list = mem_pool_alloc(pool, n * sizeof *list);
    struct decision *decision = mem_pool_alloc(pool, sizeof *decision);
    struct task *task = mem_pool_alloc(pool, sizeof *task);
    struct err e;

    /* What does not decode any more is left out: better half a report. */
    *out = (struct report_task){.row = row, .attempts = list};
    if (row->task.len && codec_decode(CODEC_TASK, row->task.data, row->task.len,
                                      pool, task, &e) == 0) {
        report_hide_secrets(task, pool);
        out->task = task;
    }
    if (row->decision.len &&
        codec_decode(CODEC_DECISION, row->decision.data, row->decision.len,
                     pool, decision, &e) == 0)
        out->decision = decision;
    for (size_t i = 0; i < n; i++) {
        const struct attempt_row *a = &attempts[i];
        struct report_attempt *to = &list[out->n_attempts];

        if (codec_decode(CODEC_RESULT, a->result.data, a->result.len, pool,
                         &to->result, &e) < 0)
            continue;
        to->at_ms = a->at_ms;
        if (row->has_result && a->attempt == row->result_attempt &&
            a->fence == row->result_fence && a->final == row->final)
            out->outcome = &to->result;
        else
            to->superseded = a->final;
        out->n_attempts++;
    }
}

void
report_task(const struct report_task *t, enum report_format format,
            struct str *out)
{
    static void (*const render[])(const struct report_task *, struct str *) = {
        [REPORT_MARKDOWN] = report_task_markdown,
        [REPORT_JSON] = report_task_json,
        [REPORT_TEXT] = report_task_plain,
    };

    render[format](t, out);
}
