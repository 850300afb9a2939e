/*
 * jetstream_api - requests to $JS.API with JSON in and out, one at a time, for
 * whoever sets streams up.
 *
 * Blocks: call before loop_run.
 */
#ifndef LIB_BUS_JETSTREAM_API_H
#define LIB_BUS_JETSTREAM_API_H

#include "lib/bus/bus.h"

#include <jansson.h>
#include <stdbool.h>

enum {
    JETSTREAM_NO_STREAM = 10059,
    JETSTREAM_NO_CONSUMER = 10014,
    JETSTREAM_NO_MESSAGE = 10037,
};

/*
 * Calls $JS.API.<subject> with body, which may be NULL. On 0 the caller owns
 * *out. An error object of the broker becomes e, and *api its number, else 0:
 * ERR_UNAVAILABLE if it is about the broker's resources, ERR_INVALID if it is
 * about our request.
 */
int jetstream_api_call(struct bus *b, const char *subject, json_t *body,
                       json_t **out, int64_t *api, struct err *e);

/* Gets the answer of an INFO subject; *out NULL: no such stream or consumer. */
int jetstream_api_info(struct bus *b, const char *subject, json_t **out,
                       struct err *e);

/* Whether a list of texts has this one. */
bool jetstream_api_lists(const json_t *list, const char *text);

#endif
