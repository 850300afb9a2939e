/*
 * control_send - publishes a message of type Control (lib/model/control_msg).
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_CONTROL_SEND_H
#define LIB_BUS_CONTROL_SEND_H

#include "lib/bus/bus.h"
#include "lib/model/control_msg.h"

/* A core message: it may be lost. Keys of KV_control are stored by
 * cancels_put. */
void control_send(struct bus *b, const char *subject, const struct control *c);

#endif
