#include "gateways/formats/formats.h"
#include "lib/conf_private.h"
#include "lib/dod.h"
#include "lib/glob.h"
#include "lib/subject.h"
#include "tests/fuzz/fuzz.h"
#include "workers/local/words.h"

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
    formats_link(&in, f->pool);
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

void
fuzz_dod(const uint8_t *data, size_t size)
{
    static const struct dod_facts facts[] = {
        {0, 0, 0}, {1, 90000, 4096}, {-1, INT64_MAX, INT64_MAX}};
    struct fuzz f = fuzz_begin();
    char *text = fuzz_text(&f, data, size);
    int rc = dod_check(text, &f.e);

    if (rc < 0)
        (void)fuzz_refused(&f);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        bool done = false, not_done = false;
        char *not_text = mem_pool_printf(f.pool, "not (%s)", text);

        /* Whether it parses does not depend on the facts. */
        FUZZ_NEED(dod_eval(text, &facts[i], &done, &f.e) == rc);
        if (rc == 0 && dod_eval(not_text, &facts[i], &not_done, &f.e) == 0)
            FUZZ_NEED(done != not_done);
    }
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
    const char **plain = words_plain(text, f.pool);
    const char **simple = words_simple(text, f.pool);

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

struct sample {
    char *url;
    int64_t slots, wait_ms, memory;
    bool eager;
    char **lanes;
};

static const struct conf_opt opts[] = {
    CONF_STR(struct sample, url, "bus.url", "nats://127.0.0.1:4222", "-"),
    CONF_INT(struct sample, slots, "worker.slots", "2", 1, 100, "-"),
    CONF_MS(struct sample, wait_ms, "worker.lease", "30s", 1000, 600000, "-"),
    CONF_BYTES(struct sample, memory, "router.memory", "8G", -1, 1LL << 40,
               "-"),
    CONF_BOOL(struct sample, eager, "router.eager", "no", "-"),
    CONF_LIST(struct sample, lanes, "worker.lanes", "a,b", "-"),
    CONF_END};

void
fuzz_conf(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    struct sample s = {0};

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
