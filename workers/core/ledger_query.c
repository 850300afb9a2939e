/*
 * One question on ask.ledger.find, with a JSON answer of the form that the
 * ledger gives everybody: the task's id and state, or an error with a code.
 */
#include "workers/core/ledger_query.h"

#include "lib/model/subject.h"
#include "lib/model/task.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MS = 5000 };

void
ledger_query_send(struct bus *b, const char *task, bus_reply_fn *fn, void *ctx)
{
    char subject[SUBJECT_SIZE], question[TASK_ID_SIZE + 32];
    int n = snprintf(question, sizeof question, "{\"task\": \"%s\"}", task);

    bus_request(b, subject_ask(subject, "find"), question, (size_t)n, ANSWER_MS,
                fn, ctx);
}

enum ledger_answer
ledger_query_read(const struct bus_note *note, const char *task,
                  uint32_t *attempts)
{
    json_t *o = json_loadb((const char *)note->data, note->len, 0, NULL);
    json_t *error = json_object_get(o, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *found = json_string_value(json_object_get(o, "id"));
    const char *state = json_string_value(json_object_get(o, "state"));
    json_int_t n = json_integer_value(json_object_get(o, "attempts"));
    enum ledger_answer out = LEDGER_UNSURE;

    *attempts = n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
    if (found && state && strcmp(found, task) == 0)
        out = state_is_terminal(state_from_name(state)) ? LEDGER_OVER
                                                        : LEDGER_OPEN;
    else if ((found && state) || /* another one, of that name */
             (code && (strcmp(code, "not-found") == 0 ||
                       strcmp(code, "ambiguous") == 0)))
        out = LEDGER_UNKNOWN;
    json_decref(o);
    return out;
}
