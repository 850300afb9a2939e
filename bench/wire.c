/*
 * A minimal NATS client over blocking sockets and poll: one buffer per
 * direction and connection, and one write per turn. Messages are parsed in
 * place and handed to the connection's function.
 */
#include "bench/wire.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_WIRES = 8, MAX_WORDS = 6 };

/* --- what goes out ------------------------------------------------------- */

void
wire_put(struct wire *w, const void *data, size_t len)
{
    if (len > WIRE_OUT - w->out_len)
        errx(1, "%s: the server takes nothing", w->name);
    memcpy(w->out + w->out_len, data, len);
    w->out_len += len;
}

void
wire_putf(struct wire *w, const char *fmt, ...)
{
    size_t room = WIRE_OUT - w->out_len;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(w->out + w->out_len, room, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= room)
        errx(1, "%s: the server takes nothing", w->name);
    w->out_len += (size_t)n;
}

static void
flush(struct wire *w)
{
    ssize_t n;

    if (w->out_len == 0)
        return;
    n = send(w->fd, w->out, w->out_len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        err(1, "%s: send", w->name);
    if (n > 0) {
        w->out_len -= (size_t)n;
        memmove(w->out, w->out + n, w->out_len);
    }
}

/* --- what comes in ------------------------------------------------------- */

/* Cuts a control line at its blanks; returns the number of words. */
static int
split(char *line, const char **word)
{
    int n = 0;

    while (n < MAX_WORDS) {
        word[n++] = line;
        line = strchr(line, ' ');
        if (!line)
            break;
        *line++ = '\0';
    }
    return n;
}

/*
 * line is "MSG subject sid [reply] size" or "HMSG subject sid [reply] head
 * size"; body is size bytes, headers first, with a terminator behind them.
 */
static void
deliver(struct wire *w, char *line, char *body, size_t size)
{
    struct wire_msg m = {.reply = "", .header = "", .data = body, .len = size};
    bool has_header = line[0] == 'H';
    const char *word[MAX_WORDS];
    int n = split(line, word), least = has_header ? 5 : 4;
    size_t head;

    if (n < least || n > least + 1)
        errx(1, "%s: a control line of %d words", w->name, n);
    m.subject = word[1];
    m.sid = (int)strtol(word[2], NULL, 10);
    if (n > least)
        m.reply = word[3];
    if (has_header) {
        head = strtoul(word[n - 2], NULL, 10);
        if (head < 2 || head > size)
            errx(1, "%s: headers longer than the message", w->name);
        body[head - 1] = '\0'; /* they end with an empty line */
        m.header = body;
        m.data += head;
        m.len -= head;
    }
    w->on_message(w->ctx, &m);
}

/* Takes one command from the front of in; 0: it is not all there yet. */
static size_t
take(struct wire *w, char *in, size_t avail)
{
    char *end = memmem(in, avail, "\r\n", 2);
    size_t line, size;

    if (!end)
        return 0;
    line = (size_t)(end - in) + 2;
    *end = '\0';
    if (strncmp(in, "MSG ", 4) == 0 || strncmp(in, "HMSG ", 5) == 0) {
        size = strtoul(strrchr(in, ' ') + 1, NULL, 10);
        if (size > WIRE_IN - line - 2)
            errx(1, "%s: a message of %zu bytes", w->name, size);
        if (avail < line + size + 2) {
            *end = '\r'; /* read again when the rest is here */
            return 0;
        }
        in[line + size] = '\0';
        deliver(w, in, in + line, size);
        return line + size + 2;
    }
    if (strcmp(in, "PING") == 0)
        wire_put(w, "PONG\r\n", 6);
    else if (strcmp(in, "PONG") == 0)
        w->ponged = true;
    else if (strncmp(in, "-ERR", 4) == 0)
        errx(1, "%s: %s", w->name, in);
    return line;
}

static void
receive(struct wire *w)
{
    ssize_t n = recv(w->fd, w->in + w->in_len, WIRE_IN - w->in_len, 0);
    size_t done = 0, used;

    if (n == 0)
        errx(1, "%s: the server closed the connection", w->name);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        err(1, "%s: receive", w->name);
    if (n > 0)
        w->in_len += (size_t)n;
    while ((used = take(w, w->in + done, w->in_len - done)) > 0)
        done += used;
    w->in_len -= done;
    memmove(w->in, w->in + done, w->in_len);
    if (w->in_len == WIRE_IN)
        errx(1, "%s: a command without an end", w->name);
}

void
wire_turn(struct wire *const *all, int count)
{
    struct pollfd fds[MAX_WIRES] = {0};
    int i, n;

    for (i = 0; i < count && i < MAX_WIRES; i++) {
        if (all[i]->fd >= 0)
            flush(all[i]);
        fds[i].fd = all[i]->fd; /* poll passes over -1 */
        fds[i].events = all[i]->out_len > 0 ? POLLIN | POLLOUT : POLLIN;
    }
    n = poll(fds, (nfds_t)i, WIRE_STALL_MS);
    if (n < 0 && errno != EINTR)
        err(1, "poll");
    if (n == 0)
        errx(1, "nothing moved for %d s", WIRE_STALL_MS / 1000);
    while (n > 0 && i-- > 0)
        if (fds[i].revents & (POLLIN | POLLERR | POLLHUP))
            receive(all[i]);
}

void
wire_sync(struct wire *w)
{
    struct wire *alone[] = {w};

    w->ponged = false;
    wire_put(w, "PING\r\n", 6);
    while (!w->ponged)
        wire_turn(alone, 1);
}

/* --- the connection ------------------------------------------------------ */

void
wire_read_token(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");

    if (!f || !fgets(out, (int)size, f))
        err(1, "%s", path);
    (void)fclose(f);
    out[strcspn(out, "\r\n")] = '\0';
    if (strpbrk(out, "\"\\"))
        errx(1, "%s: quotes and backslashes are no token", path);
}

void
wire_open(struct wire *w, const char *address, const char *token)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    char *colon;
    int one = 1;

    (void)snprintf(host, sizeof host, "%s", address);
    colon = strrchr(host, ':');
    if (!colon)
        errx(2, "'%s' is not HOST:PORT", address);
    *colon = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        errx(1, "%s: unknown address", address);
    w->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->fd < 0 || connect(w->fd, found->ai_addr, found->ai_addrlen) < 0)
        err(1, "connect %s", address);
    freeaddrinfo(found);
    if (setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        fcntl(w->fd, F_SETFL, O_NONBLOCK) < 0)
        err(1, "socket");
    w->in_len = w->out_len = 0;
    wire_putf(w,
              "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
              "\"lang\":\"c\",\"version\":\"0\",\"name\":\"bench-%s\","
              "\"auth_token\":\"%s\"}\r\n",
              w->name, token);
    wire_sync(w);
}
