/*
 * job_ref - the note in a claim of work that goes on at a platform, "key K id
 * J": K names the submission, and stands there before the platform is asked; J
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
    char key[JOB_REF_KEY_SIZE], id[JOB_REF_ID_SIZE]; /* id "": not known yet */
};

/* False, and both are "", if it is no such note. */
bool job_ref_read(const char *note, struct job_ref *out);
void job_ref_write(const struct job_ref *r, char out[JOB_REF_NOTE_SIZE]);

#endif
