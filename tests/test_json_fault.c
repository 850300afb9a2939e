#include "lib/base/json_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text;
    size_t at;
    const char *message;
} faults[] = {
    {"{\"a\": 1, // x\n}", 9, "JSON has no comments; remove it"},
    {"/* x */ {}", 0, "JSON has no comments; remove it"},
    {"{\"a\": 1,\n# x\n}", 9, "JSON has no comments; remove it"},
    {"{\"a\": 1,\n}", 7, "a comma behind the last entry; remove it"},
    {"[1, 2,]", 5, "a comma behind the last entry; remove it"},
    {"{\"a\": 1,, \"b\": 2}", 8, "a comma too many; remove it"},
    {"[1,,2]", 3, "a comma without a value before it; remove it"},
    {"{\"a\": 1}\n{\"b\": 2}", 9,
     "a second object begins here; write one in a file"},
    {"{\"a\": 1} x", 9, "text behind the end; remove it"},
    {"{'a': 1}", 1, "text is written in \"...\" here, not in '...'"},
    {"{a: 1}", 1, "a key needs quotes"},
    {"{\"a\": b}", 6, "text needs quotes: \"b\""},
    {"{\"a\": True}", 6, "True is written true here"},
    {"{\"a\": None}", 6, "None is written null here"},
    {"{\"a\": NaN}", 6, "NaN is no number of JSON; write null"},
    {"{\"a\": -Infinity}", 6, "-Infinity is no number of JSON; write null"},
    {"{\"a\": 01}", 6, "01 is no number of JSON; text needs \"...\""},
    {"{\"a\": +1}", 6, "+1 is no number of JSON; text needs \"...\""},
    {"{\"a\": 2s}", 6, "2s is no number of JSON; text needs \"...\""},
    {"{\"a\": .5}", 6, ".5 is no number of JSON; text needs \"...\""},
    {"{\"a\": 1 \"b\": 2}", 8, "a comma is missing before this"},
    {"[\"a\" \"b\"]", 5, "a comma is missing before this"},
    {"{\"a\" 1}", 5, "a : is missing between key and value"},
    {"{\"a\" = 1}", 5, "a : is missing between key and value"},
    {"{\"a\"}", 4, "a key without its value; write key: value"},
    {"{\"a\": }", 6, "a key without its value; write key: value"},
    {"{\"a\": [1}", 8, "} closes what began with [; write ] first"},
    {"{\"a\": [1]", 0, "{ is not closed; the text ends before its }"},
    {"{\"a\": \"b", 6, "these quotes are not closed"},
    {"{\"a\": \"b\nc\"}", 6,
     "these quotes are not closed in their line; close them, and write a "
     "line's end as \\n"},
    {"{\"a\": \"\\d\"}", 7, "\\d means nothing here; write \\\\d"},
    {"{\"a\": \"\\u12\"}", 7, "\\u needs four hexadecimal digits"},
    {"{\"a\": \"\t\"}", 7, "a tab inside quotes; write \\t"},
    {"{\u201ca\u201d: 1}", 1, "a typographic quote; write \""},
    {"{\"a\"\uff1a 1}", 4, "a full-width colon; write :"},
    {"{\"a\":\u3000 1}", 5, "a full-width blank; write an ordinary one"},
    {"}", 0, "} without its beginning; remove it"},
    {"", 0, "empty"},
    {"3", 0, "JSON begins with {"},
    {"{{x}}", 1, "expected a key in quotes"},
};

static void
d12_each_mistake_is_named_where_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct json_fault f;

        if (!json_fault_find(faults[i].text, strlen(faults[i].text), &f))
            fail_msg("nothing found in %s", faults[i].text);
        if (f.at != faults[i].at || strcmp(f.message, faults[i].message) != 0)
            fail_msg("%s: %zu: %s", faults[i].text, f.at, f.message);
    }
}

static void
in_json_nothing_is_found(void **state)
{
    static const char *const texts[] = {
        "{}", "[]", "[1, -2.5e+3, 0, \"\\u00e9\\n\", true, false, null]",
        "{\"a\": {\"b\": [{}, []]}, \"c\": \"// # '\"}\n"};
    struct json_fault f;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (json_fault_find(texts[i], strlen(texts[i]), &f))
            fail_msg("%s: %zu: %s", texts[i], f.at, f.message);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(d12_each_mistake_is_named_where_it_is),
        cmocka_unit_test(in_json_nothing_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
