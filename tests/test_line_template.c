/* The command of rally --each-line: a line never becomes code. */
#include "cli/line_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct mem_pool *pool;
static struct err err;

static int
setup(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

/* The command for a line, or the error. */
static const char *
command(const char *text, const char *line)
{
    struct line_template *t;
    struct str out = {0};
    const char *copy;

    if (line_template_parse(text, pool, &t, &err) < 0)
        return err.msg;
    line_template_add(t, line, &out);
    copy = mem_pool_strdup(pool, str_text(&out));
    str_free(&out);
    return copy;
}

static void
a_line_is_put_as_a_quoted_word(void **state)
{
    static const struct {
        const char *text, *line, *want;
    } rows[] = {
        {"echo {}", "a b", "echo 'a b'"},
        {"echo {}", "x.png", "echo x.png"},
        {"echo {}", "it's", "echo 'it'\\''s'"},
        {"echo pre{}post {}", "1", "echo pre'1'post 1"},
        {"echo {}>file", "2", "echo '2'>file"},
        {"{} x", "A=1", "'A=1' x"},
        {"; {}", "done", "; 'done'"},
        {"echo", "a b", "echo 'a b'"},
        {"echo", "7", "echo 7"},
        {"echo 'x' \"y z\" {}", "1", "echo 'x' \"y z\" 1"},
        {"echo \"$HOME ${HOME}\" {}", "1", "echo \"$HOME ${HOME}\" 1"},
        {"echo ${HOME} {}", "1", "echo ${HOME} 1"},
        {"echo \"a\\\"b\" {}", "1", "echo \"a\\\"b\" 1"},
        {"cat <<< {}", "1", "cat <<< 1"},
        {"x # don't\necho {}", "1", "x # don't\necho 1"},
        {"a#b'c' {}", "1", "a#b'c' 1"},
        {"echo $(dirname {}) {}", "a/b", "echo $(dirname 'a/b') a/b"},
        {"echo '\\{}' {}", "1", "echo '{}' 1"},
        {"find . -exec rm \\{} +", "/x", "find . -exec rm {} + /x"},
        {"echo \\\\{}", "1", "echo \\\\'1'"},
        {"[ -e {} ] && evaluate {}", "1", "[ -e 1 ] && evaluate 1"},
        {"echo ${a[0]} f[0-9] {}", "1", "echo ${a[0]} f[0-9] 1"},
        {"echo [{}]", "1", "echo ['1']"},
        {"npm run-eval {}", "1", "npm run-eval 1"},
        {"echo \"$SHUNT_LINE\"", "1", "echo \"$SHUNT_LINE\""},
        {"echo \"\\{}\" $SHUNT_LINE", "1", "echo \"{}\" $SHUNT_LINE"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(command(rows[i].text, rows[i].line), rows[i].want);
}

static void
a_place_where_a_line_could_become_code_is_refused(void **state)
{
    static const struct {
        const char *text, *column, *where;
    } rows[] = {
        {"echo \"{}\"", "column 7:", "inside quotes"},
        {"echo '{}'", "column 7:", "inside quotes"},
        {"echo \"a\" 'b {} c'", "column 13:", "inside quotes"},
        {"echo \"$(echo {})\"", "column 14:", "inside quotes"},
        {"echo \"$(case x in a) echo \"q {} \";; esac)\"",
         "column 30:", "a substitution in quotes"},
        {"echo \"`date`\" {}", "column 15:", "a substitution in quotes"},
        {"echo \"${x:-\"y\"}\" {}", "column 18:", "a substitution in quotes"},
        {"echo `echo {}`", "column 12:", "after a backtick"},
        {"echo $'a' {}", "column 11:", "after $'...'"},
        {"echo ${}", "column 7:", "after a $"},
        {"echo ${x:-{}}", "column 11:", "after ${...}"},
        {"echo $(( {} + 1 ))", "column 10:", "after (("},
        {"((i = {}))", "column 7:", "after (("},
        {"echo $[ {} ]", "column 9:", "after $["},
        {"a[{}]=1", "column 3:", "in a subscript"},
        {"eval echo {}", "column 11:", "after eval"},
        {"x; eval\techo {}", "column 14:", "after eval"},
        {"let {}", "column 5:", "after let"},
        {"cat <<E\n{}\nE", "column 9:", "after a here-document"},
        {"cat <<{}", "column 7:", "after a here-document"},
        {"true # {}", "column 8:", "in a comment"},
        {"true # no line", "column 15:", "in a comment"},
        {"echo \"open", "column 11:", "inside quotes"},
        {"echo 'open", "column 11:", "inside quotes"},
        {"echo \\", "column 7:", "after a backslash"},
        {"cat <<E\nx\nE\n", "column 13:", "after a here-document"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *said = command(rows[i].text, "LINE");

        if (!strstr(said, rows[i].column) || !strstr(said, rows[i].where) ||
            !strstr(said, "\"$SHUNT_LINE\""))
            fail_msg("%s: %s", rows[i].text, said);
    }
}

/* What the program prints with the command's shell; with its line in the
 * environment. */
static void
output_of(const char *shell, const char *text, const char *line,
          struct str *out)
{
    int fds[2], status;
    char buf[512];
    ssize_t n;
    pid_t pid;

    str_reset(out);
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)setenv(LINE_TEMPLATE_VARIABLE, line, 1);
        (void)execlp(shell, shell, "-c", text, (char *)NULL);
        _exit(99);
    }
    (void)close(fds[1]);
    while ((n = read(fds[0], buf, sizeof buf)) > 0)
        str_add(out, buf, (size_t)n);
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status)
        fail_msg("%s -c %s: status %d", shell, text, status);
}

static void
any_line_reaches_the_program_as_it_is(void **state)
{
    static const char *const templates[] = {
        "printf %s {}",
        "printf %s",
        "printf %s \"$SHUNT_LINE\"",
        "cd / && printf '%s' {}",
        "x=\"a b\"; printf \"%s\" {} # it's",
        "printf %s $(printf %s x >/dev/null){}",
        "if true; then printf %s {}; fi",
        "printf %s {}>&1",
    };
    static const char *const shells[] = {"sh", "bash"};
    static const char hostile[] = "'\"\\$`(){}[]<>|&;#!~*?= \t09ab./-";
    struct str out = {0};
    char line[24];

    (void)state;
    srand(7);
    for (int round = 0; round < 400; round++) {
        size_t len = 1 + (size_t)rand() % (sizeof line - 2), i;
        const char *text = templates[round % 8];

        /* Any byte but NUL and line breaks, or of those that mean something. */
        for (i = 0; i < len; i++)
            do
                line[i] = rand() % 4
                              ? hostile[rand() % (int)(sizeof hostile - 1)]
                              : (char)(1 + rand() % 255);
            while (line[i] == '\n' || line[i] == '\r');
        line[i] = '\0';
        output_of(shells[round / 8 % 2], command(text, line), line, &out);
        assert_string_equal(str_text(&out), line);
    }
    str_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_put_as_a_quoted_word),
        cmocka_unit_test(a_place_where_a_line_could_become_code_is_refused),
        cmocka_unit_test(any_line_reaches_the_program_as_it_is),
    };

    return cmocka_run_group_tests_name("line_template", tests, setup, teardown);
}
