/*
 * Names and values of variables, and what a command assigns to them. Names are
 * compared in capitals, their words apart: githubToken is GITHUB_TOKEN.
 */
#include "lib/base/mask_private.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    NAME_MAX_BYTES = 128,
    VALUE_LEAST = 6,
    PLAIN_LEAST = 8, /* of a value that is only letters or only digits */
};

/* Anywhere in a name. */
static const char *const telling[] = {
    "PASSWORD",   "PASSWD",     "PASSPHRASE",  "SECRET",      "CREDENTIAL",
    "APIKEY",     "API_KEY",    "ACCESS_KEY",  "ACCESSKEY",   "PRIVATE_KEY",
    "PRIVATEKEY", "AUTH_KEY",   "ACCOUNT_KEY", "SERVICE_KEY", "ENCRYPTION_KEY",
    "SSH_KEY",    "DEPLOY_KEY", "MASTER_KEY",  "SIGNING_KEY", "LICENSE_KEY"};

/* A word of a name, or the end of one. */
static const char *const telling_words[] = {
    "TOKEN", "TOKENS", "AUTH",   "PASS",   "PWD",
    "JWT",   "PAT",    "COOKIE", "BEARER", "DSN"};

/* The last word of a name: it says something about the secret. */
static const char *const harmless[] = {
    "FILE",     "PATH",     "DIR",     "SOCK",     "SOCKET",  "URL",
    "URI",      "HOST",     "PORT",    "TYPE",     "METHOD",  "MODE",
    "USER",     "USERNAME", "NAME",    "LIMIT",    "ENABLED", "DISABLED",
    "TTL",      "EXPIRY",   "EXPIRES", "LENGTH",   "COUNT",   "SIZE",
    "BUDGET",   "VERSION",  "REALM",   "DOMAIN",   "ISSUER",  "PROVIDER",
    "ENDPOINT", "BACKEND",  "COMMAND", "HELPER",   "STORE",   "PREFIX",
    "SCHEME",   "REGION",   "ALG",     "ALGORITHM"};

/* Values that would hide words of ordinary output. */
static const char *const common[] = {
    "password",   "changeme",    "undefined",  "disabled",  "required",
    "optional",   "placeholder", "anonymous",  "localhost", "development",
    "production", "none-needed", "not-needed", "not-set",   "external",
    "internal",   "keychain",    "kerberos",   "standard",  "default",
    "keyring",    "plaintext",   "unlimited",  "negotiate"};

#define LENGTH(a) (sizeof(a) / sizeof *(a))

/* --- names ---------------------------------------------------------------- */

static void
normalize(const char *name, size_t len, char out[NAME_MAX_BYTES])
{
    size_t n = 0;

    for (size_t i = 0; i < len && n + 2 < NAME_MAX_BYTES; i++) {
        unsigned char c = (unsigned char)name[i];

        if (i > 0 && isupper(c) && islower((unsigned char)name[i - 1]))
            out[n++] = '_';
        out[n++] = c == '-' || c == '.' ? '_' : (char)toupper(c);
    }
    out[n] = '\0';
}

static bool
has_word(const char *name, const char *word, bool suffix)
{
    size_t len = strlen(word);

    for (const char *p = name; (p = strstr(p, word)); p++)
        if ((p[len] == '\0' || p[len] == '_') &&
            (suffix || p == name || p[-1] == '_'))
            return true;
    return false;
}

static bool
is_secret_name(const char *text, size_t len)
{
    char name[NAME_MAX_BYTES];
    const char *last;

    normalize(text, len, name);
    last = strrchr(name, '_') ? strrchr(name, '_') + 1 : name;
    for (size_t i = 0; i < LENGTH(harmless); i++)
        if (strcmp(last, harmless[i]) == 0)
            return false;
    if (strcmp(name, "PWD") == 0 || strcmp(name, "OLDPWD") == 0)
        return false; /* a shell's folders */
    for (size_t i = 0; i < LENGTH(telling); i++)
        if (strstr(name, telling[i]))
            return true;
    for (size_t i = 0; i < LENGTH(telling_words); i++)
        if (has_word(name, telling_words[i],
                     strncmp(telling_words[i], "TOKEN", 5) == 0))
            return true;
    return false;
}

bool
mask_is_secret_name(const char *name)
{
    return is_secret_name(name, strlen(name));
}

/* --- values --------------------------------------------------------------- */

/* A file's name, not a text of base 64 that begins with a slash. */
static bool
is_path(const char *text, size_t len)
{
    bool upper = false, digit = false, other = false;

    if (text[0] == '~' || (text[0] == '.' && len > 1 && text[1] == '/'))
        return true;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        upper = upper || isupper(c);
        digit = digit || isdigit(c);
        other = other || (!isalnum(c) && !strchr("+/=", c));
    }
    return text[0] == '/' && (other || !upper || !digit);
}

static bool
is_worth_hiding(const char *value, size_t len)
{
    size_t letters = 0, digits = 0;

    if (len < VALUE_LEAST || is_path(value, len))
        return false;
    for (size_t i = 0; i < LENGTH(common); i++)
        if (strlen(common[i]) == len && strncasecmp(common[i], value, len) == 0)
            return false;
    for (size_t i = 0; i < len; i++) {
        letters += isalpha((unsigned char)value[i]) != 0;
        digits += isdigit((unsigned char)value[i]) != 0;
    }
    return len >= PLAIN_LEAST || (letters < len && digits < len);
}

bool
mask_is_secret(const char *name, const char *value)
{
    size_t len = strlen(value), at;

    return (is_worth_hiding(value, len) && mask_is_secret_name(name)) ||
           mask_find(NULL, value, len, &at);
}

/* --- commands ------------------------------------------------------------- */

static bool
is_name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

/* The value that a command gives to the name before text: its length, and in
 * *skip what stands before it. 0: none. */
static size_t
value_after(const char *text, bool flag, size_t *skip)
{
    const char *p = text, *end;
    char quote = '\0';
    bool assigned = *p == '=', header = *p == ':';

    if (!assigned && !header && !(flag && *p == ' '))
        return 0;
    p++;
    while (!assigned && *p == ' ')
        p++;
    if (*p == '\'' || *p == '"')
        quote = *p++;
    end = p + (quote ? strcspn(p, quote == '"' ? "\"\n" : "'\n")
                     : strcspn(p, " \t\n;|&()<>'\"`"));
    *skip = (size_t)(p - text);
    if (p == end || strchr("$-<{*%", *p) ||
        !is_worth_hiding(p, (size_t)(end - p)) ||
        (header && strcspn(p, "0123456789") >= (size_t)(end - p)))
        return 0;
    return (size_t)(end - p);
}

void
mask_command(const struct mask *m, const char *command, struct str *out)
{
    struct str text = {0};
    const char *p = command;

    while (*p) {
        size_t n = 0, skip, len;

        while (is_name_byte(p[n]))
            n++;
        if (n == 0) {
            str_addc(&text, *p++);
            continue;
        }
        str_add(&text, p, n);
        len = value_after(p + n, p[0] == '-', &skip);
        if (len > 0 && !is_secret_name(p, n))
            len = 0;
        p += n;
        if (len > 0) {
            str_add(&text, p, skip);
            str_addz(&text, MASK_TEXT);
            p += skip + len;
        }
    }
    mask_text(m, str_text(&text), text.len, out);
    str_free(&text);
}
