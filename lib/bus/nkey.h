/*
 * nkey - the public key of an NKey seed.
 *
 * Thread: any.
 */
#ifndef LIB_BUS_NKEY_H
#define LIB_BUS_NKEY_H

#include "lib/base/err.h"

enum { NKEY_PUBLIC_SIZE = 57 };

/* seed: "SU…", as `nk -gen user` writes it. ERR_INVALID: it is none, or is
 * damaged. What was copied of it is overwritten. */
int nkey_public(const char *seed, char out[NKEY_PUBLIC_SIZE], struct err *e);

#endif
