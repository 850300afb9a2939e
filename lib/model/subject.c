/*
 * Joins tokens with dots into the caller's buffer; checks and makes tokens.
 */
#include "lib/model/subject.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool
token_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

bool
subject_token_ok(const char *token)
{
    size_t len = strlen(token);

    if (len == 0 || len > SUBJECT_TOKEN_MAX ||
        !isalnum((unsigned char)token[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!token_char(token[i]))
            return false;
    return true;
}

void
subject_token_from(const char *text, const char *fallback, char *out)
{
    size_t at = 0;

    for (; *text && at < SUBJECT_TOKEN_MAX; text++) {
        bool first = at == 0;

        if (token_char(*text) && !(first && !isalnum((unsigned char)*text)))
            out[at++] = *text;
        else if (!first && out[at - 1] != '-')
            out[at++] = '-';
    }
    while (at > 0 && out[at - 1] == '-')
        at--;
    out[at] = '\0';
    if (at == 0)
        (void)snprintf(out, SUBJECT_TOKEN_MAX + 1, "%s", fallback);
}

static char *
join(char *out, const char *first, const char *second, const char *third)
{
    (void)snprintf(out, SUBJECT_SIZE, "%s.%s%s%s", first, second,
                   third ? "." : "", third ? third : "");
    return out;
}

char *
subject_task(char *out, const char *backend, const char *lane)
{
    return join(out, "tasks", backend, lane);
}

char *
subject_result(char *out, const char *backend, const char *source)
{
    return join(out, "results", backend, source);
}

char *
subject_claim(char *out, const char *backend, const char *task)
{
    return join(out, "$KV.claims", backend, task);
}

char *
subject_logs(char *out, const char *task)
{
    return join(out, "logs", task, NULL);
}

char *
subject_input(char *out, const char *task)
{
    return join(out, "input", task, NULL);
}

char *
subject_dead(char *out, const char *process)
{
    return join(out, "dead", process, NULL);
}

char *
subject_cancel(char *out, const char *task)
{
    return join(out, "$KV.control.cancel", task, NULL);
}

char *
subject_lane_state(char *out, const char *backend, const char *lane)
{
    return join(out, "$KV.control.lane", backend, lane);
}

char *
subject_heartbeat(char *out, const char *backend, const char *worker)
{
    return join(out, "hb", backend, worker);
}

char *
subject_done(char *out, const char *task)
{
    return join(out, "done", task, NULL);
}

char *
subject_started(char *out, const char *task)
{
    return join(out, "started", task, NULL);
}

char *
subject_batch(char *out, const char *batch)
{
    return join(out, "batch", batch, NULL);
}

char *
subject_ask(char *out, const char *verb)
{
    return join(out, SUBJECT_ASK, verb, NULL);
}

char *
subject_drain(char *out, const char *backend, const char *worker)
{
    return join(out, "ctl", backend, worker);
}

char *
subject_lane_durable(char *out, const char *backend, const char *lane)
{
    (void)snprintf(out, SUBJECT_SIZE, "%s_%s", backend, lane);
    return out;
}

bool
subject_token_at(const char *subject, int n, char *out)
{
    size_t len;

    for (; n > 0; n--) {
        subject = strchr(subject, '.');
        if (!subject)
            return false;
        subject++;
    }
    len = strcspn(subject, ".");
    if (len == 0 || len > SUBJECT_TOKEN_MAX)
        return false;
    memcpy(out, subject, len);
    out[len] = '\0';
    return subject_token_ok(out);
}

bool
subject_is_heartbeat_of(const char *subject, const char *backend,
                        const char *worker)
{
    char token[SUBJECT_TOKEN_MAX + 1];

    return subject_token_at(subject, 1, token) && strcmp(token, backend) == 0 &&
           subject_token_at(subject, 2, token) && strcmp(token, worker) == 0;
}

bool
subject_is_inbox(const char *subject)
{
    return strncmp(subject, "_INBOX.", 7) == 0 ||
           strncmp(subject, "_R_.", 4) == 0;
}
