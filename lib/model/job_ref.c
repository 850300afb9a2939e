/*
 * Reads and writes the note with scanf and printf formats.
 */
#include "lib/model/job_ref.h"

#include <stdio.h>

bool
job_ref_read(const char *note, struct job_ref *out)
{
    *out = (struct job_ref){0};
    return sscanf(note, "key %63s id %200s", out->key, out->id) >= 1;
}

void
job_ref_write(const struct job_ref *r, char out[JOB_REF_NOTE_SIZE])
{
    (void)snprintf(out, JOB_REF_NOTE_SIZE, *r->id ? "key %s id %s" : "key %s",
                   r->key, r->id);
}
