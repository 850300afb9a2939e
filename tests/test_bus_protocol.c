#include "lib/bus/consumer.h"
#include "lib/bus/protocol.h"
#include "lib/bus/replies.h"
#include "lib/bus/requests.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- reading ---------------------------------------------------------------
 */

static char in[1024];

static enum protocol_kind
read_text(const char *text, struct protocol_op *op, size_t *used)
{
    size_t len = strlen(text);

    assert_true(len < sizeof in);
    memcpy(in, text, len + 1);
    return protocol_read(in, len, op, used);
}

static void
each_operation_is_told_from_the_others(void **state)
{
    static const struct {
        const char *text;
        enum protocol_kind kind;
    } rows[] = {
        {"", PROTOCOL_MORE},
        {"PIN", PROTOCOL_MORE},
        {"PING\r", PROTOCOL_MORE},
        {"PING\r\n", PROTOCOL_PING},
        {"PONG\r\nPING\r\n", PROTOCOL_PONG},
        {"+OK\r\n", PROTOCOL_OK},
        {"INFO {}\r\n", PROTOCOL_INFO},
        {"-ERR 'x'\r\n", PROTOCOL_ERR},
        {"MSG a 1 2\r\n", PROTOCOL_MORE},
        {"MSG a 1 2\r\nhi\r", PROTOCOL_MORE},
        {"MSG a 1 2\r\nhi\r\n", PROTOCOL_MSG},
        {"MSG a 1 r 2\r\nhi\r\n", PROTOCOL_MSG},
        {"MSG a 1 0\r\n\r\n", PROTOCOL_MSG},
        {"HMSG a 1 0 2\r\nhi\r\n", PROTOCOL_MSG},
        {"HMSG a 1 r 2 2\r\nhi\r\n", PROTOCOL_MSG},
        {"\r\n", PROTOCOL_JUNK},
        {"PINGS\r\n", PROTOCOL_JUNK},
        {"MSG\r\n", PROTOCOL_JUNK},
        {"MSG a 1\r\n", PROTOCOL_JUNK},
        {"MSG a 1 r r 2\r\nhi\r\n", PROTOCOL_JUNK},
        {"MSG a x 2\r\nhi\r\n", PROTOCOL_JUNK},
        {"MSG a 1 -2\r\nhi\r\n", PROTOCOL_JUNK},
        {"MSG a 1 2\r\nhi!\r\n", PROTOCOL_JUNK},
        {"MSG a 1 134217729\r\n", PROTOCOL_JUNK}, /* beyond all limits, */
        {"MSG a 1 134217728\r\n", PROTOCOL_MORE}, /* within */
        {"MSG a 1 99999999999999999999\r\n", PROTOCOL_JUNK},
        {"HMSG a 1 3 2\r\nhi\r\n", PROTOCOL_JUNK},
        {"HMSG a 1 2\r\nhi\r\n", PROTOCOL_JUNK},
        {"HMSG a 1 r q 2 2\r\nhi\r\n", PROTOCOL_JUNK},
        {"GET / HTTP/1.1\r\n", PROTOCOL_JUNK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct protocol_op op;
        size_t used;

        if (read_text(rows[i].text, &op, &used) != rows[i].kind)
            fail_msg("%s", rows[i].text);
    }
}

static void
a_line_that_does_not_end_is_junk_at_last(void **state)
{
    const size_t most = 256 * 1024;
    char *line = mem_zero(1, most);
    struct protocol_op op;
    size_t used;

    (void)state;
    memset(line, 'I', most);
    assert_int_equal(protocol_read(line, most - 1, &op, &used), PROTOCOL_MORE);
    assert_int_equal(protocol_read(line, most, &op, &used), PROTOCOL_JUNK);
    mem_free(line);
}

static void
a_message_is_taken_apart(void **state)
{
    struct protocol_op op;
    size_t used;

    (void)state;
    assert_int_equal(
        read_text("MSG a.b  12\t_INBOX.x 5\r\nhe\r\no\r\nPING\r\n", &op, &used),
        PROTOCOL_MSG);
    assert_int_equal(used, 31);
    assert_int_equal(op.sid, 12);
    assert_string_equal(op.msg.subject, "a.b");
    assert_string_equal(op.msg.reply, "_INBOX.x");
    assert_int_equal(op.msg.len, 5);
    assert_memory_equal(op.msg.data, "he\r\no", 5);
    assert_string_equal(op.msg.header[HEADER_ID], "");
    assert_int_equal(read_text("MSG a 1 0\r\n\r\n", &op, &used), PROTOCOL_MSG);
    assert_string_equal(op.msg.reply, "");
    assert_non_null(op.msg.data);
    assert_int_equal(op.msg.len, 0);
}

static void
read_block(const char *block, const char *data, struct protocol_op *op)
{
    char text[512];
    size_t used, head = strlen(block);

    (void)snprintf(text, sizeof text, "HMSG a 1 %zu %zu\r\n%s%s\r\n", head,
                   head + strlen(data), block, data);
    assert_int_equal(read_text(text, op, &used), PROTOCOL_MSG);
    assert_int_equal(used, strlen(text));
    assert_int_equal(op->msg.len, strlen(data));
    assert_memory_equal(op->msg.data, data, strlen(data));
}

static void
the_headers_we_know_are_read(void **state)
{
    struct protocol_op op;

    (void)state;
    read_block("NATS/1.0\r\nOther: x\r\nNATS-msg-id:  the id\r\n"
               "Nats-Msg-Id: second\r\nNats-Sequence:7\r\n\r\n",
               "body", &op);
    assert_string_equal(op.msg.header[HEADER_ID], "the id");
    assert_string_equal(op.msg.header[HEADER_SEQUENCE], "7");
    assert_string_equal(op.msg.header[HEADER_STATUS], "");
    read_block("NATS/1.0 408 Request Timeout\r\n"
               "Nats-Pending-Messages: 3\r\n\r\n",
               "", &op);
    assert_string_equal(op.msg.header[HEADER_STATUS], "408");
    assert_string_equal(op.msg.header[HEADER_DESCRIPTION], "Request Timeout");
    assert_string_equal(op.msg.header[HEADER_PENDING], "3");
    read_block("NATS/1.0 503\r\n\r\n", "", &op);
    assert_string_equal(op.msg.header[HEADER_STATUS], "503");
    assert_string_equal(op.msg.header[HEADER_DESCRIPTION], "");
}

static void
headers_that_are_wrong_are_no_headers(void **state)
{
    static const char *const blocks[] = {"x",
                                         "\r\n",
                                         "NATS/1.0",
                                         "NATS/2.0 404\r\n\r\n",
                                         "NATS/1.0\r\n:\r\n",
                                         "NATS/1.0\r\nno colon\r\n\r\n",
                                         "NATS/1.0\r\nNats-Msg-Id: cut"};
    struct protocol_op op;

    (void)state;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        read_block(blocks[i], "body", &op);
        for (int h = 0; h < HEADERS_READ; h++)
            assert_string_equal(op.msg.header[h], "");
    }
}

/* --- writing ---------------------------------------------------------------
 */

static void
what_is_put_is_what_travels(void **state)
{
    static const struct {
        struct protocol_out o;
        const char *text;
    } rows[] = {
        {{.subject = "a", .expect = -1}, "PUB a 0\r\n\r\n"},
        {{.subject = "a", .reply = "r.1", .expect = -1, .data = "hi", .len = 2},
         "PUB a r.1 2\r\nhi\r\n"},
        {{.subject = "a", .id = "i1", .expect = -1, .data = "hi", .len = 2},
         "HPUB a 29 31\r\nNATS/1.0\r\nNats-Msg-Id: i1\r\n\r\nhi\r\n"},
        {{.subject = "a", .reply = "r", .expect = 12},
         "HPUB a r 53 53\r\nNATS/1.0\r\n"
         "Nats-Expected-Last-Subject-Sequence: 12\r\n\r\n\r\n"},
        {{.subject = "a", .id = "i", .expect = 0},
         "HPUB a 68 68\r\nNATS/1.0\r\nNats-Msg-Id: i\r\n"
         "Nats-Expected-Last-Subject-Sequence: 0\r\n\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str out = {0};

        protocol_put(&out, &rows[i].o);
        assert_string_equal(str_text(&out), rows[i].text);
        str_free(&out);
    }
}

/* --- acknowledgements ------------------------------------------------------
 */

static void
an_acknowledgement_is_read_whatever_its_form(void **state)
{
    static const struct {
        const char *text;
        uint64_t seq; /* 0: it is none */
        bool duplicate;
    } rows[] = {
        {"{\"stream\":\"S\",\"seq\":12}", 12, false},
        {"{\"stream\":\"S\", \"seq\":12}", 12, false},
        {"{\"stream\":\"S\", \"seq\":12,\"duplicate\": true}", 12, true},
        {"{\"stream\":\"S\", \"seq\":12,\"duplicate\": false}", 12, false},
        {"{\"stream\":\"S\",\"domain\":\"d\",\"seq\":12}", 12, false},
        {"{\"seq\":12,\"stream\":\"S\"}\n", 12, false},
        {"{\"stream\":\"a\\\"b\",\"seq\":1}", 1, false},
        {"{\"stream\":\"S\",\"seq\":999999999999999999}", 999999999999999999,
         false},
        {"{\"stream\":\"S\",\"seq\":9223372036854775807}", INT64_MAX, false},
        {"{\"stream\":\"S\",\"seq\":9223372036854775808}", 0, false},
        {"{\"stream\":\"S\",\"seq\":0}", 0, false},
        {"{\"stream\":\"S\",\"seq\":01}", 0, false},
        {"{\"stream\":\"S\",\"seq\":1.5}", 0, false},
        {"{\"stream\":\"S\",\"seq\":1", 0, false},
        {"{\"stream\":\"S\",\"seq\":1}x", 0, false},
        {"{\"stream\":\"S\",\"seq\":1,}", 0, false},
        {"{\"stream\":\"S\",\"seq\":1,\"duplicate\":true", 0, false},
        {"{\"stream\":\"S", 0, false},
        {"{", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bus_stored s = {0};
        struct err e;
        int rc =
            replies_read_stored(rows[i].text, strlen(rows[i].text), &s, &e);

        if (rc != (rows[i].seq ? 0 : -1) || s.seq != rows[i].seq ||
            s.duplicate != rows[i].duplicate)
            fail_msg("%s", rows[i].text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_is_told_from_the_others),
        cmocka_unit_test(a_line_that_does_not_end_is_junk_at_last),
        cmocka_unit_test(a_message_is_taken_apart),
        cmocka_unit_test(the_headers_we_know_are_read),
        cmocka_unit_test(headers_that_are_wrong_are_no_headers),
        cmocka_unit_test(what_is_put_is_what_travels),
        cmocka_unit_test(an_acknowledgement_is_read_whatever_its_form),
    };

    log_open("test_bus_protocol");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
