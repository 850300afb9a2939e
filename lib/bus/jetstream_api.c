/*
 * One bus_call for each request; the error objects of the broker become ours.
 */
#include "lib/bus/jetstream_api.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    API_MS = 10000,
    NOT_ENABLED = 10076,
    NOT_ENABLED_FOR_ACCOUNT = 10039,
};

/* Whether an error is about the broker's resources, not about our request. */
static bool
is_temporary(int64_t code, int64_t api)
{
    static const int64_t scarce[] = {10002, 10023, 10028, 10047};

    for (size_t i = 0; i < sizeof scarce / sizeof *scarce; i++)
        if (api == scarce[i])
            return true;
    return code == 503;
}

static int
no_jetstream(const struct bus *b, struct err *e)
{
    return err_set(e, ERR_UNAVAILABLE,
                   "the broker at %s has no JetStream: start nats-server with "
                   "-js",
                   bus_url(b));
}

int
jetstream_api_call(struct bus *b, const char *subject, json_t *body,
                   json_t **out, int64_t *api, struct err *e)
{
    char full[SUBJECT_SIZE], *text = body ? json_dumps(body, 0) : NULL;
    struct str answer = {0};
    json_t *json = NULL, *error;
    int rc = -1;

    *api = 0;
    (void)snprintf(full, sizeof full, "$JS.API.%s", subject);
    if (bus_call(b, full, text, text ? strlen(text) : 0, API_MS, &answer, e) <
        0) {
        if (e->code == ERR_UNAVAILABLE && bus_is_up(b))
            no_jetstream(b, e);
        goto out;
    }
    json = json_loadb(str_text(&answer), answer.len, 0, NULL);
    error = json_object_get(json, "error");
    if (!json_is_object(json)) {
        err_set(e, ERR_UNAVAILABLE, "%s: the reply is not a JSON object", full);
        goto out;
    }
    if (error) {
        const char *why =
            json_string_value(json_object_get(error, "description"));
        int64_t code = json_integer_value(json_object_get(error, "code"));

        *api = json_integer_value(json_object_get(error, "err_code"));
        err_set(e, is_temporary(code, *api) ? ERR_UNAVAILABLE : ERR_INVALID,
                "%s (JetStream error %" PRId64 ")",
                LOG_TEXT(why ? why : "refused"), *api);
        if (*api == NOT_ENABLED || *api == NOT_ENABLED_FOR_ACCOUNT)
            no_jetstream(b, e);
        goto out;
    }
    *out = json_incref(json);
    rc = 0;
out:
    json_decref(json);
    str_free(&answer);
    mem_free(text);
    return rc;
}

int
jetstream_api_info(struct bus *b, const char *subject, json_t **out,
                   struct err *e)
{
    struct err failed;
    int64_t api;

    *out = NULL;
    if (jetstream_api_call(b, subject, NULL, out, &api, &failed) == 0 ||
        api == JETSTREAM_NO_STREAM || api == JETSTREAM_NO_CONSUMER)
        return 0;
    *e = failed;
    return -1;
}

bool
jetstream_api_lists(const json_t *list, const char *text)
{
    const json_t *each;
    size_t i;

    json_array_foreach(list, i, each)
    {
        if (strcmp(json_string_value(each), text) == 0)
            return true;
    }
    return false;
}
