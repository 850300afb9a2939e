#include "router/signals.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* --- seed 1: agent affinity ---------------------------------------------- */

/* "Builder, Artisan, Forge, Anvil (with a build)" and the like: the words in
 * parentheses say why the row stands there, they are no condition. */
static const struct {
    const char *agent;
    enum affinity affinity;
} agents[] = {
    {"builder", AFFINITY_CLOUD},  {"artisan", AFFINITY_CLOUD},
    {"forge", AFFINITY_CLOUD},    {"anvil", AFFINITY_CLOUD},
    {"analyst", AFFINITY_CLOUD},  {"schema", AFFINITY_CLOUD},
    {"tuner", AFFINITY_CLOUD},    {"scout", AFFINITY_CLOUD},
    {"sentinel", AFFINITY_CLOUD}, {"probe", AFFINITY_CLOUD},
    {"radar", AFFINITY_CLOUD},    {"voyager", AFFINITY_CLOUD},
    {"stream", AFFINITY_CLOUD},   {"bolt", AFFINITY_CLOUD},
    {"lens", AFFINITY_LOCAL},     {"judge", AFFINITY_LOCAL},
    {"cipher", AFFINITY_LOCAL},   {"ceo", AFFINITY_LOCAL},
    {"magi", AFFINITY_LOCAL},     {"bridge", AFFINITY_LOCAL},
    {"canvas", AFFINITY_LOCAL},   {"scribe", AFFINITY_LOCAL},
    {"quill", AFFINITY_LOCAL},    {"rally", AFFINITY_DEPENDS},
    {"nexus", AFFINITY_DEPENDS},
};

enum affinity
affinity_of(const char *agent)
{
    for (size_t i = 0; i < sizeof agents / sizeof *agents; i++)
        if (strcasecmp(agents[i].agent, agent) == 0)
            return agents[i].affinity;
    return AFFINITY_NONE;
}

const char *
affinity_name(enum affinity a)
{
    switch (a) {
    case AFFINITY_NONE:
        return "";
    case AFFINITY_CLOUD:
        return "cloud";
    case AFFINITY_LOCAL:
        return "local";
    case AFFINITY_DEPENDS:
        return "depends";
    }
    return "";
}

/* --- seed 1: the signal table -------------------------------------------- */

enum { ROW_KEYWORDS = 6 };

/* A keyword is one word, or two that follow each other. */
struct keyword {
    const char *word, *next; /* next NULL: any */
};

struct row {
    const char *name;
    int32_t points;
    struct keyword keywords[ROW_KEYWORDS];
};

/*
 * The rows a command's words decide; each counts once however often it
 * matches. Seed 1 writes "uv sync" in the table but counts uv for `uv run
 * pytest` in its examples: both count.
 */
static const struct row rows[] = {
    {"build", 2, {{"build", NULL}, {"install", NULL}, {"compile", NULL}}},
    {"batch-job",
     2,
     {{"train", NULL},
      {"backfill", NULL},
      {"migrate", NULL},
      {"scrape", NULL}}},
    {"test",
     1,
     {{"pytest", NULL}, {"test", NULL}, {"vitest", NULL}, {"jest", NULL}}},
    {"toolchain",
     1,
     {{"docker", NULL}, {"npm", "run"}, {"uv", "sync"}, {"uv", "run"}}},
    {"long-running", 2, {{"watch", NULL}, {"dev", NULL}, {"serve", NULL}}},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* Programs whose arguments are names and text, not work: `cd build`, `git
 * commit -m "fix the build"` and `ls test` weigh nothing. */
static const char *const light_programs[] = {
    "git", "cd", "ls", "cat",  "echo", "printf", "grep", "rg", "mkdir",
    "cp",  "mv", "rm", "less", "head", "which",  "pwd",  "wc", "diff"};

/* A file that ends so is read, not run: `cat build.log`, `vim test.md`. */
static const char *const data_suffixes[] = {
    "log",  "md",  "txt",  "json", "csv", "tsv", "html", "lock",
    "yaml", "yml", "toml", "xml",  "png", "jpg", "pdf",  "out"};

/* --- words --------------------------------------------------------------- */

enum { WORD_MAX = 64 }; /* longer words are no keywords */

/* One word of a command, reduced to what a keyword is compared with. */
struct word {
    char text[WORD_MAX]; /* lower case; "" if nothing is left of it */
    bool option;         /* began with '-' */
};

/* Where the reader stands: shell text, read just well enough for words. */
struct reader {
    const char *at;
    char quote;        /* the quote we are inside, 0 outside */
    bool command_next; /* the next word names a program */
    bool light;        /* ... and that one weighs nothing */
};

static bool
ends_word(char c)
{
    return c == '\0' || strchr(" \t\r\n;|&()<>{}\"'`$,", c);
}

static bool
is_listed(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], word) == 0)
            return true;
    return false;
}

/* Passes over what separates words, noting where a command begins. */
static void
skip_gap(struct reader *r)
{
    for (; *r->at && ends_word(*r->at); r->at++) {
        char c = *r->at;

        if (c == '"' || c == '\'') {
            if (!r->quote)
                r->quote = c;
            else if (r->quote == c)
                r->quote = 0;
        } else if (!r->quote && strchr("\n;|&(`", c)) {
            r->command_next = true;
            r->light = false;
        }
    }
}

/* A folder, a device or an address: `make -C build/`, /dev, https://x/test. */
static bool
names_place(const char *raw, size_t len)
{
    return len == 0 || raw[len - 1] == '/' || memmem(raw, len, "://", 3) ||
           (*raw == '/' && !memchr(raw + 1, '/', len - 1));
}

/*
 * Reduces raw text to the word a keyword means: the last part of a path, up to
 * its suffix, and of a compound its first part, in lower case: scripts/
 * train_model.py is "train", docker-compose "docker", --watch "watch", and
 * /dev/null, latest or server.log are nothing we look for.
 */
static void
reduce(const char *raw, size_t len, struct word *out)
{
    const char *dot;
    size_t n = 0;

    *out = (struct word){0};
    while (len && *raw == '-') {
        out->option = true;
        raw++;
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        if (raw[i] == '=') {
            if (!out->option)
                return; /* NAME=value sets a variable */
            len = i;
        }
    }
    if (names_place(raw, len))
        return;
    for (size_t i = len; i > 0; i--) {
        if (raw[i - 1] == '/') {
            raw += i;
            len -= i;
            break;
        }
    }
    if (len >= WORD_MAX)
        return;
    for (; n < len; n++)
        out->text[n] = (char)tolower((unsigned char)raw[n]);
    dot = strrchr(out->text, '.');
    if (dot && is_listed(dot + 1, data_suffixes,
                         sizeof data_suffixes / sizeof *data_suffixes))
        out->text[0] = '\0';
    else
        out->text[strcspn(out->text, ".:-_")] = '\0';
}

/* The next word; false at the end. */
static bool
next_word(struct reader *r, struct word *out)
{
    const char *start;

    for (;;) {
        skip_gap(r);
        start = r->at;
        if (!*start)
            return false;
        while (!ends_word(*r->at))
            r->at += r->at[0] == '\\' && r->at[1] ? 2 : 1;
        if (*start == '#' && !r->quote) { /* a comment, to the line's end */
            r->at = start + strcspn(start, "\n");
            continue;
        }
        reduce(start, (size_t)(r->at - start), out);
        if (r->command_next && *out->text && !out->option) {
            r->command_next = false;
            r->light =
                is_listed(out->text, light_programs,
                          sizeof light_programs / sizeof *light_programs);
        }
        if (!r->light)
            return true;
    }
}

/* --- scoring ------------------------------------------------------------- */

static void
hit(struct score *s, const char *name, int32_t points, const char *match)
{
    s->hits[s->n_hits++] = (struct signal_hit){name, points, match};
    s->points += points;
}

/* The keyword of row that word, seen after last, completes; NULL if none. */
static const struct keyword *
match_row(const struct row *row, const char *last, const char *word)
{
    for (size_t i = 0; i < ROW_KEYWORDS && row->keywords[i].word; i++) {
        const struct keyword *k = &row->keywords[i];

        if (k->next ? strcmp(k->word, last) == 0 && strcmp(k->next, word) == 0
                    : strcmp(k->word, word) == 0)
            return k;
    }
    return NULL;
}

static void
find_keywords(const char *text, const struct keyword **found)
{
    struct reader r = {.at = text, .command_next = true};
    struct word word;
    char last[WORD_MAX] = "";

    while (next_word(&r, &word)) {
        for (size_t i = 0; i < N_ROWS; i++)
            if (!found[i])
                found[i] = match_row(&rows[i], last, word.text);
        if (!word.option) /* `npm --silent run build` is npm run */
            memcpy(last, word.text, sizeof last);
    }
}

static void
score_words(const char *text, enum prefix prefix, struct mem_pool *pool,
            struct score *s)
{
    const struct keyword *found[N_ROWS] = {0};

    find_keywords(text, found);
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct keyword *k = found[i];

        /*
         * Seed 1 counts `npm run build` as 3 (build 2, npm 1) and `local: npm
         * run build` as -8 (prefix -10, build 2): beside a prefix the
         * one-point rows, which only tip a balance, are not asked.
         */
        if (!k || (prefix != PREFIX_NONE && rows[i].points < 2))
            continue;
        hit(s, rows[i].name, rows[i].points,
            k->next ? mem_pool_printf(pool, "%s %s", k->word, k->next)
                    : k->word);
    }
}

void
signals_score(const char *text, enum prefix prefix, const struct task *t,
              const struct facts *f, struct mem_pool *pool, struct score *out)
{
    const char *data = t->hints ? t->hints->data : "";

    *out = (struct score){0};
    if (prefix == PREFIX_CLOUD)
        hit(out, "cloud-prefix", 3, "cloud:");
    if (prefix == PREFIX_LOCAL)
        hit(out, "local-prefix", -10, "local:");
    score_words(text, prefix, pool, out);
    if (f->known && f->running_local >= 1)
        hit(out, "parallel", 2,
            mem_pool_printf(pool, "%u running here", f->running_local));
    if (strcmp(data, "unknown") == 0 || strcmp(data, "large") == 0)
        hit(out, "data", 1, data);
}

enum prefix
signals_prefix(const char *text, size_t *len)
{
    static const size_t prefix_len = sizeof "cloud:" - 1;
    size_t blank = strspn(text, " \t\r\n");
    enum prefix found;

    *len = 0;
    if (strncasecmp(text + blank, "cloud:", prefix_len) == 0)
        found = PREFIX_CLOUD;
    else if (strncasecmp(text + blank, "local:", prefix_len) == 0)
        found = PREFIX_LOCAL;
    else
        return PREFIX_NONE;
    *len = blank + prefix_len;
    *len += strspn(text + *len, " \t\r\n");
    return found;
}
