/*
 * Reads the words of a shell command, reduces each to the form that keywords
 * have (the program's name without path, suffix or options) and looks them up
 * in the policy: a keyword matches a whole word only. This is not a shell
 * parser: it only needs to find words.
 */
#include "router/keywords.h"

#include <ctype.h>
#include <string.h>

/* --- words --------------------------------------------------------------- */

/* One word of a command, reduced to the form of a keyword. */
struct word {
    char text[POLICY_WORD_SIZE]; /* lower case; "" if nothing is left of it */
    bool option;                 /* began with '-' */
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
 * train_model.py is "train", docker-compose "docker", --watch "watch", and
 * /dev/null or server.log reduce to nothing.
 */
static void
reduce(const struct policy *p, const char *raw, size_t len, struct word *out)
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
    if (len >= POLICY_WORD_SIZE)
        return;
    for (; n < len; n++)
        out->text[n] = (char)tolower((unsigned char)raw[n]);
    dot = strrchr(out->text, '.');
    if (dot && word_set_has(&p->data_suffixes, dot + 1))
        out->text[0] = '\0';
    else
        out->text[strcspn(out->text, ".:-_")] = '\0';
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
        if (r->command_next && *out->text && !out->option) {
            out->first = true;
            r->command_next = false;
            r->light = word_set_has(&r->policy->light_programs, out->text);
        }
        if (!r->light)
            return true;
    }
}

/* --- keywords ------------------------------------------------------------- */

void
keywords_find(const char *text, const struct policy *p,
              const struct keyword **found)
{
    struct word_reader r = {.at = text, .policy = p, .command_next = true};
    struct word word;
    char last[POLICY_WORD_SIZE] = "";

    while (next_word(&r, &word)) {
        const struct keyword *k;
        const char *before = word.first ? "" : last;
        size_t at = 0;

        while ((k = policy_keyword(p, before, word.text, &at)))
            if (!found[k->row])
                found[k->row] = k;
        if (!word.option) /* `npm --silent run build` is npm run */
            memcpy(last, word.text, sizeof last);
    }
}
