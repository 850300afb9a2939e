#include "lib/base/str.h"
#include "workers/local/simple_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct simple_command_row {
    const char *script;
    const char *words; /* joined by '|'; NULL: needs a shell */
};

static const struct simple_command_row rows[] = {
    {"true", "true"},
    {"  make -j4\ttest \n", "make|-j4|test"},
    {"echo 'a  b' \"c d\"e''", "echo|a  b|c de"},
    {"echo ''", "echo|"},
    {"./run.sh --x=1 a@b:c,d%e+f", "./run.sh|--x=1|a@b:c,d%e+f"},
    {"echo '* ? [x] ~ # ; | & < > ( )'", "echo|* ? [x] ~ # ; | & < > ( )"},
    {"/bin/test 1", "/bin/test|1"},
    {"", NULL},
    {"   ", NULL},
    {"''", NULL},
    {"a; b", NULL},
    {"a && b", NULL},
    {"a | b", NULL},
    {"a > b", NULL},
    {"a &", NULL},
    {"a\nb", NULL},
    {"a\r", NULL},
    {"echo $HOME", NULL},
    {"echo \"$HOME\"", NULL},
    {"echo '$HOME'", NULL},
    {"echo `x`", NULL},
    {"echo a\\ b", NULL},
    {"echo *", NULL},
    {"ls ~", NULL},
    {"echo {a,b}", NULL},
    {"echo [a]", NULL},
    {"echo a?", NULL},
    {"echo # x", NULL},
    {"echo !x", NULL},
    {"echo 'a", NULL},
    {"(a)", NULL},
    {"A=1 b", NULL},
    {"A=1", NULL},
    {"'A=1' b", NULL},
    {"cd /tmp", NULL},
    {"chdir /tmp", NULL}, /* of dash */
    {"'cd' /tmp", NULL},
    {"exit 3", NULL},
    {"export", NULL},
    {"while true", NULL},
    {"time make", NULL},
    {":", NULL},
    {". ./x", NULL},
    {"ulimit -n", NULL},
    {"caf\xc3\xa9", NULL},
};

static void
test_row(void **state)
{
    const struct simple_command_row *row = *state;
    struct mem_pool *pool = mem_pool_new();
    const char **words = simple_command_words(row->script, pool);
    struct str got = {0};

    if (!row->words) {
        assert_null(words);
    } else {
        assert_non_null(words);
        for (size_t i = 0; words[i]; i++) {
            str_addz(&got, i ? "|" : "");
            str_addz(&got, words[i]);
        }
        assert_string_equal(str_text(&got), row->words);
    }
    str_free(&got);
    mem_pool_free(pool);
}

static void
arguments_may_be_words_a_shell_would_act_on(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    const char **words = simple_command_args("A=1 test", pool);

    (void)state;
    assert_non_null(words);
    assert_string_equal(words[0], "A=1");
    assert_string_equal(words[1], "test");
    assert_null(words[2]);
    words = simple_command_args("", pool);
    assert_non_null(words);
    assert_null(words[0]);
    mem_pool_free(pool);
}

static void
a_script_too_long_is_left_to_the_shell(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    char text[9000];

    (void)state;
    memset(text, 'x', sizeof text);
    text[8192] = '\0';
    assert_non_null(simple_command_words(text, pool));
    text[8192] = 'x';
    text[8193] = '\0';
    assert_null(simple_command_words(text, pool));
    mem_pool_free(pool);
}

enum { N_ROWS = sizeof rows / sizeof *rows };

int
main(void)
{
    struct CMUnitTest tests[N_ROWS + 2] = {
        cmocka_unit_test(arguments_may_be_words_a_shell_would_act_on),
        cmocka_unit_test(a_script_too_long_is_left_to_the_shell),
    };
    struct str names[N_ROWS] = {0};
    int rc;

    for (size_t i = 0; i < N_ROWS; i++) {
        str_addz(&names[i], rows[i].words ? "simple: " : "shell: ");
        str_add_printable(&names[i], rows[i].script,
                          strcspn(rows[i].script, "\n"));
        tests[i + 2] =
            (struct CMUnitTest){.name = str_text(&names[i]),
                                .test_func = test_row,
                                .initial_state = (void *)(uintptr_t)&rows[i]};
    }
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < N_ROWS; i++)
        str_free(&names[i]);
    return rc;
}
