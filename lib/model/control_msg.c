/*
 * Encodes and reads Control. The version is set and checked here alone; a
 * message without one is of the time before there was one.
 */
#include "lib/model/control_msg.h"

#include "lib/base/str.h"
#include "lib/model/codec.h"

#include <string.h>

struct control
control_msg_new(const char *verb, const char *by)
{
    struct control c;

    codec_init(CODEC_CONTROL, &c);
    c.verb = verb;
    c.by = by;
    c.at_ms = str_wall_ms();
    c.version = CONTROL_VERSION;
    return c;
}

int
control_msg_read(const void *data, size_t len, const char *verb,
                 struct mem_pool *pool, struct control *out, struct err *e)
{
    if (codec_decode(CODEC_CONTROL, data, len, pool, out, e) < 0)
        return err_wrap(e, "no control message");
    if (strcmp(out->verb, verb) != 0)
        return err_set(e, ERR_INVALID, "its verb is \"%s\", not %s", out->verb,
                       verb);
    if (out->version > CONTROL_VERSION)
        return err_set(e, ERR_INVALID,
                       "its version is %u, this program knows %d: upgrade it",
                       out->version, CONTROL_VERSION);
    return 0;
}
