#include "lib/model/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char forty[] = "0123456789012345678901234567890123456789";
static const char forty_one[] = "01234567890123456789012345678901234567890";

static void
a_token_is_letters_digits_dash_and_underscore(void **state)
{
    (void)state;
    assert_true(subject_token_ok("a"));
    assert_true(subject_token_ok("claude-code"));
    assert_true(subject_token_ok("A_9"));
    assert_true(subject_token_ok(forty));
    assert_false(subject_token_ok(forty_one));
    assert_false(subject_token_ok(""));
    assert_false(subject_token_ok("-a"));
    assert_false(subject_token_ok("_a"));
    assert_false(subject_token_ok("a.b"));
    assert_false(subject_token_ok("a b"));
    assert_false(subject_token_ok("*"));
    assert_false(subject_token_ok(">"));
    assert_false(subject_token_ok("a/b"));
    assert_false(subject_token_ok("\xc3\xa4"));
}

static void
any_text_becomes_a_token(void **state)
{
    static const struct {
        const char *text, *token;
    } rows[] = {
        {"devbox", "devbox"},
        {"my host.local", "my-host-local"},
        {"  a  b  ", "a-b"},
        {"..", "none"},
        {"", "none"},
        {"a//", "a"},
        {"--x", "x"},
        {"../../etc/passwd", "etc-passwd"},
        {"\xe6\x97\xa5", "none"},
    };
    char out[SUBJECT_TOKEN_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        subject_token_from(rows[i].text, "none", out);
        assert_string_equal(out, rows[i].token);
        assert_true(subject_token_ok(out));
    }
    subject_token_from(forty_one, "none", out);
    assert_string_equal(out, forty);
}

static void
subjects_are_spelled_as_documented(void **state)
{
    char out[SUBJECT_SIZE];

    (void)state;
    assert_string_equal(subject_task(out, "local", "default"),
                        "tasks.local.default");
    assert_string_equal(subject_result(out, "local", "cli"),
                        "results.local.cli");
    assert_string_equal(subject_claim(out, "local", "t1"),
                        "$KV.claims.local.t1");
    assert_string_equal(subject_logs(out, "t1"), "logs.t1");
    assert_string_equal(subject_dead(out, "router"), "dead.router");
    assert_string_equal(subject_cancel(out, "t1"), "$KV.control.cancel.t1");
    assert_string_equal(subject_heartbeat(out, "local", "w"), "hb.local.w");
    assert_string_equal(subject_done(out, "t1"), "done.t1");
    assert_string_equal(subject_started(out, "t1"), "started.t1");
    assert_string_equal(subject_batch(out, "b1"), "batch.b1");
    assert_string_equal(subject_ask(out, "list"), "ask.ledger.list");
    assert_string_equal(subject_drain(out, "local", "w"), "ctl.local.w");
    assert_string_equal(subject_lane_durable(out, "local", "claude-code"),
                        "local_claude-code");
}

static void
the_longest_tokens_fit_into_every_subject(void **state)
{
    char out[SUBJECT_SIZE];

    (void)state;
    assert_int_equal(strlen(subject_claim(out, forty, forty)),
                     strlen("$KV.claims..") + 80);
    assert_int_equal(strlen(subject_cancel(out, forty)),
                     strlen("$KV.control.cancel.") + 40);
}

static void
only_inboxes_are_answered(void **state)
{
    static const char *const others[] = {"",
                                         "_INBOX",
                                         "_INBOXES.x",
                                         "tasks.bulk",
                                         "$JS.API.STREAM.PURGE.TASKS",
                                         "_R_",
                                         "x._INBOX.y",
                                         "_inbox.a"};

    (void)state;
    assert_true(subject_is_inbox("_INBOX.cli.abc.1"));
    assert_true(subject_is_inbox("_R_.abc.1"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(subject_is_inbox(others[i]));
}

static void
a_heartbeat_is_of_the_worker_of_its_subject(void **state)
{
    (void)state;
    assert_true(subject_is_heartbeat_of("hb.local.w1", "local", "w1"));
    assert_false(subject_is_heartbeat_of("hb.local.w1", "local", "w2"));
    assert_false(subject_is_heartbeat_of("hb.local.w1", "codespace", "w1"));
    assert_false(subject_is_heartbeat_of("hb.local", "local", "w1"));
}

static void
tokens_are_read_by_position(void **state)
{
    char out[SUBJECT_TOKEN_MAX + 1];

    (void)state;
    assert_true(subject_token_at("tasks.local.gpu", 0, out));
    assert_string_equal(out, "tasks");
    assert_true(subject_token_at("tasks.local.gpu", 2, out));
    assert_string_equal(out, "gpu");
    assert_false(subject_token_at("tasks.local.gpu", 3, out));
    assert_false(subject_token_at("tasks..gpu", 1, out));
    assert_false(subject_token_at("tasks.", 1, out));
    assert_false(subject_token_at("", 0, out));
    assert_false(subject_token_at("tasks.*", 1, out));
    assert_false(subject_token_at("a.01234567890123456789012345678901234567890",
                                  1, out));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_letters_digits_dash_and_underscore),
        cmocka_unit_test(any_text_becomes_a_token),
        cmocka_unit_test(subjects_are_spelled_as_documented),
        cmocka_unit_test(the_longest_tokens_fit_into_every_subject),
        cmocka_unit_test(only_inboxes_are_answered),
        cmocka_unit_test(a_heartbeat_is_of_the_worker_of_its_subject),
        cmocka_unit_test(tokens_are_read_by_position),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
