/*
 * money - amounts in US dollars as whole nanodollars: exact, never a double.
 *
 * Thread: any.
 */
#ifndef LIB_MODEL_MONEY_H
#define LIB_MODEL_MONEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MONEY_SIZE = 32 }; /* of an amount as text */

#define MONEY_USD INT64_C(1000000000) /* nanodollars in a dollar */

/*
 * Reads "12", "0.0123" and ".5": no sign, no exponent, no blanks. Fractions of
 * a nanodollar are rounded to the nearest, halves up. False if text is not an
 * amount or more than about nine thousand million dollars.
 */
bool money_read(const char *text, int64_t *nano);

/* "0.012300": six digits, more if they are needed to be exact. */
char *money_text(int64_t nano, char out[MONEY_SIZE]);

/* a + b, at most INT64_MAX; both must be at least 0. */
int64_t money_add(int64_t a, int64_t b);

#endif
