/*
 * Edit distance of short words: letters added, dropped or changed, and adjacent
 * letters swapped, count once each. A long word may differ in more letters than
 * a short one. A beginning of two letters or more is as near as one slip.
 */
#include "lib/base/nearest.h"

#include <stdint.h>
#include <string.h>

enum { LENGTH_MOST = 63 };

static size_t
least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t
distance(const char *a, const char *b)
{
    size_t d[LENGTH_MOST + 1][LENGTH_MOST + 1];
    size_t la = strlen(a), lb = strlen(b);

    if (la > LENGTH_MOST || lb > LENGTH_MOST)
        return SIZE_MAX;
    for (size_t i = 0; i <= la; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= la; i++)
        for (size_t j = 1; j <= lb; j++) {
            d[i][j] = least_of(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
                               least_of(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least_of(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[la][lb];
}

bool
nearest_is(const char *word, const char *candidate, size_t *least)
{
    size_t len = strlen(word), most = len <= 3 ? 1 : len <= 6 ? 2 : 3;
    size_t d = len >= 2 && strncmp(word, candidate, len) == 0
                   ? 1
                   : distance(word, candidate);

    if (d > most || d >= *least)
        return false;
    *least = d;
    return true;
}

const char *
nearest_of(const char *word, const char *const *names)
{
    const char *found = NULL;
    size_t least = SIZE_MAX;

    for (; *names; names++)
        if (nearest_is(word, *names, &least))
            found = *names;
    return found;
}
