/*
 * Colours, times and sizes for people, and the progress line.
 */
#include "cli/output.h"

#include "lib/model/task_state.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool
out_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fd) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

unsigned
out_columns(int fd)
{
    struct winsize w;

    if (!isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

void
out_line(const char *fmt, ...)
{
    unsigned columns = out_columns(STDOUT_FILENO);
    struct str safe = {0}, lines = {0};
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    str_add_printable(&safe, text, strlen(text));
    if (columns)
        out_wrap(str_text(&safe), columns, &lines);
    else
        str_addf(&lines, "%s\n", str_text(&safe));
    (void)fputs(str_text(&lines), stdout);
    str_free(&lines);
    str_free(&safe);
}

bool
out_bytes(int fd, const void *data, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    const char *at = data;
    ssize_t n;

    while (len) {
        n = write(fd, at, len);
        if (n < 0 && errno == EAGAIN)
            (void)poll(&p, 1, -1);
        else if (n < 0 && errno != EINTR)
            return false;
        else if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static const char *const state_colours[STATE_COUNT] = {
    [STATE_SUCCEEDED] = "32",  [STATE_FAILED] = "31",
    [STATE_TIMED_OUT] = "31",  [STATE_REJECTED] = "31",
    [STATE_DEAD] = "31",       [STATE_UNKNOWN] = "31",
    [STATE_LOST] = "31",       [STATE_RUNNING] = "36",
    [STATE_RETRY_WAIT] = "33", [STATE_HELD] = "33",
    [STATE_BLOCKED] = "33",    [STATE_UNVERIFIED] = "33",
    [STATE_NO_OP] = "33",      [STATE_CANCELLED] = "35",
    [STATE_PREEMPTED] = "35",
};

const char *
out_coloured(const char *text, const char *sgr, bool colour, char *buf,
             size_t size)
{
    if (colour && sgr)
        (void)snprintf(buf, size, "\033[%sm%s\033[0m", sgr, text);
    else
        (void)snprintf(buf, size, "%s", text);
    return buf;
}

const char *
out_state(const char *state, bool colour, char *buf, size_t size)
{
    return out_coloured(state, state_colours[state_from_name(state)], colour,
                        buf, size);
}

const char *
out_ago(int64_t at_ms, int64_t now_ms, char *buf, size_t size)
{
    int64_t s = (now_ms - at_ms) / 1000;

    if (!at_ms)
        (void)snprintf(buf, size, "-");
    else if (s < 1)
        (void)snprintf(buf, size, "now");
    else if (s < 60)
        (void)snprintf(buf, size, "%llds ago", (long long)s);
    else if (s < 3600)
        (void)snprintf(buf, size, "%lldm ago", (long long)s / 60);
    else if (s < 48 * 3600)
        (void)snprintf(buf, size, "%lldh ago", (long long)s / 3600);
    else
        (void)snprintf(buf, size, "%lldd ago", (long long)s / 86400);
    return buf;
}

const char *
out_size(uint64_t bytes, char *buf, size_t size)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)snprintf(buf, size, "%u B", (unsigned)bytes);
        return buf;
    }
    for (; value >= 1024 && unit < 3; unit++)
        value /= 1024;
    (void)snprintf(buf, size, "%.1f %s", value, units[unit]);
    return buf;
}

bool
out_flush(void)
{
    return fflush(stdout) == 0 && !ferror(stdout);
}

bool
out_is_unread(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

bool
out_can_progress(void)
{
    const char *term = getenv("TERM");

    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

void
out_progress(const char *text)
{
    unsigned columns = out_columns(STDERR_FILENO);
    struct str line = {0};

    if (!out_can_progress())
        return;
    str_add_printable(&line, text, strlen(text));
    if (line.len)
        out_cut(&line, columns > 1 ? columns - 1 : 1);
    (void)fprintf(stderr, "\r\033[K%s", str_text(&line));
    (void)fflush(stderr);
    str_free(&line);
}
