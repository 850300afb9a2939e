/*
 * japanese - decisions, and what tasks wait for, in Japanese: the sentences of
 * the router's rules and of the reaper's wait reasons, by a catalogue.
 *
 * Thread: any.
 */
#ifndef CLI_JAPANESE_H
#define CLI_JAPANESE_H

#include "lib/base/str.h"

/*
 * Adds the sentence in Japanese. Text that is in no row of the catalogue, such
 * as a reason that a person or a platform wrote, is added as it is.
 */
void japanese_add(const char *text, struct str *out);

/* The name of a state in Japanese; NULL for an unknown one. */
const char *japanese_state(const char *state);

/* What a signal of the shipped policy looks for; NULL for any other. */
const char *japanese_signal(const char *name);

/* A label of the decision template. */
const char *japanese_label(const char *english);

#endif
