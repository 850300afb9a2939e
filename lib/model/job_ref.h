/*
 * job_ref - the note in the claim of a task that an AI platform runs, "key K id
 * J": K is our key of the submission, written before the platform is called; J
 * is the platform's name of the job, once it is known.
 *
 * Pure. Thread: any.
 */
#ifndef LIB_MODEL_JOB_REF_H
#define LIB_MODEL_JOB_REF_H

#include <stdbool.h>

enum {
    JOB_REF_KEY_SIZE = 64,
    JOB_REF_ID_SIZE = 201,
    JOB_REF_NOTE_SIZE = JOB_REF_KEY_SIZE + JOB_REF_ID_SIZE + 8,
};

struct job_ref {
    char key[JOB_REF_KEY_SIZE], id[JOB_REF_ID_SIZE]; /* id "": not yet known */
};

/* False, and both are "", if note is not such a note. */
bool job_ref_read(const char *note, struct job_ref *out);
void job_ref_write(const struct job_ref *r, char out[JOB_REF_NOTE_SIZE]);

#endif
