/*
 * Encodes a Control and publishes it; the bus takes a copy.
 */
#include "lib/bus/control_send.h"

#include "lib/model/codec.h"

void
control_send(struct bus *b, const char *subject, const struct control *c)
{
    struct str data = {0};

    codec_encode(CODEC_CONTROL, c, &data);
    bus_publish_core(b, subject, data.data, data.len);
    str_free(&data);
}
