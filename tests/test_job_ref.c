#include "lib/model/job_ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
what_was_written_is_read(void **state)
{
    char note[JOB_REF_NOTE_SIZE];
    struct job_ref r = {"t1:0", ""}, out;

    (void)state;
    job_ref_write(&r, note);
    assert_string_equal(note, "key t1:0");
    assert_true(job_ref_read(note, &out));
    assert_string_equal(out.key, "t1:0");
    assert_string_equal(out.id, "");
    memcpy(r.id, "job-7", sizeof "job-7");
    job_ref_write(&r, note);
    assert_string_equal(note, "key t1:0 id job-7");
    assert_true(job_ref_read(note, &out));
    assert_string_equal(out.id, "job-7");
}

static void
the_longest_fit_and_nothing_longer_is_taken(void **state)
{
    char note[JOB_REF_NOTE_SIZE], text[400];
    struct job_ref r = {0}, out;

    (void)state;
    memset(r.key, 'k', JOB_REF_KEY_SIZE - 1);
    memset(r.id, 'j', JOB_REF_ID_SIZE - 1);
    job_ref_write(&r, note);
    assert_true(job_ref_read(note, &out));
    assert_memory_equal(&out, &r, sizeof r);
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "key ", 4);
    text[sizeof text - 1] = '\0';
    assert_true(job_ref_read(text, &out));
    assert_int_equal(strlen(out.key), JOB_REF_KEY_SIZE - 1);
}

static void
other_text_is_no_note(void **state)
{
    static const char *const texts[] = {"", "key", "key ", "id x", "what"};
    struct job_ref out;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(job_ref_read(texts[i], &out));
        assert_string_equal(out.key, "");
        assert_string_equal(out.id, "");
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_longest_fit_and_nothing_longer_is_taken),
        cmocka_unit_test(other_text_is_no_note),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
