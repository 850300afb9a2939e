/*
 * host_check - whether a Host header names this machine.
 *
 * Thread: any.
 */
#ifndef REAPER_HTTP_HOST_CHECK_H
#define REAPER_HTTP_HOST_CHECK_H

#include <stdbool.h>

/*
 * Whether a Host header names this machine by something that no foreign name
 * server can point here: an address, or localhost. A page from elsewhere whose
 * name was made to resolve to us (DNS rebinding) carries its own name.
 */
bool host_check_is_ours(const char *host);

#endif
