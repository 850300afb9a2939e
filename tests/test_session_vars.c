/* Which variables stay with the session they belong to. */
#include "lib/base/session_vars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
what_names_a_session_is_known(void **state)
{
    static const char *const kept[] = {
        "GIT_SSH_COMMAND=ssh",
        "GIT_SSL_CAINFO=x",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_CONFIG_GLOBAL=x",
        "GIT=x",
        "ANTHROPIC_API_KEY=x",
        "CODEX_HOME=x",
        "TERM=xterm",
        "SSH_AUTH_SOCK=x",
        "LC_ALL=C",
        "PATH=/bin",
        "TMUX_TMPDIR=x",
        "VIMX=1",
        "GIT_DIRECTORY=x",
        "",
    };
    static const char *const dropped[] = {
        "GIT_DIR=x",
        "GIT_AUTHOR_NAME=x",
        "GIT_CONFIG_KEY_0=x",
        "CLAUDECODE=1",
        "TMUX=x",
        "TMUX_PANE=%1",
        "VSCODE_PID=1",
        "SSH_TTY=x",
        "MAKEFLAGS=-j",
        "GIT_CONFIG=x",
        "TERM_PROGRAM=x",
        "GIT_DIR",
    };

    (void)state;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (session_vars_has(kept[i]))
            fail_msg("%s is dropped", kept[i]);
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        if (!session_vars_has(dropped[i]))
            fail_msg("%s is kept", dropped[i]);
    assert_false(session_vars_is_git("TMUX=x"));
}

/* Git itself says which variables name a repository. */
static void
every_variable_that_git_lists_is_known(void **state)
{
    char line[128];
    size_t n = 0;
    FILE *git = popen("git rev-parse --local-env-vars", "r");

    (void)state;
    assert_non_null(git);
    while (fgets(line, sizeof line, git)) {
        line[strcspn(line, "\n")] = '\0';
        if (!session_vars_is_git(line))
            fail_msg("%s is not known", line);
        n++;
    }
    assert_int_equal(pclose(git), 0);
    assert_true(n > 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_names_a_session_is_known),
        cmocka_unit_test(every_variable_that_git_lists_is_known),
    };

    return cmocka_run_group_tests_name("session_vars", tests, NULL, NULL);
}
