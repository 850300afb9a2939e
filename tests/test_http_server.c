/* Sockets, limits and what is configured; what the pages say is test_site. */
#include "tests/ledger_fixture.h"

#include "lib/base/log.h"
#include "reaper/http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { LONG_MS = 20000 };

struct served {
    struct ledger_fixture *ledger;
    struct loop *loop;
    struct alarms alarms;
    struct http_server *web;
};

static void
health_of(void *ctx, struct http_health *out)
{
    (void)ctx;
    *out = (struct http_health){true, true, true, false};
}

static int
serve(struct served *s, const char *address, const char *token_file,
      int64_t request_ms, struct err *e)
{
    struct http_server_parts parts = {
        .loop = s->loop,
        .alarms = &s->alarms,
        .address = address,
        .token_file = token_file,
        .routes = {.query = {.db = s->ledger->db,
                             .presence = s->ledger->presence},
                   .health = health_of},
        .request_ms = request_ms};

    return http_server_open(&s->web, &parts, e);
}

static int
open_served(void **state)
{
    struct served *s = MEM_NEW(struct served);
    void *ledger = NULL;
    struct err e = {0};

    log_level_set(LOG_ERROR);
    if (open_ledger(&ledger) < 0 || loop_open(&s->loop, &e) < 0)
        return -1;
    s->ledger = ledger;
    *state = s;
    return 0;
}

static int
close_served(void **state)
{
    struct served *s = *state;
    void *ledger = s->ledger;

    http_server_close(s->web);
    loop_close(s->loop);
    (void)close_ledger(&ledger);
    mem_free(s);
    return 0;
}

/* --- a client ------------------------------------------------------------- */

struct client {
    int fd;
    struct loop_fd *watch;
    struct str got;
    bool answered; /* a whole answer is there, or the connection ended */
    bool ended;
};

static void
on_data(void *ctx)
{
    struct client *c = ctx;
    char part[4096];
    ssize_t n = recv(c->fd, part, sizeof part, MSG_DONTWAIT);
    const char *body;

    if (n > 0)
        str_add(&c->got, part, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        c->ended = true;
    if (c->ended)
        loop_fd_pause(c->watch);
    body = strstr(str_text(&c->got), "\r\n\r\n");
    c->answered = c->ended || (body && strchr(body, '\n') && body[4]);
}

static struct client
connect_to(struct served *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port =
                                htons((uint16_t)http_server_port(s->web)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM, 0)};

    assert_true(c.fd >= 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    return c;
}

static void
say(struct client *c, const char *text)
{
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL),
                     strlen(text));
}

/* Runs the loop until *done. */
static void
until(struct served *s, struct client *c, const bool *done)
{
    c->watch = loop_fd_start(s->loop, c->fd, on_data, c);
    if (!loop_until(s->loop, done, LONG_MS))
        fail_msg("after %d s only '%s'", LONG_MS / 1000, str_text(&c->got));
    loop_fd_stop(c->watch);
    c->watch = NULL;
}

static void
leave(struct client *c)
{
    (void)close(c->fd);
    str_free(&c->got);
}

static unsigned
status_of(const struct client *c)
{
    unsigned status = 0;

    (void)sscanf(str_text(&c->got), "HTTP/1.1 %u", &status);
    return status;
}

static unsigned
ask(struct served *s, const char *request)
{
    struct client c = connect_to(s);
    unsigned status;

    say(&c, request);
    until(s, &c, &c.answered);
    status = status_of(&c);
    leave(&c);
    return status;
}

#define GET "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"

/* --- serving -------------------------------------------------------------- */

static void
open_web(struct served *s, int64_t request_ms)
{
    struct err e = {0};

    if (serve(s, "127.0.0.1:0", "", request_ms, &e) < 0)
        fail_msg("%s", e.msg);
    assert_true(http_server_port(s->web) > 0);
}

static void
a_connection_carries_several_requests(void **state)
{
    struct served *s = *state;
    struct client c;

    open_web(s, 0);
    c = connect_to(s);
    for (int i = 0; i < 3; i++) {
        str_reset(&c.got);
        c.answered = false;
        say(&c, GET "\r\n");
        until(s, &c, &c.answered);
        assert_int_equal(status_of(&c), 200);
        assert_non_null(strstr(c.got.data, "nosniff"));
        assert_non_null(strstr(c.got.data, "default-src 'none'"));
        assert_null(strstr(c.got.data, "Access-Control"));
    }
    leave(&c);
}

static void
what_is_refused_ends_the_connection(void **state)
{
    static const char *const requests[] = {
        "POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Length: 1000000\r\n\r\nx",
        "DELETE /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n"
        "GET /",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Transfer-Encoding: chunked\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n"};
    static const unsigned want[] = {405, 405, 413, 413, 403, 400, 400};
    const size_t n = sizeof requests / sizeof *requests;
    struct served *s = *state;
    struct client c;

    open_web(s, 0);
    for (size_t i = 0; i < n; i++) {
        c = connect_to(s);
        say(&c, requests[i]);
        until(s, &c, &c.ended);
        assert_int_equal(status_of(&c), want[i]);
        /* The last libmicrohttpd 1.0 refuses by itself, with a page. */
        assert_non_null(strstr(c.got.data, i + 1 < n ? "{\"error\":" : "Host"));
        leave(&c);
    }
}

static void
a_long_target_and_long_headers_are_refused(void **state)
{
    struct served *s = *state;
    struct str text = {0};

    open_web(s, 0);
    for (size_t len = 3000; len <= 300000; len *= 10) {
        str_reset(&text);
        str_addz(&text, "GET /");
        for (size_t i = 0; i < len; i++)
            str_addc(&text, 'a');
        str_addz(&text, " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert_int_equal(ask(s, text.data), 414);
    }
    str_reset(&text);
    str_addz(&text, GET);
    for (int i = 0; i < 2000; i++)
        str_addf(&text, "X-%d: %030d\r\n", i, i);
    str_addz(&text, "\r\n");
    assert_int_equal(ask(s, text.data), 431);
    assert_int_equal(ask(s, GET "\r\n"), 200);
    str_free(&text);
}

static void
no_bytes_that_come_do_harm(void **state)
{
    static const char *const requests[] = {
        "\r\n\r\n\r\n",
        "x\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /api/v1/tasks?limit=1&limit=2&%ff=%00&=&& HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n\r\n",
        "GET /api/v1/tasks/%00%ff%2e HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /api/v1/tasks/../../etc/passwd HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n\r\n"};
    struct served *s = *state;
    struct client c;

    open_web(s, 300); /* half of them wait for more */
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        c = connect_to(s);
        say(&c, requests[i]);
        (void)shutdown(c.fd, SHUT_WR);
        until(s, &c, &c.ended);
        assert_true(status_of(&c) == 0 || status_of(&c) >= 400);
        leave(&c);
    }
    assert_int_equal(ask(s, GET "\r\n"), 200);
}

static void
clients_that_say_nothing_hold_up_nobody(void **state)
{
    enum { SILENT = HTTP_SERVER_CONNECTIONS_MAX - 1 };
    struct served *s = *state;
    struct client silent[SILENT];

    open_web(s, 0);
    for (int i = 0; i < SILENT; i++)
        silent[i] = connect_to(s);
    assert_int_equal(ask(s, GET "\r\n"), 200);
    for (int i = 0; i < SILENT; i++)
        leave(&silent[i]);
}

static void
a_client_beyond_the_limit_waits_for_its_turn(void **state)
{
    struct served *s = *state;
    struct client silent[HTTP_SERVER_CONNECTIONS_MAX], c;

    open_web(s, 500);
    for (int i = 0; i < HTTP_SERVER_CONNECTIONS_MAX; i++) {
        silent[i] = connect_to(s);
        say(&silent[i], "GET /");
    }
    c = connect_to(s);
    say(&c, GET "\r\n");
    until(s, &c, &c.answered);
    assert_int_equal(status_of(&c), 200);
    leave(&c);
    for (int i = 0; i < HTTP_SERVER_CONNECTIONS_MAX; i++)
        leave(&silent[i]);
}

/* Sends a byte at each turn, so that it is never idle. */
static void
drip(void *ctx)
{
    struct client *c = ctx;

    (void)send(c->fd, "x", 1, MSG_NOSIGNAL);
}

static void
a_request_that_never_ends_is_ended(void **state)
{
    struct served *s = *state;
    struct loop_timer *timer;
    struct client c;

    open_web(s, 300);
    c = connect_to(s);
    say(&c, GET "X-Slow: ");
    timer = loop_timer_start(s->loop, 10, 10, drip, &c);
    until(s, &c, &c.ended);
    loop_timer_stop(timer);
    leave(&c);
    assert_int_equal(ask(s, GET "\r\n"), 200);
}

/* --- what is configured --------------------------------------------------- */

static void
an_address_is_read_strictly(void **state)
{
    static const char *const bad[] = {
        "8080",           ":8080",           "127.0.0.1",
        "127.0.0.1:",     "127.0.0.1:65536", "::1:8080",
        "example.org:80", "[::1]",           "127.0.0.1:-1",
        "[127.0.0.1:1",   "127.0.0.1:1x"};
    struct served *s = *state;
    struct err e = {0};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (serve(s, bad[i], "", 0, &e) == 0)
            fail_msg("%s is an address", bad[i]);
        assert_int_equal(e.code, ERR_INVALID);
    }
    assert_int_equal(serve(s, "localhost:0", "", 0, &e), 0);
    http_server_close(s->web);
    s->web = NULL;
}

static void
beyond_this_machine_a_token_is_needed(void **state)
{
    struct served *s = *state;
    struct err e = {0};
    char path[128];
    FILE *f;

    assert_int_equal(serve(s, "0.0.0.0:0", "", 0, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "http_token_file"));
    assert_int_equal(serve(s, "[::]:0", "", 0, &e), -1);
    assert_int_equal(serve(s, "0.0.0.0:0", "/nonexistent", 0, &e), -1);
    (void)snprintf(path, sizeof path, "%s/token", s->ledger->dir);
    f = fopen(path, "w");
    assert_non_null(f);
    (void)fchmod(fileno(f), 0600); /* else it is refused */
    (void)fputs("short\n", f);
    (void)fclose(f);
    assert_int_equal(serve(s, "0.0.0.0:0", path, 0, &e), -1);
    assert_null(strstr(e.msg, "short\n"));
    f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs("0123456789abcdef\n", f);
    (void)fclose(f);
    assert_int_equal(serve(s, "0.0.0.0:0", path, 0, &e), 0);
    (void)unlink(path);
    assert_int_equal(ask(s, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"), 401);
    assert_int_equal(ask(s, "GET /metrics HTTP/1.1\r\nHost: h\r\n"
                            "Authorization: Bearer 0123456789abcdef\r\n\r\n"),
                     200);
}

static void
an_address_in_use_is_an_alarm_and_no_end(void **state)
{
    struct served *s = *state, other = *s;
    struct err e = {0};
    char address[32];

    log_level_set(LOG_ERROR);
    open_web(s, 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d",
                   http_server_port(s->web));
    assert_int_equal(serve(&other, address, "", 0, &e), 0);
    assert_int_equal(http_server_port(other.web), 0);
    assert_int_equal(other.alarms.n, 1);
    assert_string_equal(other.alarms.list[0].name, "http_down");
    http_server_close(other.web);
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_served, close_served)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_connection_carries_several_requests),
        TEST(what_is_refused_ends_the_connection),
        TEST(a_long_target_and_long_headers_are_refused),
        TEST(no_bytes_that_come_do_harm),
        TEST(clients_that_say_nothing_hold_up_nobody),
        TEST(a_client_beyond_the_limit_waits_for_its_turn),
        TEST(a_request_that_never_ends_is_ended),
        TEST(an_address_is_read_strictly),
        TEST(beyond_this_machine_a_token_is_needed),
        TEST(an_address_in_use_is_an_alarm_and_no_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
