/*
 * Hashes the creation time that the broker reports, which has nanoseconds.
 */
#include "lib/bus/fleet_id.h"

#include "lib/base/hash.h"
#include "lib/base/str.h"
#include "lib/bus/stream_info.h"

#include <stdio.h>

enum { ANSWER_MS = 5000 };

int
fleet_id_read(struct bus *b, char out[FLEET_ID_SIZE], struct err *e)
{
    struct stream_info_stream info;
    struct str answer = {0};
    struct bus_note note;
    uint64_t h;
    int rc;

    rc = bus_call(b, "$JS.API.STREAM.INFO.TASKS_IN", "", 0, ANSWER_MS, &answer,
                  e);
    note = (struct bus_note){.data = (const uint8_t *)str_text(&answer),
                             .len = answer.len};
    if (rc == 0)
        rc = stream_info_read_stream(&note, &info, e);
    str_free(&answer);
    if (rc < 0)
        return err_wrap(e, "the fleet's id");
    h = hash_text(info.created);
    (void)snprintf(out, FLEET_ID_SIZE, "%08x", (unsigned)(h ^ h >> 32));
    return 0;
}
