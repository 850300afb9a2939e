/* The folder of outcomes that are not confirmed: files are whole or not there,
 * and what is set aside stays bounded. */
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "tests/folder.h"
#include "workers/core/result_spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/shunt-outcomes-XXXXXX";

static int
setup(void **state)
{
    char aside[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(aside, sizeof aside, "%s/superseded", dir);
    return mkdir(aside, 0700);
}

static int
teardown(void **state)
{
    (void)state;
    return folder_remove(dir);
}

static void
fill(struct spooled_result *r, struct output_part *part, const char *task,
     uint32_t attempt)
{
    *part =
        (struct output_part){STREAM_STDOUT, {(const uint8_t *)"said\0so", 7}};
    r->subject = "results.local.cli";
    codec_init(CODEC_CLAIM, &r->claim);
    codec_init(CODEC_RESULT, &r->result);
    r->claim.task = r->result.task = task;
    r->claim.attempt = r->result.attempt = attempt;
    r->claim.nonce = r->result.nonce = "nonce";
    r->claim.state = r->result.state = STATE_FAILED;
    r->result.exit_code = 3;
    r->result.output = part;
    r->result.n_output = 1;
}

static void
put(const char *task, uint32_t attempt)
{
    struct spooled_result r;
    struct output_part part;
    struct err e;

    fill(&r, &part, task, attempt);
    if (result_spool_put(dir, &r, &e) < 0)
        fail_msg("%s", e.msg);
}

static size_t
count(const char *below)
{
    char path[100];
    struct dirent *d;
    size_t n = 0;
    DIR *open_dir;

    (void)snprintf(path, sizeof path, "%s/%s", dir, below);
    open_dir = opendir(path);
    assert_non_null(open_dir);
    while ((d = readdir(open_dir)) != NULL)
        n += d->d_name[0] != '.';
    (void)closedir(open_dir);
    return n;
}

static void
an_outcome_comes_back_as_it_was_put(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    struct spooled_result r;
    const char **names;
    struct err e;

    (void)state;
    put("whole", 2);
    assert_int_equal(result_spool_sync(dir, &e), 0);
    names = result_spool_list(dir, pool);
    assert_string_equal(names[0], "whole-2");
    assert_null(names[1]);
    assert_int_equal(result_spool_load(dir, names[0], pool, &r, &e), 0);
    assert_string_equal(r.subject, "results.local.cli");
    assert_string_equal(r.claim.nonce, "nonce");
    assert_int_equal(r.claim.state, STATE_FAILED);
    assert_int_equal(r.result.exit_code, 3);
    assert_int_equal(r.result.n_output, 1);
    assert_memory_equal(r.result.output[0].data.data, "said\0so", 7);
    result_spool_remove(dir, names[0]);
    assert_null(*result_spool_list(dir, pool));
    mem_pool_free(pool);
}

static void
what_was_cut_short_at_any_byte_is_no_outcome(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    struct spooled_result r;
    char path[100];
    struct stat st;
    struct err e;

    (void)state;
    put("cut", 1);
    (void)snprintf(path, sizeof path, "%s/cut-1", dir);
    assert_int_equal(stat(path, &st), 0);
    while (st.st_size-- > 0) {
        assert_int_equal(truncate(path, st.st_size), 0);
        assert_int_equal(result_spool_load(dir, "cut-1", pool, &r, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        mem_pool_reset(pool);
    }
    result_spool_remove(dir, "cut-1");
    mem_pool_free(pool);
}

static void
a_claim_and_a_result_of_different_attempts_are_no_outcome(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    struct spooled_result r;
    struct output_part part;
    struct err e;

    (void)state;
    fill(&r, &part, "odd", 1);
    r.claim.nonce = "another";
    assert_int_equal(result_spool_put(dir, &r, &e), 0);
    assert_int_equal(result_spool_load(dir, "odd-1", pool, &r, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    result_spool_remove(dir, "odd-1");
    mem_pool_free(pool);
}

static void
an_unfinished_file_is_not_listed(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    char path[100];
    FILE *f;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/half-1.tmp", dir);
    f = fopen(path, "we");
    assert_non_null(f);
    (void)fclose(f);
    assert_null(*result_spool_list(dir, pool));
    (void)unlink(path);
    mem_pool_free(pool);
}

static void
what_is_set_aside_stays_bounded(void **state)
{
    char name[RESULT_SPOOL_NAME_SIZE];

    (void)state;
    for (uint32_t i = 1; i <= RESULT_SPOOL_KEPT + 5; i++) {
        put("aside", i);
        result_spool_set_aside(dir, result_spool_name(name, "aside", i));
    }
    assert_int_equal(count("superseded"), RESULT_SPOOL_KEPT);
    assert_int_equal(count(""), 1); /* superseded itself */
}

static void
a_folder_that_is_gone_is_an_error_that_may_pass(void **state)
{
    struct spooled_result r;
    struct output_part part;
    struct err e;

    (void)state;
    fill(&r, &part, "nowhere", 1);
    assert_int_equal(result_spool_put("/nonexistent/outcomes", &r, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_int_equal(result_spool_sync("/nonexistent/outcomes", &e), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outcome_comes_back_as_it_was_put),
        cmocka_unit_test(what_was_cut_short_at_any_byte_is_no_outcome),
        cmocka_unit_test(
            a_claim_and_a_result_of_different_attempts_are_no_outcome),
        cmocka_unit_test(an_unfinished_file_is_not_listed),
        cmocka_unit_test(what_is_set_aside_stays_bounded),
        cmocka_unit_test(a_folder_that_is_gone_is_an_error_that_may_pass),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
