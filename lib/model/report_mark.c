/*
 * Writes and reads the beginning of reports. A generated name ends in date and
 * time: two tasks share it by chance only, so it identifies no job.
 */
#include "lib/model/report_mark.h"

#include "lib/model/task_name.h"

#include <string.h>

static const char mark[] = "shunt report: ", schema[] = "\"shunt.report/1\"";

void
report_mark_init(struct report_mark *m, bool batch, const char *id,
                 const char *name)
{
    m->batch = batch;
    (void)str_copy(m->id, sizeof m->id, id);
    m->job[0] = '\0';
    if (*name && !task_name_is_made(name))
        subject_token_from(name, "", m->job);
}

void
report_mark_add(const struct report_mark *m, struct str *out)
{
    str_addf(out, "%s%s %s%s%s\n", mark, m->batch ? "batch" : "task", m->id,
             *m->job ? ", job " : "", m->job);
}

/* The text after key, up to one of the characters in end. */
static bool
value(const char *text, const char *key, const char *end, char *out,
      size_t size)
{
    const char *at = strstr(text, key);
    size_t len;

    if (!at)
        return false;
    at += strlen(key);
    len = strcspn(at, end);
    if (!at[len] || len >= size)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return len > 0;
}

static bool
read_json(const char *text, struct report_mark *out)
{
    char kind[8], name[REPORT_MARK_HEAD] = "";
    const char *at = strstr(text, schema);

    if (!at || at - text > 32 ||
        !value(text, "\"kind\": \"", "\"", kind, sizeof kind) ||
        !value(text, "\"id\": \"", "\"", out->id, sizeof out->id))
        return false;
    (void)value(text, "\"name\": \"", "\"", name, sizeof name);
    report_mark_init(out, strcmp(kind, "batch") == 0, out->id, name);
    return true;
}

bool
report_mark_read(const void *head, size_t len, struct report_mark *out)
{
    char text[REPORT_MARK_HEAD + 1], *at = text, *end;

    *out = (struct report_mark){0};
    len = len < REPORT_MARK_HEAD ? len : REPORT_MARK_HEAD;
    memcpy(text, head, len);
    text[len] = '\0';
    if (*at == '{')
        return read_json(at, out);
    if (strncmp(at, "<!-- ", 5) == 0)
        at += 5;
    end = strchr(at, '\n');
    if (strncmp(at, mark, sizeof mark - 1) != 0 || !end)
        return false;
    end[1] = '\0';
    at += sizeof mark - 1;
    out->batch = strncmp(at, "batch ", 6) == 0;
    if (!value(at, out->batch ? "batch " : "task ", ", \n", out->id,
               sizeof out->id))
        return false;
    (void)value(at, ", job ", " \n", out->job, sizeof out->job);
    return true;
}

bool
report_mark_replaces(const struct report_mark *m, const struct report_mark *old)
{
    if (m->batch != old->batch)
        return false;
    return strcmp(m->id, old->id) == 0 ||
           (*m->job && strcmp(m->job, old->job) == 0);
}
