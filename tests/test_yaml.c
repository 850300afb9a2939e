#include "lib/base/yaml.h"

#include "lib/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mem_pool *pool;

static const struct yaml_node *
accept(const char *text)
{
    const struct yaml_node *root = NULL;
    struct err e = {0};

    if (yaml_parse("x.yaml", text, strlen(text), pool, &root, &e) < 0)
        fail_msg("%s", e.msg);
    return root;
}

static void
expect(const struct yaml_node *n, const char *text, size_t line, size_t column)
{
    assert_non_null(n);
    assert_int_equal(n->kind, YAML_SCALAR);
    assert_string_equal(n->text, text);
    assert_int_equal(n->line, line);
    assert_int_equal(n->column, column);
}

static void
values_carry_line_and_column(void **state)
{
    const struct yaml_node *root =
        accept("# a comment\nname: x y\nlist:\n  - 1.10\n  - \"~\"\n"
               "map: {a: yes, b: ~}\nlong: |\n  one\n  two\n");
    const struct yaml_node *list = yaml_get(root, "list");
    const struct yaml_node *map = yaml_get(root, "map");

    (void)state;
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->n, 4);
    expect(root->first->key, "name", 2, 1);
    expect(yaml_get(root, "name"), "x y", 2, 7);
    assert_int_equal(list->kind, YAML_LIST);
    assert_int_equal(list->n, 2);
    assert_null(list->first->key);
    expect(list->first, "1.10", 4, 5);
    expect(list->first->next, "~", 5, 5);
    assert_true(list->first->next->quoted);
    assert_false(yaml_is_null(list->first->next));
    expect(yaml_get(map, "a"), "yes", 6, 10);
    assert_true(yaml_is_null(yaml_get(map, "b")));
    assert_string_equal(yaml_get(root, "long")->text, "one\ntwo\n");
    assert_null(yaml_get(root, "none"));
    assert_null(yaml_get(list, "name"));
    assert_null(yaml_get(NULL, "name"));
}

static void
carriage_returns_and_a_bom_are_accepted(void **state)
{
    const struct yaml_node *root = accept("\xef\xbb\xbf"
                                          "a: |\r\n  one\r\n  two\r\nb: 3\r\n");

    (void)state;
    assert_string_equal(yaml_get(root, "a")->text, "one\ntwo\n");
    expect(yaml_get(root, "b"), "3", 4, 4);
    expect(root->first->key, "a", 1, 1);
}

static void
nothing_is_a_null(void **state)
{
    static const char *const texts[] = {"", "\n# only\n", "---\n", "~"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_true(yaml_is_null(accept(texts[i])));
    assert_string_equal(yaml_kind_words(accept("")), "nothing");
    assert_string_equal(yaml_kind_words(accept("''")), "text");
    assert_string_equal(yaml_kind_words(accept("[]")), "a list");
    assert_string_equal(yaml_kind_words(accept("{}")), "a map");
}

static void
an_indented_part_counts_as_in_the_whole(void **state)
{
    static const char text[] = "    a: 1\n    b: |\n      x\n";
    const struct yaml_node *root;
    struct err e = {0};

    (void)state;
    assert_int_equal(
        yaml_parse_part("x.md", text, strlen(text), 40, pool, &root, &e), 0);
    expect(root->first->key, "a", 40, 5);
    assert_string_equal(yaml_get(root, "b")->text, "x\n");
    assert_int_equal(
        yaml_parse_part("x.md", "a: 1\n a: [\n", 11, 40, pool, &root, &e), -1);
    assert_memory_equal(e.msg, "x.md:41:", 8);
}

static const struct {
    const char *text, *error; /* error: how it begins */
} bad[] = {
    {"a: 1\nb: 2\na: 3\n", "x.yaml:3:1: a: given twice; keep one"},
    {"x:\n  - {b: 1, c: 2, 'b': 3}\n", "x.yaml:2:18: b: given twice"},
    {"context_header: a: b: c\n",
     "x.yaml:1:18: text with \": \" in it needs quotes: key: \"a: b\""},
    {"globs: **/*.go\n", "x.yaml:1:8: text that begins with * needs quotes"},
    {"a: @b\n", "x.yaml:1:4: text that begins with @ needs quotes"},
    {"a: %b\n", "x.yaml:1:4: text that begins with % needs quotes"},
    {"a: `b`\n", "x.yaml:1:4: text that begins with ` needs quotes"},
    {"a: !\n", "x.yaml:1:4: text that begins with ! needs quotes"},
    {"a: {{b}}\n", "x.yaml:1:5: a key must be plain text, and a value that "
                   "begins with {{ needs quotes"},
    {"a:b\nc: d\n", "x.yaml:2:2: the line above lacks a blank behind its "
                    "colon"},
    {"x: y\na:b\nc: d\n", "x.yaml:2:1: this line is no key: value; a blank "
                          "follows the colon"},
    {"a: b\n  c: d\n", "x.yaml:2:4: this key belongs to no map; check its "
                       "indentation and the line above"},
    {"a: \"\\d\"\n", "x.yaml:1:5: \\ means something else inside"},
    {"a: - b\n", "x.yaml:1:4: a list begins on a line of its own"},
    {"a: 'b'c'\n", "x.yaml:1:7: check the indentation; text with quotes"},
    {"a\nb: 1\n", "x.yaml:2:2: this key belongs to no map"},
    {"a: \x01\n", "x.yaml:1:4: a control character; remove it"},
    {"a:\n\tb: 1\n", "x.yaml:2:1: a tab; indent with blanks"},
    {"a: &b 1\n", "x.yaml:1:4: text that begins with & or * needs quotes"},
    {"a: &b [1]\n", "x.yaml:1:4: text that begins with & or * needs quotes"},
    {"a: &b {c: 1}\n", "x.yaml:1:4: text that begins with & or * needs quotes"},
    {"a: *b\n", "x.yaml:1:4: text that begins with & or * needs quotes"},
    {"a: !!binary x\n", "x.yaml:1:4: text that begins with ! needs quotes"},
    {"a: \"x\\0y\"\n", "x.yaml:1:4: text contains a NUL"},
    {"? [a]\n: 1\n", "x.yaml:1:3: a key must be plain text"},
    {"a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document begins here"},
    {"a: 1\nb: \xff\n",
     "x.yaml:2:4: a byte that is not text; save it as UTF-8"},
    {"a: [1\n", "x.yaml:2:1: a list that begins with [ is not closed"},
    {"a: \"1\n", "x.yaml:2:1: quotes are not closed"},
};

static void
what_is_refused_names_its_place(void **state)
{
    const struct yaml_node *root = NULL;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct err){0};
        if (yaml_parse("x.yaml", bad[i].text, strlen(bad[i].text), pool, &root,
                       &e) == 0)
            fail_msg("accepted: %s", bad[i].text);
        assert_int_equal(e.code, ERR_INVALID);
        if (strncmp(e.msg, bad[i].error, strlen(bad[i].error)) != 0)
            fail_msg("\n%s\ninstead of\n%s", e.msg, bad[i].error);
        assert_null(root);
    }
}

/* Lists in lists, n deep. */
static int
parse_nested(size_t n, struct err *e)
{
    const struct yaml_node *root;
    struct str text = {0};
    int rc;

    for (size_t i = 0; i < n; i++)
        str_addc(&text, '[');
    for (size_t i = 0; i < n; i++)
        str_addc(&text, ']');
    rc = yaml_parse("x", str_text(&text), text.len, pool, &root, e);
    str_free(&text);
    return rc;
}

static void
limits_hold_where_they_say(void **state)
{
    const struct yaml_node *root;
    struct err e = {0};
    struct str text = {0};

    (void)state;
    assert_int_equal(parse_nested(YAML_MAX_DEPTH, &e), 0);
    assert_int_equal(parse_nested(YAML_MAX_DEPTH + 1, &e), -1);
    assert_string_equal(e.msg, "x:1:33: nested too deeply");

    str_addz(&text, "[");
    for (size_t i = 1; i < YAML_MAX_NODES; i++)
        str_addz(&text, "1,");
    str_addz(&text, "]");
    assert_int_equal(
        yaml_parse("x", str_text(&text), text.len, pool, &root, &e), 0);
    assert_int_equal(root->n, YAML_MAX_NODES - 1);
    text.data[text.len - 1] = ' ';
    str_addz(&text, "1]");
    assert_int_equal(
        yaml_parse("x", str_text(&text), text.len, pool, &root, &e), -1);
    assert_non_null(strstr(e.msg, "more values than are read"));

    str_reset(&text);
    while (text.len < YAML_MAX_BYTES)
        str_addc(&text, '\n');
    assert_int_equal(
        yaml_parse("x", str_text(&text), text.len, pool, &root, &e), 0);
    str_addc(&text, '\n');
    assert_int_equal(
        yaml_parse("x", str_text(&text), text.len, pool, &root, &e), -1);
    assert_string_equal(e.msg, "x: 1048577 bytes; at most 1 MiB is read");
    str_free(&text);
}

static int
new_pool(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static int
free_pool(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

#define POOLED(f) cmocka_unit_test_setup_teardown(f, new_pool, free_pool)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(values_carry_line_and_column),
        POOLED(carriage_returns_and_a_bom_are_accepted),
        POOLED(nothing_is_a_null),
        POOLED(an_indented_part_counts_as_in_the_whole),
        POOLED(what_is_refused_names_its_place),
        POOLED(limits_hold_where_they_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
