#include "gateways/formats/formats.h"
#include "lib/base/ansi.h"
#include "lib/base/conf_private.h"
#include "lib/base/glob.h"
#include "lib/base/regex.h"
#include "lib/model/dod.h"
#include "lib/model/subject.h"
#include "lib/model/test_results.h"
#include "tests/fuzz/fuzz.h"
#include "workers/local/simple_command.h"

#include <wordexp.h>

/* --- formats -------------------------------------------------------------- */

/* What holds of every text, whatever it is called. */
static void
read_formats(struct fuzz *f, const char *name, const uint8_t *data, size_t size)
{
    size_t len = strlen(name);
    struct import in;

    if (formats_read(name, data, size, f->pool, &in, &f->e) < 0) {
        (void)fuzz_refused(f);
        FUZZ_NEED(strncmp(f->e.msg, name, len) == 0 && f->e.msg[len] == ':');
        FUZZ_NEED(in.n_tasks == 0 && !in.linked);
    } else {
        FUZZ_NEED(*in.format && in.n_tasks > 0);
        FUZZ_NEED(in.n_tasks <= FORMATS_MAX_TASKS);
    }
    for (size_t i = 0; i < in.n_warnings; i++)
        FUZZ_NEED(strncmp(in.warnings[i], name, len) == 0);
    formats_link(&in, NULL, f->pool);
    for (size_t i = 0; i < in.n_tasks; i++) {
        FUZZ_NEED(task_check(&in.tasks[i], &f->e) == 0);
        fuzz_round_trip(f, CODEC_TASK, &in.tasks[i]);
    }
}

void
fuzz_formats(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"fuzz", "fuzz.md", "fuzz.yaml"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fuzz f = fuzz_begin();

        read_formats(&f, names[i], data, size);
        fuzz_end(&f);
    }
}

/* --- globs ---------------------------------------------------------------- */

/* Two patterns, a line each. */
void
fuzz_glob(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    char *a = fuzz_text(&f, data, size), *b = strchr(a, '\n'), path[1024];

    if (b)
        *b++ = '\0';
    if (b && glob_check(a, &f.e) == 0 && glob_check(b, &f.e) == 0) {
        bool both = glob_overlap(a, b, path, sizeof path);

        FUZZ_NEED(both == glob_overlap(b, a, NULL, 0));
        /* What the example loses, it loses between characters. */
        if (both && strlen(path) < sizeof path - 8)
            FUZZ_NEED(glob_match(a, path) && glob_match(b, path));
        if (!both)
            FUZZ_NEED(!glob_match(a, b) || !glob_match(b, b));
        FUZZ_NEED(glob_overlap(a, a, NULL, 0) || strchr(a, '['));
    } else if (f.e.code != ERR_NONE) {
        (void)fuzz_refused(&f);
    }
    fuzz_end(&f);
}

/* --- definitions of done -------------------------------------------------- */

/* Facts made of a number: every one differs, some are unknown. */
static struct dod_facts
some_facts(unsigned n)
{
    struct dod_facts f = {.exit_code = (int)(n % 3),
                          .signal = (int)(n % 2),
                          .attempt = n,
                          .duration_ms = n ? (int64_t)n * 90000 : INT64_MAX,
                          .output_bytes = (int64_t)n << 10,
                          .tests_total = n % 4 ? (int64_t)n : DOD_UNKNOWN,
                          .tests_passed = n % 3 ? (int64_t)n : DOD_UNKNOWN,
                          .tests_failed = n % 2 ? 0 : DOD_UNKNOWN,
                          .tests_skipped = 1,
                          .files_changed = n % 5 ? n % 2 : DOD_UNKNOWN};

    for (unsigned i = 0; i < DOD_CALLS_MAX; i++)
        f.calls[i] = (n + i) % 3 ? (n + i) % 2 : DOD_UNKNOWN;
    return f;
}

/* What holds of any expression and its opposite. */
static void
judge_both(struct fuzz *f, const struct dod *d, const struct dod *not_d,
           unsigned n)
{
    const struct dod_facts facts = some_facts(n);
    const char *part, *not_part;
    enum dod_verdict v = dod_judge(d, &facts, f->pool, &part);
    enum dod_verdict not_v = dod_judge(not_d, &facts, f->pool, &not_part);

    FUZZ_NEED(v != DOD_DONE || !*part);
    FUZZ_NEED(v != DOD_DONE || not_v != DOD_DONE);
    FUZZ_NEED(facts.exit_code || v == DOD_DONE || *part);
    FUZZ_NEED((v == DOD_UNPROVEN) == (not_v == DOD_UNPROVEN));
    FUZZ_NEED(v != DOD_NO_OP || facts.files_changed == 0);
    FUZZ_NEED(!facts.exit_code || v == DOD_DONE || v == DOD_FAILED);
    FUZZ_NEED(strlen(part) < 512);
}

void
fuzz_dod(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    char *text = fuzz_text(&f, data, size);
    char *not_text = mem_pool_printf(f.pool, "not (%s)", text);
    const struct dod *d, *not_d;

    if (dod_check(text, &f.e) < 0)
        (void)fuzz_refused(&f);
    else if (dod_parse(text, f.pool, &d, &f.e) == 0 &&
             dod_parse(not_text, f.pool, &not_d, &f.e) == 0)
        for (unsigned n = 0; n < 12; n++)
            judge_both(&f, d, not_d, n);
    fuzz_end(&f);
}

/* --- results of tests, patterns ------------------------------------------- */

static void
count_line(void *ctx, const char *line, size_t len)
{
    FUZZ_NEED(len <= ANSI_MAX && !memchr(line, '\n', len));
    test_results_line(ctx, line, len);
}

/* Counts what comes in pieces of so many bytes. */
static struct testcounts
count_in_pieces(const uint8_t *data, size_t size, size_t piece)
{
    struct test_results t = {0};
    struct ansi l = {.state = ANSI_TEXT};

    for (size_t at = 0; at < size; at += piece)
        ansi_add(&l, data + at, size - at < piece ? size - at : piece,
                 count_line, &t);
    ansi_end(&l, count_line, &t);
    return test_results_now(&t);
}

void
fuzz_test_results(const uint8_t *data, size_t size)
{
    struct testcounts whole = count_in_pieces(data, size, size + 1);

    for (size_t piece = 1; piece < 8; piece += 3) {
        struct testcounts c = count_in_pieces(data, size, piece);

        FUZZ_NEED(c.seen == whole.seen && c.passed == whole.passed);
        FUZZ_NEED(c.failed == whole.failed && c.skipped == whole.skipped);
    }
    FUZZ_NEED(whole.seen || whole.passed + whole.failed + whole.skipped == 0);
}

/* A pattern, and on the lines behind it where to look for it. */
void
fuzz_regex(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    char *text = fuzz_text(&f, data, len), *either;
    struct regex *p = NULL, *q = NULL;

    if (regex_new(&p, text, &f.e) < 0)
        (void)fuzz_refused(&f);
    either = mem_pool_printf(f.pool, "(%s)|z", text);
    if (p && regex_new(&q, either, &f.e) == 0 && size > len + 1) {
        const char *line = (const char *)data + len + 1;
        size_t n = size - len - 1 < 1000 ? size - len - 1 : 1000;
        bool found = regex_finds(p, line, n);

        FUZZ_NEED(regex_finds(p, line, n) == found);
        FUZZ_NEED(regex_finds(q, line, n) ==
                  (found || memchr(line, 'z', n) != NULL));
    }
    regex_free(p);
    regex_free(q);
    fuzz_end(&f);
}

/* --- subjects ------------------------------------------------------------- */

static void
good_token(const char *token)
{
    FUZZ_NEED(subject_token_ok(token));
    FUZZ_NEED(*token && strlen(token) <= SUBJECT_TOKEN_MAX);
    FUZZ_NEED(!strpbrk(token, ". *>/\t\r\n"));
}

void
fuzz_subject(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    char *text = fuzz_text(&f, data, size);
    char token[SUBJECT_TOKEN_MAX + 1], again[SUBJECT_TOKEN_MAX + 1];
    char subject[SUBJECT_SIZE];

    if (subject_token_ok(text))
        good_token(text);
    subject_token_from(text, "none", token);
    good_token(token);
    subject_token_from(token, "none", again);
    FUZZ_NEED(strcmp(token, again) == 0);
    subject_claim(subject, token, token);
    FUZZ_NEED(subject_token_at(subject, 3, again));
    FUZZ_NEED(strcmp(token, again) == 0);
    for (int i = 0; i < 6; i++)
        if (subject_token_at(text, i, token))
            good_token(token);
    fuzz_end(&f);
}

/* --- simple commands ------------------------------------------------------ */

/* The C library reads words as a shell does, but for two things: it refuses a
 * newline at the end, and makes of a ""b two words. */
static void
as_a_shell(const struct fuzz *f, const char *text, const char **words)
{
    char *line = mem_pool_strdup(f->pool, text);
    size_t len = strlen(line);
    wordexp_t w;

    if (strstr(line, "''") || strstr(line, "\"\""))
        return;
    while (len > 0 && strchr(" \t\n", line[len - 1]))
        line[--len] = '\0';
    FUZZ_NEED(wordexp(line, &w, WRDE_NOCMD | WRDE_UNDEF) == 0);
    for (size_t i = 0; i < w.we_wordc; i++)
        FUZZ_NEED(words[i] && strcmp(words[i], w.we_wordv[i]) == 0);
    FUZZ_NEED(!words[w.we_wordc]);
    wordfree(&w);
}

void
fuzz_words(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    char *text = fuzz_text(&f, data, size);
    const char **plain = simple_command_args(text, f.pool);
    const char **simple = simple_command_words(text, f.pool);

    if (plain)
        as_a_shell(&f, text, plain);
    if (simple) {
        FUZZ_NEED(plain && simple[0] && *simple[0]);
        for (size_t i = 0; simple[i] || plain[i]; i++)
            FUZZ_NEED(strcmp(simple[i], plain[i]) == 0);
    }
    fuzz_end(&f);
}

/* --- configuration -------------------------------------------------------- */

struct fuzz_text_sample {
    char *url;
    int64_t slots, wait_ms, memory;
    bool eager;
    char **lanes;
};

static const struct conf_opt opts[] = {
    CONF_STR(struct fuzz_text_sample, url, "bus.url", "nats://127.0.0.1:4222",
             "-"),
    CONF_INT(struct fuzz_text_sample, slots, "worker.slots", "2", 1, 100, "-"),
    CONF_MS(struct fuzz_text_sample, wait_ms, "worker.lease", "30s", 1000,
            600000, "-"),
    CONF_BYTES(struct fuzz_text_sample, memory, "router.memory", "8G", -1,
               1LL << 40, "-"),
    CONF_BOOL(struct fuzz_text_sample, eager, "router.eager", "no", "-"),
    CONF_LIST(struct fuzz_text_sample, lanes, "worker.lanes", "a,b", "-"),
    CONF_END};

void
fuzz_conf(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    struct fuzz_text_sample s = {0};

    for (const struct conf_opt *o = opts; o->key; o++)
        FUZZ_NEED(conf_put_text(&s, o, o->fallback, "default", &f.e) == 0);
    if (conf_load_text(&s, opts, "fuzz.yaml", data, size, &f.e) < 0) {
        (void)fuzz_refused(&f);
        FUZZ_NEED(strncmp(f.e.msg, "fuzz.yaml:", 10) == 0);
    }
    FUZZ_NEED(s.url && s.lanes);
    FUZZ_NEED(s.slots >= 1 && s.slots <= 100);
    FUZZ_NEED(s.wait_ms >= 1000 && s.wait_ms <= 600000);
    FUZZ_NEED(s.memory >= -1 && s.memory <= 1LL << 40);
    conf_free(&s, opts);
    fuzz_end(&f);
}
