/*
 * Compares the name of each point that is reached with SHUNT_CRASH_AT and kills
 * the process when it matches. Empty unless SHUNT_DEBUG is defined.
 */
#include "lib/base/failpoint.h"

/* An empty translation unit is not C. */
extern int failpoint_unused;

#ifdef SHUNT_DEBUG

#include "lib/base/log.h"
#include "lib/base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_CODE = 86 };

static uint64_t
number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    uint64_t v;

    return text && str_to_u64(text, 0, UINT64_MAX, &v) ? v : fallback;
}

/* xorshift64*: the same seed gives the same crashes in the same run. */
static bool
by_chance(void)
{
    static uint64_t x;

    if (x == 0)
        x = number("SHUNT_CRASH_SEED", 1) * 2654435761U + (uint64_t)getpid();
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return (x * UINT64_C(2685821657736338717) >> 32) % 10000 <
           number("SHUNT_CRASH_RATE", 10);
}

static bool
is_due(const char *name)
{
    static uint64_t passed;
    const char *at = getenv("SHUNT_CRASH_AT"), *hash;
    uint64_t nth = 1;
    size_t len;

    if (!at || !*at)
        return false;
    if (strcmp(at, "*") == 0)
        return by_chance();
    hash = strchr(at, '#');
    len = hash ? (size_t)(hash - at) : strlen(at);
    if (strlen(name) != len || strncmp(name, at, len) != 0)
        return false;
    if (hash && !str_to_u64(hash + 1, 1, UINT64_MAX, &nth))
        return false;
    return ++passed == nth;
}

void
failpoint_hit(const char *name)
{
    const char *once = getenv("SHUNT_CRASH_ONCE");
    const char *how = getenv("SHUNT_CRASH_HOW");
    int fd;

    if (!is_due(name))
        return;
    if (once && *once) {
        fd = open(once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            return;
        (void)close(fd);
    }
    log_warn("crash", "at=%s pid=%d", name, (int)getpid());
    if (how && strcmp(how, "exit") == 0)
        _exit(EXIT_CODE);
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

#endif
