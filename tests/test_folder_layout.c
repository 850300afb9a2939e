#include "gateways/folder/folder_layout.h"
#include "lib/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct folder_layout_row {
    const char *line;
    enum style style;
    const char *waiting, *running, *done, *failed, *root;
};

static const struct folder_layout_row rows[] = {
    {"jobs/queue", STYLE_JOBS, "/p/jobs/queue", "/p/jobs/running",
     "/p/jobs/done", "/p/jobs/failed", "/p"},
    {"/q/./x//inboxes/ jobs", STYLE_JOBS, "/q/x/inboxes", "/q/x/running",
     "/q/x/done", "/q/x/failed", "/q/x"},
    {".cloud-queue", STYLE_CLOUD_QUEUE, "/p/.cloud-queue/pending",
     "/p/.cloud-queue/running", "/p/.cloud-queue/completed",
     "/p/.cloud-queue/failed", "/p"},
    {"~/agent-queue workdir=~/work", STYLE_AGENT_QUEUE, "/home/u/agent-queue",
     "/home/u/agent-queue/running", "/home/u/agent-queue/done",
     "/home/u/agent-queue/failed", "/home/u/work"},
    {"codex/inbox style=inbox failed=_done", STYLE_INBOX, "/p/codex/inbox",
     "/p/codex/inbox/_running", "/p/codex/inbox/_done", "/p/codex/inbox/_done",
     "/p"},
    {"'my jobs/queue' running=/r done=\"/d d\" git=pull", STYLE_JOBS,
     "/p/my jobs/queue", "/r", "/d d", "/p/my jobs/failed", "/p/my jobs"},
};

static void
a_line_gives_every_folder(void **state)
{
    const struct folder_layout_row *r = *state;
    struct folder_layout p;
    struct err e;

    (void)setenv("HOME", "/home/u", 1);
    if (folder_layout_parse(r->line, "/p", &p, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(p.style, r->style);
    assert_string_equal(p.waiting, r->waiting);
    assert_string_equal(p.running, r->running);
    assert_string_equal(p.done, r->done);
    assert_string_equal(p.failed, r->failed);
    assert_string_equal(p.root, r->root);
    folder_layout_release(&p);
}

static void
git_is_pulled_and_pushed_only_where_it_says_so(void **state)
{
    struct folder_layout p;
    struct err e;

    (void)state;
    assert_int_equal(folder_layout_parse("jobs/queue", "/p", &p, &e), 0);
    assert_false(p.pull || p.push);
    folder_layout_release(&p);
    assert_int_equal(folder_layout_parse("jobs/queue git=pull", "/p", &p, &e),
                     0);
    assert_true(p.pull && !p.push);
    folder_layout_release(&p);
    assert_int_equal(
        folder_layout_parse("jobs/queue git=pull+push", "/p", &p, &e), 0);
    assert_true(p.pull && p.push);
    folder_layout_release(&p);
}

static void
mistakes_name_the_word_and_the_remedy(void **state)
{
    static const struct {
        const char *line, *want;
    } bad[] = {
        {"", "empty; write a path and a style"},
        {"/q/x", "/q/x: no style; write style=jobs, cloud-queue, agent-queue "
                 "or inbox after the path"},
        {"/q style=job", "'job' is not a style; write jobs, cloud-queue, "
                         "agent-queue or inbox"},
        {"/q jobs style=inbox", "'inbox': a second style"},
        {"/q jobs stile=jobs", "stile=jobs: unknown; write style=, git=, "
                               "serial=, workdir=, project=, "
                               "running=, done= or failed="},
        {"/q jobs git=push", "git=push: write git=pull or git=pull+push"},
        {"/q jobs workdir=", "workdir=: a value is missing"},
        {"'/q jobs", "''/q jobs': a quote is not closed"},
        {"/q jobs running=.", "running= is the folder where files wait: /q"},
        {"/q jobs done=.", "/q is where files wait or run: done= and failed= "
                           "must be elsewhere"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct folder_layout p;
        struct err e = {0};

        assert_int_equal(folder_layout_parse(bad[i].line, "/p", &p, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_string_equal(e.msg, bad[i].want);
    }
}

static void
files_are_serial_by_workdir_where_the_style_or_the_line_says_so(void **state)
{
    static const struct {
        const char *line;
        bool serial;
    } lines[] = {
        {"jobs/queue", true},    {"jobs/queue serial=no", false},
        {".cloud-queue", false}, {".cloud-queue serial=workdir", true},
        {"agent-queue", false},  {"codex/inbox", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct folder_layout p;
        struct err e;

        assert_int_equal(folder_layout_parse(lines[i].line, "/p", &p, &e), 0);
        if (p.serial != lines[i].serial)
            fail_msg("%s", lines[i].line);
        folder_layout_release(&p);
    }
}

static void
only_files_that_are_work_are_taken(void **state)
{
    static const struct {
        const char *line, *name;
        bool taken;
    } names[] = {
        {"jobs/queue", "a.json", true},
        {"jobs/queue", "a.YAML", true},
        {"jobs/queue", "a.md", true},
        {"jobs/queue", ".a.json", false},
        {"jobs/queue", "a.json.tmp", false},
        {"jobs/queue", "a.json~", false},
        {"jobs/queue", "README.md", false},
        {"jobs/queue", "AGENTS.md", false},
        {"jobs/queue", "claude.local.md", false},
        {"jobs/queue", "Contributing.md", false},
        {"jobs/queue", "_draft.md", false},
        {"jobs/queue", "agents-rewrite.md", true},
        {"jobs/queue", "agents.json", true},
        {"jobs/queue", "_job.json", true},
        {"jobs/queue", "a.result.json", false},
        {"jobs/queue", ".json", false},
        {"agent-queue", "a.md", true},
        {"agent-queue", "a.json", false},
        {"agent-queue", "a.md.delegated", false},
        {"codex/inbox", "a.json", true},
        {"codex/inbox", "a.md", false},
        {".cloud-queue", "a.json", true},
        {".cloud-queue", "a.txt", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct folder_layout p;
        struct err e;

        assert_int_equal(folder_layout_parse(names[i].line, "/p", &p, &e), 0);
        if (folder_layout_takes(&p, names[i].name) != names[i].taken)
            fail_msg("%s in %s", names[i].name, names[i].line);
        folder_layout_release(&p);
    }
}

static struct folder_layout plain = {.name_max = FOLDER_LAYOUT_NAME_MAX};

static void
a_claimed_file_tells_its_id_its_owner_and_its_name(void **state)
{
    static const char *const bad[] = {
        "a-b.json",
        ".claimed-0123456789abcdef",
        ".claimed-0123456789abcdef-",
        ".claimed-0123456789abcdefx",
        ".claimed-0123456789 bcdef-x",
        ".claimed-0123456789abcdef.f",
        ".claimed-0123456789abcdef.f.h",
        ".claimed-0123456789abcdef.f.h.123456789-x",
        ".claimed-0123456789abcdef.f.h.12345678-",
    };
    struct folder_claim c = {
        .id = "0123456789abcdef", .digest = "12345678", .name = "a-b.json"};
    char path[FOLDER_LAYOUT_CLAIM_SIZE];

    (void)state;
    folder_layout_owner(&c.owner, "ab/12", "dev.box_1");
    folder_layout_claim_path(&plain, &c, path);
    assert_string_equal(
        path, ".claimed-0123456789abcdef.ab12.dev-box-1.12345678-a-b.json");
    c = (struct folder_claim){0};
    assert_true(folder_layout_read_claim(path, &c));
    assert_string_equal(c.id, "0123456789abcdef");
    assert_string_equal(c.owner.fleet, "ab12");
    assert_string_equal(c.owner.host, "dev-box-1");
    assert_string_equal(c.digest, "12345678");
    assert_string_equal(c.name, "a-b.json");
    /* As earlier versions claimed. */
    assert_true(
        folder_layout_read_claim(".claimed-0123456789abcdef-.a.b.c-d", &c));
    assert_string_equal(c.owner.fleet, "");
    assert_string_equal(c.name, ".a.b.c-d");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (folder_layout_read_claim(bad[i], &c))
            fail_msg("%s", bad[i]);
}

static void
a_long_name_is_claimed_in_a_folder(void **state)
{
    struct folder_claim c = {
        .id = "0123456789abcdef", .owner = {"ab12", "h"}, .digest = "12345678"};
    char path[FOLDER_LAYOUT_CLAIM_SIZE];
    size_t head = strlen(".claimed-0123456789abcdef.ab12.h.12345678");

    (void)state;
    for (size_t len = 1; len <= FOLDER_LAYOUT_NAME_MAX; len++) {
        memset(c.name, 'n', len);
        c.name[len] = '\0';
        folder_layout_claim_path(&plain, &c, path);
        assert_int_equal(path[head],
                         head + 1 + len > FOLDER_LAYOUT_NAME_MAX ? '/' : '-');
        assert_true(folder_layout_read_claim(path, &c));
        assert_int_equal(strlen(c.name), len);
    }
    path[head] = '\0'; /* the folder alone */
    assert_true(folder_layout_read_claim(path, &c));
    assert_string_equal(c.name, "");
}

static void
names_of_what_stands_beside_a_file(void **state)
{
    char out[FOLDER_LAYOUT_FILE_SIZE];

    (void)state;
    folder_layout_second_name(&plain, "0123456789abcdef", "a.b.json", out);
    assert_string_equal(out, "a.b.01234567.json");
    folder_layout_second_name(&plain, "0123456789abcdef", "a", out);
    assert_string_equal(out, "a.01234567");
    folder_layout_result_name(&plain, "a.b.json", out);
    assert_string_equal(out, "a.b.result.json");
    folder_layout_result_name(&plain, "a.md", out);
    assert_string_equal(out, "a.md.result.json");
    folder_layout_sidecar_name(&plain, "a.md", out);
    assert_string_equal(out, "a.md.delegated");
    folder_layout_error_name(&plain, "a.md", out);
    assert_string_equal(out, "a.md.error");
    folder_layout_stem("a.b.json", out);
    assert_string_equal(out, "a.b");
}

/* Whatever a file is called, and however short names must be. */
static void
names_beside_a_long_one_fit_and_differ(void **state)
{
    struct folder_layout p = {0};
    char name[FOLDER_LAYOUT_FILE_SIZE], other[FOLDER_LAYOUT_FILE_SIZE];
    char out[4][FOLDER_LAYOUT_FILE_SIZE], like[FOLDER_LAYOUT_FILE_SIZE];

    (void)state;
    for (p.name_max = 64; p.name_max <= FOLDER_LAYOUT_NAME_MAX; p.name_max++) {
        size_t n = 0;

        for (; n + 3 + 5 <= p.name_max; n += 3)
            memcpy(name + n, "\xe8\xa6\x8b", 3);
        (void)str_copy(name + n, sizeof name - n, ".json");
        memcpy(other, name, sizeof name);
        memcpy(other + n - 3, "\xe7\xa9\x8d", 3); /* another last one */
        folder_layout_result_name(&p, name, out[0]);
        folder_layout_error_name(&p, name, out[1]);
        folder_layout_sidecar_name(&p, name, out[2]);
        folder_layout_second_name(&p, "0123456789abcdef", name, out[3]);
        folder_layout_result_name(&p, other, like);
        assert_string_not_equal(like, out[0]);
        for (size_t i = 0; i < 4; i++) {
            struct str text = {0};

            assert_true(strlen(out[i]) <= p.name_max);
            str_add_utf8(&text, out[i], strlen(out[i]));
            assert_string_equal(str_text(&text), out[i]); /* none is cut */
            str_free(&text);
        }
        assert_true(str_ends_with(out[0], ".result.json"));
        assert_true(str_ends_with(out[3], ".01234567.json"));
    }
}

enum { N_ROWS = sizeof rows / sizeof *rows };

int
main(void)
{
    static struct CMUnitTest tests[N_ROWS + 8] = {
        cmocka_unit_test(git_is_pulled_and_pushed_only_where_it_says_so),
        cmocka_unit_test(mistakes_name_the_word_and_the_remedy),
        cmocka_unit_test(
            files_are_serial_by_workdir_where_the_style_or_the_line_says_so),
        cmocka_unit_test(only_files_that_are_work_are_taken),
        cmocka_unit_test(a_claimed_file_tells_its_id_its_owner_and_its_name),
        cmocka_unit_test(a_long_name_is_claimed_in_a_folder),
        cmocka_unit_test(names_of_what_stands_beside_a_file),
        cmocka_unit_test(names_beside_a_long_one_fit_and_differ),
    };

    for (size_t i = 0; i < N_ROWS; i++)
        tests[8 + i] =
            (struct CMUnitTest){.name = rows[i].line,
                                .test_func = a_line_gives_every_folder,
                                .initial_state = (void *)(uintptr_t)&rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
