/* Secrets are hidden in text, whole or in pieces; other text is not. */
#include "lib/base/mask.h"

#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SIXTEEN "0123456789abcdef"
#define KEY                                                                    \
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"                \
    "DEK-Info: AES-128-CBC,0123\n\nMIIEow+/IBAAK=\nQ0FF==\n"                   \
    "-----END RSA PRIVATE KEY-----"
#define JWT "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmN"

static const struct row {
    const char *text, *hidden; /* hidden NULL: as it is */
} rows[] = {
    {"a ghp_0123456789abcdefghij b", "a *** b"},
    {"x=gho_" SIXTEEN ",", "x=***,"},
    {"github_pat_11ABC_" SIXTEEN "\n", "***\n"},
    {"\033[31mghs_" SIXTEEN "\033[m", "\033[31m***\033[m"},
    {"url%3Dghu_" SIXTEEN, "url%3D***"},
    {"glpat-" SIXTEEN, "***"},
    {"key sk-" SIXTEEN "_-X.", "key ***."},
    {"\033[1;32msk-" SIXTEEN, "\033[1;32m***"},
    {"\"\\nsk-" SIXTEEN "\"", "\"\\n***\""},
    {"sk-ant-api03-abcdefgh", "***"},
    {"sk-proj-abcdefgh", "***"},
    {"xoxb-12345678-abc", "***"},
    {"AKIAIOSFODNN7EXAMPLE", "***"},
    {"AKIAIOSFODNN7EXAMPLE:x", "***:x"},
    {"AIzaSyA0123456789abcdefghijklmnopqrstuv", "***"},
    {"npm_" SIXTEEN SIXTEEN, "***"},
    {"t=" JWT ";", "t=***;"},
    {"1\n" KEY "\n2", "1\n***\n2"},
    {"{\"k\":\"-----BEGIN PRIVATE KEY-----\\nMII=\\n-----END PRIVATE "
     "KEY-----\\n\"}",
     "{\"k\":\"***\\n\"}"},
    {"git clone https://me:s3cret@example.org/x.git",
     "git clone https://me:***@example.org/x.git"},
    {"postgres://u:p@ss@h:5432/db", "postgres://u:***@h:5432/db"},
    {"redis://:hunter2@h", "redis://:***@h"},
    {"Authorization: Bearer abcdefgh12", "Authorization: Bearer ***"},
    {"> authorization: Basic dXNlcjpwYXNz\r\n",
     "> authorization: Basic ***\r\n"},
    {"{\"Authorization\": \"token 0123456789\"}",
     "{\"Authorization\": \"token ***\"}"},
    {"AUTHORIZATION=" SIXTEEN SIXTEEN, "AUTHORIZATION=***"},
    {"ghp_" SIXTEEN "ghp_" SIXTEEN, "***"},
    /* What only looks like one. */
    {"risk-assessment-of-2026-is-long", NULL},
    {"sk-circle-fade-dot-delay", NULL},
    {"ghp_", NULL},
    {"ghp_short", NULL},
    {"npm_config_registry", NULL},
    {"AKIAIOSFODNN7EXAMPLEANDMORE", NULL},
    {"eyJhbGciOiJIUzI1NiJ9.only", NULL},
    {"-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----", NULL},
    {"-----BEGIN PUBLIC KEY-----\nMIIE\n", NULL},
    {"http://localhost:8080/a@b", NULL},
    {"http://[::1]:80 x@y", NULL},
    {"https://user:$TOKEN@example.org", NULL},
    {"https://user:***@example.org", NULL},
    {"mail me@example.org", NULL},
    {"Authorization: Bearer $TOK", NULL},
    {"authorization is required by policy", NULL},
    {"Authorization: none", NULL},
    {"", NULL},
};

static void
shapes_are_hidden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct str out = {0};
        size_t at;

        mask_text(NULL, r->text, strlen(r->text), &out);
        assert_string_equal(str_text(&out), r->hidden ? r->hidden : r->text);
        assert_int_equal(mask_find(NULL, r->text, strlen(r->text), &at),
                         r->hidden != NULL);
        str_free(&out);
    }
}

static void
add(void *ctx, const void *text, size_t len)
{
    str_add(ctx, text, len);
}

/* Of every text, cut at every place and in pieces of every size, comes the
 * same. */
static void
in_pieces(const struct mask *m, const char *text, const char *wanted)
{
    size_t len = strlen(text);

    for (size_t piece = 1; piece <= len; piece++) {
        for (size_t first = 0; first < piece; first++) {
            struct mask_stream s;
            struct str out = {0};

            mask_stream_init(&s, m);
            mask_stream_add(&s, text, first, add, &out);
            for (size_t at = first; at < len; at += piece)
                mask_stream_add(&s, text + at,
                                len - at < piece ? len - at : piece, add, &out);
            mask_stream_end(&s, add, &out);
            assert_string_equal(str_text(&out), wanted);
            mask_stream_free(&s);
            str_free(&out);
        }
    }
}

static void
a_secret_is_hidden_however_it_is_cut(void **state)
{
    struct str text = {0}, wanted = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        in_pieces(NULL, rows[i].text,
                  rows[i].hidden ? rows[i].hidden : rows[i].text);
    /* Also in the middle of a long text. */
    for (int i = 0; i < 5000; i++)
        str_addf(&text, "line %d\n", i);
    str_add(&wanted, text.data, text.len);
    str_addz(&text, "token " JWT "\n");
    str_addz(&wanted, "token ***\n");
    for (size_t cut = text.len - 60; cut < text.len; cut++) {
        struct mask_stream s;
        struct str out = {0};

        mask_stream_init(&s, NULL);
        mask_stream_add(&s, text.data, cut, add, &out);
        mask_stream_add(&s, text.data + cut, text.len - cut, add, &out);
        mask_stream_end(&s, add, &out);
        assert_string_equal(str_text(&out), wanted.data);
        str_free(&out);
    }
    str_free(&text);
    str_free(&wanted);
}

static void
values_are_hidden_in_every_form(void **state)
{
    static const char text[] = "v=it's a \"s3cret\"! "
                               "+ x='it'\\''s a \"s3cret\"!' "
                               "{\"it's a \\\"s3cret\\\"!\"} "
                               "?q=it%27s%20a%20%22s3cret%22%21 "
                               "second line, first-line; it's a \"s3cret\"";
    static const char wanted[] = "v=*** + x='***' {\"***\"} ?q=*** "
                                 "***, ***; it's a \"s3cret\"";
    struct mask *m = mask_new();
    struct str out = {0};

    (void)state;
    mask_add_value(m, "it's a \"s3cret\"!");
    mask_add_value(m, "first-line\nsecond line\n");
    mask_add_value(m, "abc"); /* too short */
    mask_text(m, text, strlen(text), &out);
    assert_string_equal(str_text(&out), wanted);
    in_pieces(m, text, wanted);
    str_free(&out);
    mask_free(m);
}

static void
the_longest_value_wins(void **state)
{
    struct mask *m = mask_new();

    (void)state;
    mask_add_value(m, "aaaabbbb");
    mask_add_value(m, "aaaabbbbcccc");
    mask_add_value(m, "bbbbcccczzzz");
    in_pieces(m, "x aaaabbbb aaaabbbbcc aaaabbbbcccc aaaab",
              "x *** ***cc *** aaaab");
    mask_free(m);
}

/* What ordinary text a stream holds back, after so much of it. */
static size_t
held_after(const char *text)
{
    struct mask_stream s;
    struct str out = {0};
    size_t held;

    mask_stream_init(&s, NULL);
    mask_stream_add(&s, text, strlen(text), add, &out);
    held = strlen(text) - out.len;
    mask_stream_free(&s);
    str_free(&out);
    return held;
}

static void
ordinary_text_passes_at_once(void **state)
{
    (void)state;
    assert_int_equal(held_after("50 % done\n"), 0);
    assert_int_equal(held_after("Password: "), 0);
    assert_int_equal(held_after("a line\n"), 0);
    assert_int_equal(held_after("ghp_short\n"), 0);
    assert_int_equal(held_after("http://localhost"), 0);
    assert_int_equal(held_after("on http://localhost:8080"), 0);
    assert_int_equal(held_after("the tasks: ok."), 0);
    assert_int_equal(held_after("x ghp"), 3);
    assert_int_equal(held_after("x ghp_0123"), 8);
}

static void
a_yield_shows_too_little_to_tell(void **state)
{
    struct mask_stream s;
    struct str out = {0};

    (void)state;
    mask_stream_init(&s, NULL);
    mask_stream_add(&s, "a e", 3, add, &out);
    mask_stream_yield(&s, add, &out);
    assert_string_equal(str_text(&out), "a e");
    mask_stream_add(&s, "nd g", 4, add, &out);
    mask_stream_yield(&s, add, &out);
    assert_string_equal(str_text(&out), "a end g");
    mask_stream_add(&s, "hp_" SIXTEEN, 19, add, &out);
    mask_stream_add(&s, " end", 4, add, &out);
    mask_stream_end(&s, add, &out);
    assert_string_equal(str_text(&out), "a end g*** end");
    str_free(&out);
}

static void
names_tell_secrets(void **state)
{
    static const char *const secret[] = {
        "TOKEN",           "GITHUB_TOKEN", "githubToken",
        "DB_PASSWORD",     "PGPASSWORD",   "MY_SECRET_2",
        "OPENAI_API_KEY",  "apiKey",       "AWS_ACCESS_KEY_ID",
        "SSH_PRIVATE_KEY", "CREDENTIALS",  "NPM_AUTH",
        "GITHUB_PAT",      "AUTH",         "basic.auth",
        "MYSQL_PWD",       "ACCESSTOKEN",  "MY_PASSWD"};
    static const char *const open[] = {"SSH_AUTH_SOCK",
                                       "GIT_AUTHOR_NAME",
                                       "XAUTHORITY",
                                       "PWD",
                                       "OLDPWD",
                                       "TOKENIZERS_PARALLELISM",
                                       "PATH",
                                       "SSH_ASKPASS",
                                       "TOKEN_FILE",
                                       "PASSWORD_STORE_DIR",
                                       "AUTH_URL",
                                       "COMPASS",
                                       "PATIENCE",
                                       "KEYBOARD",
                                       ""};

    (void)state;
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++)
        if (!mask_is_secret_name(secret[i]))
            fail_msg("%s", secret[i]);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (mask_is_secret_name(open[i]))
            fail_msg("%s", open[i]);
}

static void
short_and_common_values_stay(void **state)
{
    (void)state;
    assert_true(mask_is_secret("PASSWORD", "hunter2"));
    assert_true(mask_is_secret("TOKEN", "abcdefgh"));
    assert_true(mask_is_secret("TOKEN", "/aB3+deF/ghIJ="));
    assert_true(mask_is_secret("TOK", "ghp_" SIXTEEN));
    assert_true(mask_is_secret("URL", "https://u:password@h"));
    assert_false(mask_is_secret("PASSWORD", "hunter"));
    assert_false(mask_is_secret("PASSWORD", "a1"));
    assert_false(mask_is_secret("TOKEN", "Disabled"));
    assert_false(mask_is_secret("TOKEN", "1000000"));
    assert_false(mask_is_secret("CREDENTIALS", "/etc/gcp/key.json"));
    assert_false(mask_is_secret("TOKEN", ""));
    assert_false(mask_is_secret("HOME", "abcdefgh"));
}

static const struct row commands[] = {
    {"curl -H 'Authorization: Bearer ghp_" SIXTEEN "' x",
     "curl -H 'Authorization: Bearer ***' x"},
    {"API_TOKEN=abc12345 make; echo", "API_TOKEN=*** make; echo"},
    {"export DB_PASSWORD='two words'", "export DB_PASSWORD='***'"},
    {"login --password hunter22 --user me", "login --password *** --user me"},
    {"x --api-key=\"abcd1234\" y", "x --api-key=\"***\" y"},
    {"curl -H 'X-Api-Key: abcd1234'", "curl -H 'X-Api-Key: ***'"},
    {"mysql --password=$PW --password \"$PW\"", NULL},
    {"fix the password: whatever comes", NULL},
    {"run --max-tokens 100000 --token --x", NULL},
    {"make -j2 test", NULL},
};

static void
commands_hide_what_they_assign(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct row *r = &commands[i];
        struct str out = {0};

        mask_command(NULL, r->text, &out);
        assert_string_equal(str_text(&out), r->hidden ? r->hidden : r->text);
        str_free(&out);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_hidden),
        cmocka_unit_test(a_secret_is_hidden_however_it_is_cut),
        cmocka_unit_test(values_are_hidden_in_every_form),
        cmocka_unit_test(the_longest_value_wins),
        cmocka_unit_test(ordinary_text_passes_at_once),
        cmocka_unit_test(a_yield_shows_too_little_to_tell),
        cmocka_unit_test(names_tell_secrets),
        cmocka_unit_test(short_and_common_values_stay),
        cmocka_unit_test(commands_hide_what_they_assign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
