/*
 * Reads the words of a shell command, reduces each to the form that keywords
 * have (the program's name without path, suffix or options) and looks them up
 * in the policy: a keyword matches a whole word, where its row says so a part
 * of a compound one, or an option of a command. This is not a shell parser: it
 * only needs to find words.
 */
#include "router/keywords.h"

#include "lib/base/str.h"

#include <ctype.h>
#include <string.h>

enum { EARLIER_MAX = 8 }; /* words of a command that an option may follow */

/* --- words --------------------------------------------------------------- */

/* One word of a command, reduced to the form of a keyword. */
struct word {
    char text[POLICY_WORD_SIZE]; /* lower case; "" if nothing is left of it */
    const char *rest;            /* its further parts, as "model.py" */
    unsigned dashes;             /* it began with, of an option */
    bool first;                  /* of a command */
};

/* The position in a shell text, read just well enough to find words. */
struct word_reader {
    const char *at;
    const struct policy *policy;
    char quote;        /* the quote we are inside, 0 outside */
    bool command_next; /* the next word names a program */
    bool light;        /* the current program scores nothing */
};

static const char separators[] = ".:-_"; /* of the parts of a word */

static bool
ends_word(char c)
{
    return c == '\0' || strchr(" \t\r\n;|&()<>{}\"'`$,", c);
}

/* Skips what separates words, noting where a command begins. */
static void
skip_gap(struct word_reader *r)
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
 * Reduces raw text to the form of a keyword: the last part of a path, up to its
 * suffix, and of a compound its first part, in lower case: scripts/
 * train_model.py is "train" and the rest "model.py", docker-compose "docker",
 * --watch "watch", and /dev/null or server.log reduce to nothing.
 */
static void
reduce(const struct policy *p, const char *raw, size_t len, struct word *out)
{
    const char *dot;
    size_t n = 0;

    *out = (struct word){.rest = ""};
    while (len && *raw == '-') {
        out->dashes++;
        raw++;
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        if (raw[i] == '=') {
            if (!out->dashes)
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
    if (len >= POLICY_WORD_SIZE)
        return;
    for (; n < len; n++)
        out->text[n] = (char)tolower((unsigned char)raw[n]);
    dot = strrchr(out->text, '.');
    if (dot && word_set_has(&p->data_suffixes, dot + 1)) {
        out->text[0] = '\0';
        return;
    }
    n = strcspn(out->text, separators);
    if (out->text[n])
        out->rest = out->text + n + 1;
    out->text[n] = '\0';
}

/* The next word; false at the end. */
static bool
next_word(struct word_reader *r, struct word *out)
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
        reduce(r->policy, start, (size_t)(r->at - start), out);
        if (r->command_next && *out->text && !out->dashes) {
            out->first = true;
            r->command_next = false;
            r->light = word_set_has(&r->policy->light_programs, out->text);
        }
        if (!r->light)
            return true;
    }
}

/* --- keywords ------------------------------------------------------------- */

/* The earlier words of the command being read. */
struct earlier {
    char words[EARLIER_MAX][POLICY_WORD_SIZE];
    size_t n;
};

static void
take(const struct keyword **found, const struct keyword *k)
{
    if (!found[k->row])
        found[k->row] = k;
}

/* A word, or two in sequence. */
static void
find_word(const struct policy *p, const char *before, const char *word,
          const struct keyword **found)
{
    const struct keyword *k;
    size_t at = 0;

    while ((k = policy_keyword(p, before, word, &at)))
        if (!k->option)
            take(found, k);
}

/* "tail -f" also in `tail -n 9 -f x`, `tail -fn9 x` and `kubectl logs x -f`. */
static void
find_option(const struct policy *p, const struct earlier *e,
            const struct word *word, const struct keyword **found)
{
    size_t letters = word->dashes == 1 ? strlen(word->text) : 0;
    const struct keyword *k;
    char letter[2] = "";

    for (size_t i = 0; i < e->n; i++)
        for (size_t l = 0; l <= letters; l++) {
            const char *name = l == letters ? word->text : letter;
            size_t at = 0;

            letter[0] = word->text[l];
            while ((k = policy_keyword(p, e->words[i], name, &at)))
                if (k->option)
                    take(found, k);
        }
}

static bool
is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* The rows that count parts: each part of a compound, and text of scripts that
 * do not separate words wherever it stands. */
static void
find_parts(const struct policy *p, const struct word *word,
           const struct keyword **found)
{
    char rest[POLICY_WORD_SIZE], *at = rest, *part;
    const struct keyword *k;

    (void)str_copy(rest, sizeof rest, word->rest);
    while ((part = strsep(&at, separators))) {
        size_t slot = 0;

        while ((k = policy_keyword(p, "", part, &slot)))
            if (p->rows[k->row].parts)
                take(found, k);
    }
    if (is_ascii(word->text) && is_ascii(word->rest))
        return;
    for (size_t i = 0; i < p->n_keywords; i++) {
        k = &p->keywords[i];
        if (p->rows[k->row].parts && !is_ascii(k->word) &&
            (strstr(word->text, k->word) || strstr(word->rest, k->word)))
            take(found, k);
    }
}

void
keywords_find(const char *text, const struct policy *p,
              const struct keyword **found)
{
    struct word_reader r = {.at = text, .policy = p, .command_next = true};
    struct word word;
    struct earlier earlier;
    char last[POLICY_WORD_SIZE] = "";

    earlier.n = 0;
    while (next_word(&r, &word)) {
        if (word.first)
            earlier.n = 0;
        find_word(p, word.first ? "" : last, word.text, found);
        find_parts(p, &word, found);
        if (word.dashes) { /* `npm --silent run build` is npm run */
            find_option(p, &earlier, &word, found);
            continue;
        }
        memcpy(last, word.text, sizeof last);
        if (earlier.n < EARLIER_MAX)
            memcpy(earlier.words[earlier.n++], word.text, sizeof last);
    }
}
