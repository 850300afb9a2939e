#include "gateways/folder/claim_file.h"
#include "gateways/folder/dir_scan.h"
#include "gateways/folder/files.h"
#include "gateways/folder/folder_access.h"
#include "gateways/folder/folder_list.h"
#include "gateways/folder/outcome_text.h"
#include "gateways/folder/write_back.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ID "0123456789abcdef"
#define CLAIMED(name) ".claimed-" ID ".f1ee7.host." DIGEST "-" name
#define DIGEST "00000000"
#define JOB "{\"id\": \"x\", \"script\": [\"true\"]}"

static char top[64];
static struct folder_layout layout;

/* --- a folder of one's own ------------------------------------------------ */

static void
use(const char *line)
{
    struct err e;

    folder_layout_release(&layout);
    if (folder_layout_parse(line, top, &layout, &e) < 0 ||
        files_make_dir(layout.waiting, &e) < 0 ||
        files_make_dir(layout.running, &e) < 0)
        fail_msg("%s", e.msg);
}

static void
put(const char *dir, const char *name, const char *text)
{
    struct err e;

    if (files_make_dir(dir, &e) < 0 ||
        files_put(dir, name, text, strlen(text), &e) < 0)
        fail_msg("%s", e.msg);
}

static bool
there(const char *dir, const char *name)
{
    return file_exists(FILES_PATH(dir, name));
}

/* The text of a file that must be there; until the next call. */
static const char *
text_of(const char *dir, const char *name)
{
    static struct str text;
    struct stat st;
    struct err e;

    str_reset(&text);
    if (files_read(FILES_PATH(dir, name), 1 << 20, &text, &st, &e) < 0)
        fail_msg("%s", e.msg);
    return str_text(&text);
}

static int
setup(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof top, "/tmp/shunt-folder-XXXXXX");
    if (!mkdtemp(top))
        return -1;
    use("jobs/queue");
    return 0;
}

static int
teardown(void **state)
{
    char line[128];
    pid_t pid;

    (void)state;
    folder_layout_release(&layout);
    (void)snprintf(line, sizeof line, "%s", top);
    pid = fork();
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", line, (char *)NULL);
        _exit(1);
    }
    return 0;
}

/* --- files ------------------------------------------------------------------
 */

static void
a_move_takes_no_name_that_is_taken(void **state)
{
    struct err e;

    (void)state;
    put(top, "a", "1");
    put(top, "b", "2");
    assert_int_equal(files_move(FILES_PATH(top, "a"), FILES_PATH(top, "b"), &e),
                     -1);
    assert_int_equal(e.code, ERR_CONFLICT);
    assert_string_equal(text_of(top, "b"), "2");
    assert_int_equal(files_move(FILES_PATH(top, "a"), FILES_PATH(top, "c"), &e),
                     0);
    assert_int_equal(files_move(FILES_PATH(top, "a"), FILES_PATH(top, "d"), &e),
                     -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
a_text_is_put_in_place_of_another(void **state)
{
    (void)state;
    put(top, "a", "long ago");
    put(top, "a", "now");
    assert_string_equal(text_of(top, "a"), "now");
}

/* --- looks ------------------------------------------------------------------
 */

static void
names_are_sorted_and_what_changes_starts_anew(void **state)
{
    struct dir_scan first, second;
    struct err e;

    (void)state;
    put(layout.waiting, "b.json", "1");
    put(layout.waiting, "a.json", "1");
    put(layout.waiting, "c.txt", "1");
    assert_int_equal(symlink("a.json", FILES_PATH(layout.waiting, "l.json")),
                     0);
    assert_int_equal(dir_scan_read(&layout, 1000, &first, &e), 0);
    assert_int_equal(first.n, 2);
    assert_string_equal(first.v[0].name, "a.json");
    put(layout.waiting, "b.json", "12");
    put(layout.waiting, "aa.json", "1");
    assert_int_equal(dir_scan_read(&layout, 2000, &second, &e), 0);
    dir_scan_compare(&second, &first);
    assert_int_equal(second.n, 3);
    assert_int_equal(second.v[0].since_ms, 1000); /* a: as it was */
    assert_int_equal(second.v[1].since_ms, 2000); /* aa: new */
    assert_int_equal(second.v[2].since_ms, 2000); /* b: has grown */
    dir_scan_release(&first);
    dir_scan_release(&second);
}

static void
a_folder_that_is_not_there_is_said(void **state)
{
    struct dir_scan l;
    struct err e;

    (void)state;
    (void)rmdir(layout.waiting);
    assert_int_equal(dir_scan_read(&layout, 0, &l, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
a_folder_that_cannot_be_used_is_said_with_the_remedy(void **state)
{
    char why[512], file[128];

    (void)state;
    assert_true(folder_access_check(&layout, why, sizeof why));
    assert_string_equal(why, "");
    layout.done = mem_pool_strdup(layout.pool, "/proc/done");
    assert_false(folder_access_check(&layout, why, sizeof why));
    assert_non_null(strstr(why, "/proc/done is on another file system"));
    assert_non_null(strstr(why, "set running=, done= and failed="));
    put(top, "file", "");
    (void)snprintf(file, sizeof file, "%s/file", top);
    layout.done = mem_pool_strdup(layout.pool, file);
    assert_false(folder_access_check(&layout, why, sizeof why));
    assert_non_null(strstr(why, file));
    (void)rmdir(layout.waiting);
    assert_false(folder_access_check(&layout, why, sizeof why));
    assert_non_null(strstr(why, layout.waiting));
}

static void
a_list_of_folders_keeps_any_path(void **state)
{
    json_t *list = json_pack("[{s:s, s:s}]", "line", "'a b' style=jobs", "from",
                             "/x\n, \"y\""),
           *read;
    char path[128];
    struct err e;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/list", top);
    assert_int_equal(folder_list_read(path, &read, &e), 0);
    assert_int_equal(json_array_size(read), 0); /* there is none yet */
    json_decref(read);
    assert_int_equal(folder_list_write(path, list, &e), 0);
    assert_int_equal(folder_list_read(path, &read, &e), 0);
    assert_true(json_equal(list, read));
    json_decref(list);
    json_decref(read);
    put(top, "list", "[{}]");
    assert_int_equal(folder_list_read(path, &read, &e), -1);
    assert_non_null(strstr(e.msg, "not a list of folders"));
}

static void
a_delegated_file_belongs_to_another_program(void **state)
{
    struct dir_scan l;
    struct err e;

    (void)state;
    use("agent-queue");
    put(layout.waiting, "a.md", "1");
    put(layout.waiting, "b.md", "1");
    put(layout.waiting, "b.md.delegated", "{}");
    assert_int_equal(dir_scan_read(&layout, 0, &l, &e), 0);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0].name, "a.md");
    dir_scan_release(&l);
}

static void
claimed_files_are_found_again(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    const char **names;
    struct err e;

    (void)state;
    put(layout.running, CLAIMED("a.json"), JOB);
    put(layout.running, "a.json", JOB);
    put(layout.running, ".other", JOB);
    names = dir_scan_claims(&layout, pool, &e);
    assert_non_null(names);
    assert_string_equal(names[0], CLAIMED("a.json"));
    assert_null(names[1]);
    mem_pool_free(pool);
}

static void carry_claimed(const struct claim_file *t);

/* --- taking ------------------------------------------------------------------
 */

/* What two looks have seen. */
static struct claim_file
seen(const char *id, const char *name)
{
    struct claim_file t = {.layout = &layout, .settled = true};
    struct stat st;

    folder_layout_owner(&t.claim.owner, "f1ee7", "host");
    (void)str_copy(t.claim.id, sizeof t.claim.id, id);
    (void)str_copy(t.claim.name, sizeof t.claim.name, name);
    if (lstat(FILES_PATH(layout.waiting, name), &st) == 0)
        t.stamp = (struct file_stamp){
            .ino = st.st_ino,
            .size = st.st_size,
            .changed_ns =
                (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
    return t;
}

static void
a_taken_file_is_claimed_shown_and_read(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    struct claim_file t;
    struct task task;
    struct err e;
    char want[160];

    (void)state;
    put(layout.waiting, "a.json", JOB);
    t = seen(ID, "a.json");
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_READY);
    assert_int_equal(t.n, 1);
    assert_string_equal(t.tasks[0].id, ID);
    assert_false(there(layout.waiting, "a.json"));
    assert_memory_equal(t.path, ".claimed-" ID ".f1ee7.host.", 36);
    assert_true(file_same(FILES_PATH(layout.running, "a.json"),
                          FILES_PATH(layout.running, t.path)));
    assert_int_equal(codec_decode(CODEC_TASK, str_text(&t.tasks[0].data),
                                  t.tasks[0].data.len, pool, &task, &e),
                     0);
    assert_string_equal(task.source, "folder");
    assert_string_equal(task.name, "x");
    assert_string_equal(task.workdir, top);
    (void)snprintf(want, sizeof want, "%s/a.json", layout.waiting);
    assert_string_equal(task.origin, want);
    claim_file_release(&t);
    mem_pool_free(pool);
}

static void
one_of_two_takers_gets_it(void **state)
{
    struct claim_file one, two;

    (void)state;
    put(layout.waiting, "a.json", JOB);
    one = seen(ID, "a.json");
    two = seen("fedcba9876543210", "a.json");
    claim_file_read(&one);
    claim_file_read(&two);
    assert_int_equal(one.state, CLAIM_FILE_READY);
    assert_int_equal(two.state, CLAIM_FILE_GONE);
    claim_file_release(&one);
}

/* A file that an earlier process claimed. */
static struct claim_file
found(const char *path)
{
    struct claim_file t = {.layout = &layout};

    if (!folder_layout_read_claim(path, &t.claim))
        fail_msg("%s", path);
    (void)str_copy(t.path, sizeof t.path, path);
    return t;
}

static void
a_claimed_file_is_read_again_under_its_id(void **state)
{
    struct claim_file t;

    (void)state;
    put(layout.waiting, "a.json", JOB);
    t = seen(ID, "a.json");
    claim_file_read(&t);
    claim_file_release(&t);
    t = found(t.path);
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_READY);
    assert_string_equal(t.tasks[0].id, ID);
    claim_file_release(&t);
}

static void
a_file_that_an_earlier_version_claimed_is_read_when_it_rests(void **state)
{
    struct claim_file t;

    (void)state;
    put(layout.running, ".claimed-" ID "-a.json", JOB);
    t = found(".claimed-" ID "-a.json");
    claim_file_read(&t); /* the first look */
    assert_int_equal(t.state, CLAIM_FILE_YOUNG);
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_READY);
    assert_string_equal(t.tasks[0].id, ID);
    claim_file_release(&t);
}

/* A process that was killed between claim and submission, or after it. */
static void
a_claimed_file_that_was_changed_is_not_read_again(void **state)
{
    struct claim_file t;

    (void)state;
    put(layout.running, CLAIMED("a.json"), JOB);
    t = found(CLAIMED("a.json"));
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_BAD);
    assert_non_null(strstr(t.why, "changed after it was claimed as task " ID));
}

static void
a_second_file_of_a_name_waits(void **state)
{
    struct claim_file one, two;

    (void)state;
    put(layout.waiting, "a.json", JOB);
    one = seen(ID, "a.json");
    claim_file_read(&one);
    put(layout.waiting, "a.json", JOB);
    two = seen("fedcba9876543210", "a.json");
    claim_file_read(&two);
    assert_int_equal(two.state, CLAIM_FILE_BUSY);
    assert_true(there(layout.waiting, "a.json"));
    (void)unlink(FILES_PATH(layout.running, "a.json"));
    claim_file_read(&two);
    assert_int_equal(two.state, CLAIM_FILE_READY);
    claim_file_release(&one);
    claim_file_release(&two);
}

static void
a_file_that_grew_or_may_yet_grow_stays_where_it_is(void **state)
{
    struct claim_file t;

    (void)state;
    put(layout.waiting, "a.json", "{\"script\": [");
    t = seen(ID, "a.json");
    t.stamp.size--;
    t.patient = true;
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_YOUNG); /* it grew */
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_YOUNG); /* cannot be read yet */
    assert_true(there(layout.waiting, "a.json"));
    t.patient = false;
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_BAD);
    assert_non_null(strstr(t.why, "/jobs/queue/a.json:1:"));
}

static void
a_file_that_is_open_for_writing_stays_where_it_is(void **state)
{
    struct claim_file t;
    int fd;

    (void)state;
    put(layout.waiting, "a.json", JOB);
    fd = open(FILES_PATH(layout.waiting, "a.json"), O_WRONLY | O_APPEND);
    t = seen(ID, "a.json");
    claim_file_read(&t);
    if (t.state == CLAIM_FILE_READY) /* nothing tells on this file system */
        skip();
    assert_int_equal(t.state, CLAIM_FILE_OPEN);
    assert_true(there(layout.waiting, "a.json"));
    (void)close(fd);
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_READY);
    claim_file_release(&t);
}

/* One that was written in place may be opened once more. */
static void
only_a_file_that_was_moved_here_needs_no_rest(void **state)
{
    const struct timespec past[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct claim_file t;

    (void)state;
    put(layout.waiting, "a.json", JOB);
    assert_int_equal(
        utimensat(AT_FDCWD, FILES_PATH(layout.waiting, "a.json"), past, 0), 0);
    t = seen(ID, "a.json");
    t.settled = false;
    claim_file_read(&t);
    if (t.state == CLAIM_FILE_YOUNG) /* nothing tells on this file system */
        skip();
    assert_int_equal(t.state, CLAIM_FILE_READY);
    claim_file_release(&t);
}

static void
a_name_of_any_length_is_claimed_found_and_restored(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    char name[FOLDER_LAYOUT_FILE_SIZE];
    const char **names;
    struct err e;

    (void)state;
    for (size_t len = 196; len <= 255; len++) {
        struct claim_file t;

        memset(name, 'n', len);
        (void)str_copy(name + len - 5, 6, ".json");
        put(layout.waiting, name, JOB);
        t = seen(ID, name);
        claim_file_read(&t);
        if (t.state != CLAIM_FILE_READY)
            fail_msg("%zu bytes: %s", len, t.why);
        names = dir_scan_claims(&layout, pool, &e);
        assert_string_equal(names[0], t.path);
        assert_true(folder_layout_read_claim(names[0], &t.claim));
        assert_string_equal(t.claim.name, name);
        carry_claimed(&t);
        assert_true(there(layout.done, name));
        assert_null(*dir_scan_claims(&layout, pool, &e));
        claim_file_release(&t);
    }
    mem_pool_free(pool);
}

static void
what_no_task_is_is_bad_with_the_reason(void **state)
{
    char *big = mem_alloc((1 << 20) + 3);
    struct claim_file t;

    (void)state;
    memset(big, ' ', (1 << 20) + 2);
    big[(1 << 20) + 2] = '\0';
    put(layout.waiting, "big.json", big);
    mem_free(big);
    t = seen(ID, "big.json");
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_BAD);
    put(layout.waiting, "esc.json",
        "{\"script\": [\"true\"], \"report_path\": \"../x\"}");
    t = seen(ID, "esc.json");
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_BAD);
    assert_non_null(strstr(t.why, "report_path"));
}

/* --- outcomes
 * ------------------------------------------------------------------ */

static const char answer[] =
    "{\"task\": {\"id\": \"" ID "\", \"state\": \"failed\", \"exit_code\": 3,"
    "\"attempts\": 2, \"backend\": \"secutools\", \"lane\": \"gpu\","
    "\"submitted_at\": \"2026-01-01T00:00:00.500Z\","
    "\"started_at\": \"2026-01-01T00:00:01.000Z\","
    "\"finished_at\": \"2026-01-01T00:01:01.250Z\", \"reason\": \"a\\nb\","
    "\"warnings\": [\"ended 1 process\", \"left\\nout\"],"
    "\"attempt_list\": [{\"provider\": \"gemini\", \"cost_usd\": \"1\","
    "\"superseded\": true}, {\"provider\": \"gpu\", \"cost_usd\": "
    "\"0.012300\"}, {\"provider\": \"none\", \"superseded\": true}],"
    "\"decision\": {\"rule\": \"preferred\", \"reason\": \"because\","
    "\"score\": 7}, \"output\": [{\"stream\": \"stdout\", \"data\": "
    "\"aGk=\"}], \"output_bytes\": 2}}";

static struct task_outcome
read_answer(const char *text)
{
    struct task_outcome o;
    struct err e;

    if (outcome_read(text, strlen(text), &o, &e) < 0)
        fail_msg("%s", e.msg);
    return o;
}

static void
the_ledgers_answer_becomes_a_footer(void **state)
{
    struct task_outcome o = read_answer(answer);
    struct str footer = {0};

    (void)state;
    assert_true(o.terminal);
    assert_false(o.cut);
    assert_string_equal(str_text(&o.output), "hi");
    outcome_footer(o.json, &footer);
    assert_string_equal(str_text(&footer),
                        "\n---\nprovider: gpu\njob_id: " ID
                        "\ncost_usd: 0.012300\nqueue_ms: 500\nrun_ms: 60250\n"
                        "finished_at: 2026-01-01T00:01:01.250Z\n"
                        "state: failed\nexit_code: 3\nreason: a b\n"
                        "backend: secutools\nlane: gpu\nattempts: 2\n"
                        "warning: ended 1 process\nwarning: left out\n"
                        "decision: preferred: because\n");
    str_free(&footer);
    outcome_release(&o);
}

static void
what_is_open_unknown_or_no_answer_is_no_outcome(void **state)
{
    static const char open[] = "{\"task\": {\"id\": \"a\", \"state\": "
                               "\"running\"}}";
    static const struct {
        const char *text;
        enum err_code code;
    } bad[] = {
        {"{\"error\": {\"code\": \"not-found\"}}", ERR_NOT_FOUND},
        {"{\"error\": {\"code\": \"unavailable\"}}", ERR_UNAVAILABLE},
        {"{}", ERR_UNAVAILABLE},
        {"x", ERR_UNAVAILABLE},
    };
    struct task_outcome o = read_answer(open);

    (void)state;
    assert_false(o.terminal);
    assert_null(o.json);
    outcome_release(&o);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};

        assert_int_equal(outcome_read(bad[i].text, strlen(bad[i].text), &o, &e),
                         -1);
        assert_int_equal(e.code, bad[i].code);
    }
}

static json_t *
task_json(const char *id, const char *state)
{
    return json_pack("{s:s, s:s}", "task", id, "state", state);
}

static void
a_file_of_several_tasks_succeeds_if_all_did(void **state)
{
    json_t *good[] = {task_json("a-1", "succeeded"),
                      task_json("a-2", "succeeded")};
    json_t *bad[] = {task_json("a-1", "succeeded"),
                     task_json("a-2", "timed_out")};
    json_t *o = outcome_of_file(good, 2, ID);

    (void)state;
    assert_true(outcome_succeeded(o));
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 2);
    json_decref(o);
    o = outcome_of_file(bad, 2, ID);
    assert_false(outcome_succeeded(o));
    assert_string_equal(json_string_value(json_object_get(o, "state")),
                        "timed_out");
    json_decref(o);
}

/* --- carrying
 * -------------------------------------------------------------------- */

static struct write_back
ended(const char *name, const char *state)
{
    json_t *list[] = {task_json(ID, state)};
    struct write_back c = {.layout = &layout};

    (void)str_copy(c.claim.id, sizeof c.claim.id, ID);
    (void)str_copy(c.claim.name, sizeof c.claim.name, name);
    (void)snprintf(c.path, sizeof c.path, ".claimed-" ID "-%s", name);
    if (state)
        c.result = outcome_of_file(list, 1, ID);
    return c;
}

static void
carry_one(struct write_back *c)
{
    struct write_back *list[] = {c};

    write_back_files(list, 1);
    write_back_release(c);
}

/* Writes back a file that was claimed, as a success. */
static void
carry_claimed(const struct claim_file *t)
{
    struct write_back c = ended(t->claim.name, "succeeded");

    c.claim = t->claim;
    c.stamp = t->stamp;
    (void)str_copy(c.path, sizeof c.path, t->path);
    carry_one(&c);
}

static void
claimed(const char *name, const char *text)
{
    char file[FOLDER_LAYOUT_FILE_SIZE];

    (void)snprintf(file, sizeof file, ".claimed-" ID "-%s", name);
    put(layout.running, file, text);
    (void)unlink(FILES_PATH(layout.running, name));
    assert_int_equal(link(FILES_PATH(layout.running, file),
                          FILES_PATH(layout.running, name)),
                     0);
}

static void
a_job_moves_with_its_result_beside_it(void **state)
{
    struct write_back c;

    (void)state;
    claimed("a.json", JOB);
    c = ended("a.json", "succeeded");
    carry_one(&c);
    assert_true(c.ok);
    assert_string_equal(text_of(layout.done, "a.json"), JOB);
    assert_non_null(strstr(text_of(layout.done, "a.result.json"), ID));
    assert_false(there(layout.running, "a.json"));
    c = ended("a.json", "succeeded");
    carry_one(&c);
    assert_true(c.gone); /* by whoever was faster */
    claimed("a.json", "other");
    c = ended("a.json", "failed");
    carry_one(&c);
    assert_string_equal(text_of(layout.failed, "a.json"), "other");
}

static void
a_name_that_is_taken_is_not_overwritten(void **state)
{
    struct write_back c;

    (void)state;
    put(layout.done, "a.json", "of last week");
    put(layout.done, "a.result.json", "of last week");
    claimed("a.json", JOB);
    c = ended("a.json", "succeeded");
    carry_one(&c);
    assert_true(c.ok);
    assert_string_equal(text_of(layout.done, "a.json"), "of last week");
    assert_string_equal(text_of(layout.done, "a.result.json"), "of last week");
    assert_string_equal(text_of(layout.done, "a.01234567.json"), JOB);
    assert_true(there(layout.done, "a.01234567.result.json"));
}

/* --- one at a time -------------------------------------------------------- */

static void
of_two_files_for_one_workdir_the_second_waits(void **state)
{
    static const char *const texts[] = {
        "{\"script\": [\"true\"], \"workdir\": \"w\"}",
        "{\"script\": [\"true\"], \"workdir\": \"link\"}", /* the same */
        "{\"script\": [\"true\"]}",                        /* another */
    };
    struct serial *serial = serial_new();
    struct claim_file t[3];
    char name[16] = "a.json", at[128];
    struct err e;

    (void)state;
    (void)snprintf(at, sizeof at, "%s/w", top);
    assert_int_equal(files_make_dir(at, &e), 0);
    assert_int_equal(symlink("w", FILES_PATH(top, "link")), 0);
    for (int i = 0; i < 3; i++) {
        name[0] = (char)('a' + i);
        put(layout.waiting, name, texts[i]);
        t[i] = seen(ID, name);
        t[i].claim.id[15] = (char)('a' + i);
        t[i].serial = serial;
        claim_file_read(&t[i]);
    }
    assert_int_equal(t[0].state, CLAIM_FILE_READY);
    assert_int_equal(t[1].state, CLAIM_FILE_SERIAL);
    assert_int_equal(t[2].state, CLAIM_FILE_READY);
    assert_true(there(layout.waiting, "b.json"));
    assert_true(serial_busy(serial, &t[1].workdirs, NULL, 0, NULL));
    assert_false(serial_freed(serial));
    serial_release(serial, &t[0].workdirs);
    assert_true(serial_freed(serial));
    assert_false(serial_freed(serial)); /* once */
    assert_false(serial_busy(serial, &t[1].workdirs, NULL, 0, NULL));
    workdirs_free(&t[1].workdirs);
    claim_file_read(&t[1]);
    assert_int_equal(t[1].state, CLAIM_FILE_READY);
    for (int i = 0; i < 3; i++)
        claim_file_release(&t[i]);
    serial_free(serial);
}

static void
a_claim_that_comes_to_nothing_leaves_the_workdir_free(void **state)
{
    struct serial *serial = serial_new();
    struct claim_file t;

    (void)state;
    put(layout.waiting, "a.json", JOB);
    t = seen(ID, "a.json");
    t.serial = serial;
    layout.running = mem_pool_strdup(layout.pool, "/proc");
    claim_file_read(&t);
    assert_int_equal(t.state, CLAIM_FILE_LATER);
    assert_false(serial_busy(serial, &t.workdirs, NULL, 0, NULL));
    claim_file_release(&t);
    serial_free(serial);
}

/* Whatever its task did, it did not do what the file says. */
static void
a_file_that_was_changed_after_its_claim_never_gets_into_done(void **state)
{
    static const char *const lines[] = {"jobs/queue", ".cloud-queue",
                                        "agent-queue", "codex/inbox"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const char *name = i == 2 ? "a.md" : "a.json";
        struct claim_file t;

        use(lines[i]);
        put(layout.waiting, name, JOB);
        t = seen(ID, name);
        claim_file_read(&t);
        assert_int_equal(t.state, CLAIM_FILE_READY);
        put(layout.running, t.path, "{\"script\": [\"true\", \"false\"]}");
        carry_claimed(&t);
        assert_true(there(layout.failed, name));
        assert_false(there(layout.done, name));
        claim_file_release(&t);
    }
    assert_non_null(
        strstr(text_of(FILES_PATH(top, "reports/codex_runs/a"), "run.log"),
               "warning: the file was changed"));
    use("jobs/queue");
    assert_non_null(strstr(text_of(layout.failed, "a.result.json"),
                           "changed after it was claimed"));
    use("agent-queue");
    assert_non_null(strstr(text_of(layout.failed, "a.md"),
                           "\nwarning: the file was changed"));
}

static void
a_crash_between_text_and_file_leaves_one_text(void **state)
{
    struct write_back c;
    char first[2048];

    (void)state;
    use(".cloud-queue");
    claimed("a.json", JOB);
    c = ended("a.json", "succeeded");
    carry_one(&c);
    (void)str_copy(first, sizeof first, text_of(layout.done, "a.json"));
    assert_non_null(strstr(first, "\"status\": \"completed\""));
    claimed("a.json", JOB); /* as if it had not come to that */
    c = ended("a.json", "succeeded");
    carry_one(&c);
    assert_true(c.ok);
    assert_string_equal(text_of(layout.done, "a.json"), first);
    assert_false(there(layout.done, "a.01234567.json"));
    assert_false(there(layout.running, ".claimed-" ID "-a.json"));
}

static void
markdown_keeps_its_text_and_gets_a_footer(void **state)
{
    struct write_back c;

    (void)state;
    use("agent-queue");
    claimed("a.md", "do it");
    c = ended("a.md", "cancelled");
    carry_one(&c);
    assert_true(c.ok);
    assert_string_equal(text_of(layout.failed, "a.md"),
                        "do it\n\n---\njob_id: " ID "\nstate: cancelled\n");
}

static void
an_inbox_gets_a_run_log(void **state)
{
    struct write_back c;
    char dir[160];

    (void)state;
    use("codex/inbox");
    claimed("a.json", JOB);
    c = ended("a.json", "succeeded");
    str_addz(&c.output, "it \x1b[1mran");
    carry_one(&c);
    assert_true(c.ok);
    assert_true(there(layout.done, "a.json"));
    (void)snprintf(dir, sizeof dir, "%s/reports/codex_runs/a", top);
    assert_string_equal(text_of(dir, "run.log"),
                        "job_id: " ID "\nstate: succeeded\n\n"
                        "it \\x1b[1mran\n");
}

static void
what_cannot_be_read_is_set_aside_with_the_reason(void **state)
{
    struct write_back c;

    (void)state;
    claimed("a.json", "{");
    c = ended("a.json", NULL);
    (void)str_copy(c.why, sizeof c.why, "a.json:1:1: broken");
    carry_one(&c);
    assert_true(c.ok);
    assert_string_equal(text_of(layout.failed, "a.json"), "{");
    assert_string_equal(text_of(layout.failed, "a.json.error"),
                        "a.json:1:1: broken\n");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_move_takes_no_name_that_is_taken),
        T(a_text_is_put_in_place_of_another),
        T(names_are_sorted_and_what_changes_starts_anew),
        T(a_folder_that_is_not_there_is_said),
        T(a_folder_that_cannot_be_used_is_said_with_the_remedy),
        T(a_list_of_folders_keeps_any_path),
        T(a_delegated_file_belongs_to_another_program),
        T(claimed_files_are_found_again),
        T(a_taken_file_is_claimed_shown_and_read),
        T(one_of_two_takers_gets_it),
        T(a_claimed_file_is_read_again_under_its_id),
        T(a_second_file_of_a_name_waits),
        T(a_file_that_an_earlier_version_claimed_is_read_when_it_rests),
        T(a_claimed_file_that_was_changed_is_not_read_again),
        T(a_file_that_grew_or_may_yet_grow_stays_where_it_is),
        T(a_file_that_is_open_for_writing_stays_where_it_is),
        T(only_a_file_that_was_moved_here_needs_no_rest),
        T(a_name_of_any_length_is_claimed_found_and_restored),
        T(what_no_task_is_is_bad_with_the_reason),
        T(the_ledgers_answer_becomes_a_footer),
        T(what_is_open_unknown_or_no_answer_is_no_outcome),
        T(a_file_of_several_tasks_succeeds_if_all_did),
        T(a_job_moves_with_its_result_beside_it),
        T(a_name_that_is_taken_is_not_overwritten),
        T(of_two_files_for_one_workdir_the_second_waits),
        T(a_claim_that_comes_to_nothing_leaves_the_workdir_free),
        T(a_file_that_was_changed_after_its_claim_never_gets_into_done),
        T(a_crash_between_text_and_file_leaves_one_text),
        T(markdown_keeps_its_text_and_gets_a_footer),
        T(an_inbox_gets_a_run_log),
        T(what_cannot_be_read_is_set_aside_with_the_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
