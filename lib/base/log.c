/*
 * Formats each line into one buffer and writes it with one call.
 */
#include "lib/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *program_name = "shunt";
static enum log_level least_level = LOG_INFO;

void
log_open(const char *program)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *want = getenv("SHUNT_LOG");

    program_name = program;
    for (int i = 0; want && i < 4; i++)
        if (strcmp(want, names[i]) == 0)
            least_level = (enum log_level)i;
}

void
log_level_set(enum log_level least)
{
    least_level = least;
}

bool
log_enabled(enum log_level level)
{
    return level >= least_level;
}

void
log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const words[] = {"debug", "info", "warn", "error"};
    char line[2048];
    struct timespec ts;
    struct tm tm;
    size_t len;
    va_list ap;
    int n;

    if (!log_enabled(level))
        return;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    len = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n = snprintf(line + len, sizeof line - len, ".%03ldZ %-5s %s %s ",
                 ts.tv_nsec / 1000000, words[level], program_name, event);
    if (n > 0)
        len += (size_t)n;
    if (len < sizeof line) {
        va_start(ap, fmt);
        n = vsnprintf(line + len, sizeof line - len, fmt, ap);
        va_end(ap);
        if (n > 0)
            len += (size_t)n;
    }
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\n'))
        len--;
    line[len++] = '\n';
    /* One write per line, so that lines of several threads do not interleave.
     */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}

const char *
log_text(struct log_text *buf, const char *text)
{
    size_t at = 0;

    for (; *text && at < 200; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            buf->s[at++] = '\\';
            buf->s[at++] = (char)c;
        } else if (c < 32 || c > 126) {
            at += (size_t)snprintf(buf->s + at, 5, "\\x%02x", c);
        } else {
            buf->s[at++] = (char)c;
        }
    }
    if (*text)
        at += (size_t)snprintf(buf->s + at, 4, "...");
    buf->s[at] = '\0';
    return buf->s;
}
