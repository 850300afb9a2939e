/*
 * Reads a command far enough to find the word that tells what it does: commands
 * that only prepare are passed over, then what runs another program, then
 * interpreters. This is not a shell parser.
 */
#include "lib/model/task_name.h"

#include "lib/base/mask.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum { WORDS_MAX = 48, WORD_SIZE = 256 };

/* The words of a command line; "" stands between two commands. */
struct words {
    char text[WORDS_MAX][WORD_SIZE];
    size_t n;
};

/* --- tokens --------------------------------------------------------------- */

/* A token from the last part of a path; false if there is none in it. */
static bool
token_from_path(const char *path, char out[SUBJECT_TOKEN_MAX + 1])
{
    char part[WORD_SIZE];
    size_t len = strlen(path), from;

    while (len > 0 && path[len - 1] == '/')
        len--;
    for (from = len; from > 0 && path[from - 1] != '/'; from--)
        continue;
    len -= from;
    if (len > 4 && strncmp(path + from + len - 4, ".git", 4) == 0)
        len -= 4;
    if (len >= sizeof part)
        len = sizeof part - 1;
    memcpy(part, path + from, len);
    part[len] = '\0';
    subject_token_from(part, "", out);
    return *out != '\0';
}

/* The same without the extension: scrape for bin/scrape.py. */
static bool
token_from_program(const char *path, char out[SUBJECT_TOKEN_MAX + 1])
{
    char word[WORD_SIZE], *name, *dot;

    (void)str_copy(word, sizeof word, path);
    name = strrchr(word, '/') ? strrchr(word, '/') + 1 : word;
    dot = strchr(name, '.');
    if (dot && dot > name)
        *dot = '\0';
    return token_from_path(word, out);
}

/* --- words ---------------------------------------------------------------- */

static void
add_word(struct words *w, const char *text, size_t len)
{
    char *to;

    if (w->n == WORDS_MAX)
        return;
    to = w->text[w->n++];
    len = len < WORD_SIZE ? len : WORD_SIZE - 1;
    memcpy(to, text, len);
    to[len] = '\0';
}

/* Splits a shell text; quotes hold blanks together, and are dropped. */
static void
split(const char *s, struct words *w)
{
    char word[WORD_SIZE], quote = 0;
    size_t len = 0;
    bool open = false;

    for (; w->n < WORDS_MAX; s++) {
        bool ends = !quote && (!*s || strchr(" \t\r\n;|&<>()", *s));

        if (ends || !*s) {
            if (open)
                add_word(w, word, len);
            open = false;
            len = 0;
            if (!*s)
                return;
            if (strchr("\n;|&(", *s))
                add_word(w, "", 0);
            continue;
        }
        if (!open && !quote && *s == '#') { /* a comment */
            s += strcspn(s, "\n");
            s--;
            continue;
        }
        open = true;
        if (quote ? *s == quote : *s == '"' || *s == '\'')
            quote = quote ? 0 : *s;
        else if (len < sizeof word)
            word[len++] = *s;
    }
}

static bool
is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

/* The last part of a path. */
static const char *
program(const char *word)
{
    const char *slash = strrchr(word, '/');

    return slash && slash[1] ? slash + 1 : word;
}

/* backfill for app.jobs.backfill. */
static bool
token_from_module(const char *name, char out[SUBJECT_TOKEN_MAX + 1])
{
    const char *dot = strrchr(name, '.');

    return token_from_path(dot && dot[1] ? dot + 1 : name, out);
}

/* Skips options; value: those with a value of their own, as letters. */
static size_t
skip_options(const struct words *w, size_t i, const char *value)
{
    static const char *const valued[] = {
        "--with",    "--python",    "--extra",    "--group", "--package",
        "--project", "--directory", "--env-file", NULL};

    while (i < w->n && w->text[i][0] == '-') {
        const char *o = w->text[i++];

        if (strcmp(o, "--") == 0)
            break;
        if (i < w->n &&
            (is_one_of(o, valued) || (o[1] && !o[2] && strchr(value, o[1]))))
            i++;
    }
    return i;
}

static bool
is_assignment(const char *word)
{
    size_t len = strcspn(word, "=");

    return word[len] && len && !strpbrk(word, "/ ") &&
           !isdigit((unsigned char)*word) && *word != '-';
}

/* Past the words at i that only run another program; i if there are none. */
static size_t
skip_wrapper(const struct words *w, size_t i)
{
    static const char *const plain[] = {
        "sudo",    "env", "time",    "nice",   "nohup", "exec",
        "command", "npx", "bunx",    "stdbuf", "doas",  "caffeinate",
        "setsid",  "uvx", "ionice",  "then",   "do",    "else",
        "{",       "!",   "builtin", NULL};
    static const char *const runners[] = {
        "uv",    "npm", "pnpm", "yarn", "bun",    "poetry",  "pipenv", "conda",
        "hatch", "pdm", "rye",  "mise", "bundle", "doppler", "deno",   NULL};
    static const char *const verbs[] = {"run", "exec", "run-script", NULL};
    const char *name = program(w->text[i]);

    if (is_one_of(name, plain))
        return skip_options(w, i + 1, "ugnCos");
    if (strcmp(name, "timeout") == 0) {
        i = skip_options(w, i + 1, "ks");
        return i < w->n ? i + 1 : i;
    }
    if (is_one_of(name, runners) && i + 1 < w->n &&
        is_one_of(w->text[i + 1], verbs))
        return skip_options(w, i + 2, "n");
    return is_assignment(w->text[i]) ? i + 1 : i;
}

static bool words_tell(const struct words *w, char *out);

/* What an interpreter at i runs: a script, a module, or the text after -c. */
static bool
script_tells(const struct words *w, size_t i, char out[SUBJECT_TOKEN_MAX + 1])
{
    static const char *const shells[] = {"sh", "bash", "zsh", "dash", NULL};
    static const char *const interpreters[] = {
        "sh",      "bash",  "zsh", "dash",    "python", "python3",
        "node",    "deno",  "bun", "ruby",    "perl",   "php",
        "Rscript", "julia", "tsx", "ts-node", NULL};
    const char *name = program(w->text[i]);
    struct words inner;

    if (!is_one_of(name, interpreters))
        return false;
    for (i++; i < w->n && w->text[i][0]; i++) {
        const char *word = w->text[i];

        if (*word != '-')
            return token_from_program(word, out);
        if (strcmp(word, "-m") == 0 && i + 1 < w->n)
            return token_from_module(w->text[i + 1], out);
        if (!strchr(word, 'c') || i + 1 == w->n)
            continue;
        inner.n = 0;
        split(w->text[i + 1], &inner);
        return is_one_of(name, shells) && words_tell(&inner, out);
    }
    return false;
}

/* The word of one command, which begins at i; false: it only prepares. */
static bool
command_tells(const struct words *w, size_t i, char out[SUBJECT_TOKEN_MAX + 1])
{
    static const char *const prepare[] = {
        "cd",     "pushd", "popd", "export", "set",  "source", ".",    "umask",
        "ulimit", "mkdir", "trap", "unset",  "test", "[",      "true", "if",
        "fi",     "for",   "done", "while",  ":",    "}",      "eval", NULL};
    size_t next;

    while (i < w->n && w->text[i][0] && (next = skip_wrapper(w, i)) != i)
        i = next;
    if (i >= w->n || !w->text[i][0] || is_one_of(w->text[i], prepare))
        return false;
    return script_tells(w, i, out) || token_from_program(w->text[i], out);
}

/* The first command that does more than prepare, else the first word of all. */
static bool
words_tell(const struct words *w, char *out)
{
    for (size_t i = 0; i < w->n; i++)
        if ((i == 0 || !w->text[i - 1][0]) && command_tells(w, i, out))
            return true;
    for (size_t i = 0; i < w->n; i++)
        if (!is_assignment(w->text[i]) && token_from_program(w->text[i], out))
            return true;
    return false;
}

static bool
text_tells(const char *text, char out[SUBJECT_TOKEN_MAX + 1])
{
    struct words w = {.n = 0};

    text += strspn(text, " \t\r\n");
    if (strncmp(text, "local:", 6) == 0 || strncmp(text, "cloud:", 6) == 0)
        text += 6;
    split(text, &w);
    return words_tell(&w, out);
}

static bool
argv_tells(const struct step *s, char out[SUBJECT_TOKEN_MAX + 1])
{
    struct words w = {.n = 0};

    for (size_t i = 0; i < s->n_argv; i++)
        add_word(&w, s->argv[i], strlen(s->argv[i]));
    return words_tell(&w, out);
}

static const char *
task_word(const struct task *t, char out[SUBJECT_TOKEN_MAX + 1])
{
    const struct step *s = t->steps;

    if (*t->command && text_tells(t->command, out))
        return out;
    if (t->n_steps == 0)
        return "prompt";
    switch (s->kind) {
    case STEP_UNSPECIFIED:
    case STEP_SHELL:
        return text_tells(s->script, out) ? out : "run";
    case STEP_ARGV:
        return argv_tells(s, out) ? out : "run";
    case STEP_PYTHON:
        return "python";
    case STEP_MAKE:
        return "make";
    case STEP_KUBECTL:
        return "kubectl";
    }
    return "run";
}

/* --- names ---------------------------------------------------------------- */

const char *
task_name_project(const struct task *t, struct mem_pool *pool)
{
    char out[SUBJECT_TOKEN_MAX + 1];

    if (token_from_path(t->workdir, out) || token_from_path(t->repo, out))
        return mem_pool_strdup(pool, out);
    return "task";
}

const char *
task_name_make(const struct task *t, enum task_name_zone zone,
               struct mem_pool *pool, int64_t now_ms)
{
    char project[SUBJECT_TOKEN_MAX + 1], buf[SUBJECT_TOKEN_MAX + 1];
    const char *word = task_word(t, buf);
    char when[32] = "";
    time_t now = now_ms / 1000;
    struct tm tm;
    size_t at;

    if (mask_find(NULL, word, strlen(word), &at))
        word = "run"; /* a name is seen by everybody */
    subject_token_from(t->project, "task", project);
    if ((zone == TASK_NAME_LOCAL ? localtime_r(&now, &tm)
                                 : gmtime_r(&now, &tm)) &&
        strftime(when, sizeof when, "%Y%m%d-%H%M", &tm) == 0)
        when[0] = '\0';
    return mem_pool_printf(pool, "%s-%s-%s", project, word, when);
}

bool
task_name_is_made(const char *name)
{
    static const char pattern[] = "-dddddddd-dddd";
    size_t len = strlen(name), size = sizeof pattern - 1, n = len;

    while (n && isdigit((unsigned char)name[n - 1]))
        n--;
    if (n && name[n - 1] == '-' && len - n < 4)
        len = n - 1; /* -2 */
    if (len < size)
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = name[len - size + i];

        if (pattern[i] == 'd' ? !isdigit((unsigned char)c) : c != '-')
            return false;
    }
    return true;
}
