/*
 * Integer arithmetic on nanodollars, with checks for overflow.
 */
#include "lib/model/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = 9, SHOWN = 6 };

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool
money_read(const char *text, int64_t *nano)
{
    int64_t whole = 0, part = 0;
    bool any = false;
    int n = 0;

    for (; is_digit(*text); text++, any = true) {
        whole = whole * 10 + (*text - '0');
        if (whole > INT64_MAX / MONEY_USD - 1)
            return false;
    }
    if (*text == '.')
        for (text++; is_digit(*text); text++, any = true) {
            if (n < DIGITS)
                part = part * 10 + (*text - '0');
            else if (n == DIGITS)
                part += *text >= '5';
            n++;
        }
    if (!any || *text)
        return false;
    for (; n < DIGITS; n++)
        part *= 10;
    *nano = whole * MONEY_USD + part;
    return true;
}

char *
money_text(int64_t nano, char out[MONEY_SIZE])
{
    size_t len;

    (void)snprintf(out, MONEY_SIZE, "%" PRId64 ".%09" PRId64, nano / MONEY_USD,
                   nano % MONEY_USD);
    len = strlen(out);
    for (int extra = DIGITS - SHOWN; extra > 0 && out[len - 1] == '0'; extra--)
        out[--len] = '\0';
    return out;
}

int64_t
money_add(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}
