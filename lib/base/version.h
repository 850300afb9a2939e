/*
 * version - which build of shunt this is.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_VERSION_H
#define LIB_BASE_VERSION_H

/* "0.1.0+1a2b3c4d": the version and the commit it was built from, which is
 * missing where the sources are not a checkout. */
extern const char shunt_version[];

#endif
