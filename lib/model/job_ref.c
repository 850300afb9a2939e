#include "lib/model/job_ref.h"

#include <stdio.h>

bool
remote_read(const char *note, struct remote *out)
{
    *out = (struct remote){0};
    return sscanf(note, "key %63s id %200s", out->key, out->id) >= 1;
}

void
remote_write(const struct remote *r, char out[REMOTE_NOTE_SIZE])
{
    (void)snprintf(out, REMOTE_NOTE_SIZE, *r->id ? "key %s id %s" : "key %s",
                   r->key, r->id);
}
