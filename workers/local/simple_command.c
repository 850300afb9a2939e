/*
 * Splits one line into words and gives up at any character or first word that a
 * shell would treat specially.
 */
#include "workers/local/simple_command.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 1024, SIMPLE_MAX = 8192 };

#define BARE                                                                   \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"

/*
 * Builtins and keywords, sorted. echo, true and false are missing: without
 * options the programs of that name do the same.
 */
static const char *const builtins[] = {
    ".",        "alias",   "bg",       "bind",      "break",    "builtin",
    "caller",   "case",    "cd",       "chdir",     "command",  "compgen",
    "complete", "compopt", "continue", "coproc",    "declare",  "dirs",
    "disown",   "do",      "done",     "elif",      "else",     "enable",
    "esac",     "eval",    "exec",     "exit",      "export",   "fc",
    "fg",       "fi",      "for",      "function",  "getopts",  "hash",
    "help",     "history", "if",       "in",        "jobs",     "kill",
    "let",      "local",   "logout",   "mapfile",   "popd",     "printf",
    "pushd",    "pwd",     "read",     "readarray", "readonly", "return",
    "select",   "set",     "shift",    "shopt",     "source",   "suspend",
    "test",     "then",    "time",     "times",     "trap",     "type",
    "typeset",  "ulimit",  "umask",    "unalias",   "unset",    "until",
    "wait",     "while",
};

static int
compare(const void *key, const void *item)
{
    return strcmp(*(const char *const *)key, *(const char *const *)item);
}

/* Whether a shell would run these words itself, and not as the program does:
 * /bin/echo knows --help, a shell's echo prints it. */
static bool
is_builtin(const char *const *words)
{
    const char *word = words[0], *first = words[1];

    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
        return first != NULL;
    if (strcmp(word, "echo") == 0)
        return first && *first == '-';
    return *word == ':' ||
           bsearch(&word, builtins, sizeof builtins / sizeof *builtins,
                   sizeof *builtins, compare) != NULL;
}

/* Appends the quoted text at *text to *out and skips it. */
static bool
quoted(const char **text, char **out)
{
    const char *from = *text + 1, *end = strchr(from, **text);
    size_t len;

    if (!end)
        return false;
    len = (size_t)(end - from);
    /* A shell may accept some of these literally: when in doubt, not. */
    if (strcspn(from, "$`\\!\n") < len)
        return false;
    memcpy(*out, from, len);
    *out += len;
    *text = end + 1;
    return true;
}

static bool
word(const char **text, char **out)
{
    while (**text && **text != ' ' && **text != '\t') {
        if (**text == '\'' || **text == '"') {
            if (!quoted(text, out))
                return false;
        } else if (strchr(BARE, **text)) {
            *(*out)++ = *(*text)++;
        } else {
            return false;
        }
    }
    *(*out)++ = '\0';
    return true;
}

const char **
simple_command_args(const char *text, struct mem_pool *pool)
{
    size_t len = strlen(text), n = 0;
    const char **words;
    char *copy, *out;

    while (len > 0 && strchr(" \t\n", text[len - 1]))
        len--;
    if (len > SIMPLE_MAX)
        return NULL;
    text = mem_pool_strndup(pool, text, len);
    out = copy = mem_pool_alloc(pool, len + 2);
    words = mem_pool_alloc(pool, (len / 2 + 2) * sizeof *words);
    for (;;) {
        text += strspn(text, " \t");
        if (!*text)
            break;
        if (n == WORDS_MAX)
            return NULL;
        words[n++] = out;
        if (!word(&text, &out))
            return NULL;
    }
    words[n] = NULL;
    return words;
}

const char **
simple_command_words(const char *script, struct mem_pool *pool)
{
    const char **words = simple_command_args(script, pool);

    if (!words || !words[0] || !*words[0] || strchr(words[0], '=') ||
        is_builtin(words))
        return NULL;
    return words;
}
