/*
 * Splits the arguments of kubectl, which never reach a shell, and checks
 * whether they only read.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/str.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_MAX = 256 };

/* --- words ---------------------------------------------------------------- */

/* A text being split. */
struct splitter {
    const char *p;
    struct str word;
    char fault[96]; /* why it would need a shell; "" if it does not */
};

/* Characters outside quotes that a shell leaves unchanged. */
static bool
is_plain(char c)
{
    return isalnum((unsigned char)c) || (c & 0x80) ||
           (c && strchr("_-./:=,@%+{}[]", c));
}

static void
set_fault(struct splitter *x, const char *text)
{
    (void)snprintf(x->fault, sizeof x->fault, "%s", text);
}

/* The text between quotes; p is after the first. */
static void
take_quoted(struct splitter *x, char quote)
{
    for (; *x->p && *x->p != quote; x->p++) {
        if (quote == '"' && strchr("$`\\!", *x->p)) {
            set_fault(x, "a shell would read $ ` \\ and ! inside \"...\"; "
                         "write '...'");
            return;
        }
        str_addc(&x->word, *x->p);
    }
    if (*x->p)
        x->p++;
    else
        set_fault(x, "a quote is not closed");
}

static void
take_char(struct splitter *x, char c)
{
    if (c == '\'' || c == '"')
        take_quoted(x, c);
    else if (is_plain(c))
        str_addc(&x->word, c);
    else if (c == '\n' || c == '\r')
        set_fault(x, "more than one line; write one command in an entry");
    else
        (void)snprintf(x->fault, sizeof x->fault,
                       "no shell is used, and %c is one's; write it inside "
                       "'...', or a command for each entry",
                       isprint((unsigned char)c) ? c : '?');
}

/* The next word; false at the end or with a fault. */
static bool
next_word(struct splitter *x)
{
    str_reset(&x->word);
    x->p += strspn(x->p, " \t");
    if (!*x->p)
        return false;
    while (*x->p && !strchr(" \t", *x->p) && !*x->fault)
        take_char(x, *x->p++);
    return !*x->fault;
}

void
kubectl_drop_name(const char ***argv, size_t *n)
{
    if (*n && strcmp(**argv, "kubectl") == 0) {
        ++*argv;
        --*n;
    }
}

int
kubectl_words(const struct import_text *s, const struct yaml_node *at,
              const char *text, const char ***out, size_t *n)
{
    const char **argv = mem_pool_alloc(s->pool, (WORDS_MAX + 1) * sizeof *argv);
    size_t len = strlen(text), count = 0;
    struct splitter x = {0};

    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--; /* the newline of a YAML block */
    x.p = mem_pool_strndup(s->pool, text, len);
    while (next_word(&x) && count < WORDS_MAX)
        argv[count++] = mem_pool_strdup(s->pool, str_text(&x.word));
    str_free(&x.word);
    if (count == WORDS_MAX)
        set_fault(&x, "too many words");
    if (*x.fault)
        return formats_fail(s, at, "kubectl: %s", x.fault);
    *out = argv;
    *n = count;
    kubectl_drop_name(out, n);
    return *n ? 0
              : formats_fail(s, at, "kubectl: no arguments; write what to do");
}

/* --- what only reads ------------------------------------------------------ */

/* The verbs, with a second word where only that combination reads. */
static const struct {
    const char *verb, *second;
} verbs[] = {
    {"get", NULL},          {"describe", NULL}, {"version", NULL},
    {"cluster-info", NULL}, {"logs", NULL},     {"api-resources", NULL},
    {"explain", NULL},      {"top", NULL},      {"api-versions", NULL},
    {"wait", NULL},         {"diff", NULL},     {"auth", "can-i"},
};

/* Options allowed before the verb, with a value and without; the others must
 * follow it. */
static const char *const leading[] = {"-n",
                                      "--namespace",
                                      "-o",
                                      "--output",
                                      "-f",
                                      "--filename",
                                      "-l",
                                      "--selector",
                                      "-v",
                                      "--v",
                                      "--context",
                                      "--kubeconfig",
                                      "--request-timeout",
                                      NULL};
static const char *const leading_flags[] = {"-A", "--all-namespaces", NULL};

/* Options that would send this cluster's credentials to another, impersonate
 * somebody or write files. */
static const char *const refused[] = {
    "--server",     "--token",
    "--as",         "--as-group",
    "--as-uid",     "--as-user-extra",
    "--user",       "--cluster",
    "--username",   "--password",
    "--client-key", "--client-certificate",
    "--cache-dir",  "--certificate-authority",
    "--profile",    "--insecure-skip-tls-verify",
    "--kuberc",     "--tls-server-name",
    "--log-file",   "--profile-output",
    "--log-dir",    "--output-directory",
    NULL,
};

/* Whether a word is that option, alone or with "=value". */
static bool
is_option(const char *word, const char *name)
{
    size_t len = strlen(name);

    return strncmp(word, name, len) == 0 && (!word[len] || word[len] == '=');
}

static bool
is_any_option(const char *word, const char *const *names)
{
    while (*names && !is_option(word, *names))
        names++;
    return *names;
}

/* -xVALUE; combined letters could hide another option. */
static bool
is_short_with_value(const char *word)
{
    return word[1] && word[2] && strchr("nolcvL", word[1]);
}

static const char *
fault_of_option(const char *word, const char *next)
{
    if (strncmp(word, "--", 2) == 0) {
        if (is_any_option(word, refused))
            return "is not accepted; set it up where the worker runs";
        if (!is_option(word, "--kubeconfig"))
            return NULL;
        /* A file in the working directory may name any program. */
        next = strchr(word, '=') ? strchr(word, '=') + 1 : next;
        return next && *next == '/' ? NULL : "needs an absolute path";
    }
    if (word[1] == 's')
        return "is not accepted; set it up where the worker runs";
    if (word[1] && word[2] && !is_short_with_value(word))
        return "holds several options; write them one by one";
    return NULL;
}

/* The index of the verb, n if there is none; *bad: an unknown word before
 * it. */
static size_t
find_verb(const char *const *argv, size_t n, const char **bad)
{
    size_t i = 0;

    *bad = NULL;
    while (i < n && argv[i][0] == '-' && !*bad) {
        if (is_any_option(argv[i], leading))
            i += strchr(argv[i], '=') ? 1 : 2;
        else if (is_any_option(argv[i], leading_flags) ||
                 is_short_with_value(argv[i]))
            i++;
        else
            *bad = argv[i];
    }
    return i < n ? i : n;
}

int
kubectl_only_reads(const struct import_text *s, const struct yaml_node *at,
                   const char *const *argv, size_t n)
{
    const char *bad, *fault;
    size_t i = find_verb(argv, n, &bad);

    if (bad)
        return formats_fail(s, at, "kubectl: write %s behind the verb",
                            formats_short(s, bad));
    if (i == n)
        return formats_fail(s, at, "kubectl: no verb; write get, say");
    for (size_t k = 0; k < n; k++) {
        if (argv[k][0] != '-')
            continue;
        fault = fault_of_option(argv[k], k + 1 < n ? argv[k + 1] : NULL);
        if (fault)
            return formats_fail(s, at, "kubectl: %s %s",
                                formats_short(s, argv[k]), fault);
    }
    for (size_t k = 0; k < sizeof verbs / sizeof *verbs; k++)
        if (strcmp(argv[i], verbs[k].verb) == 0 &&
            (!verbs[k].second ||
             (i + 1 < n && strcmp(argv[i + 1], verbs[k].second) == 0)))
            return 0;
    return formats_fail(s, at,
                        "kubectl: %s is not accepted here; it may get, "
                        "describe, explain, logs, top, wait, diff, version, "
                        "cluster-info, api-resources, api-versions, auth can-i",
                        formats_short(s, argv[i]));
}
