/*
 * The rows of an option table: finding one by key, its name as a variable and
 * as a flag, reading and checking its value, and the errors for unknown names.
 */
#include "lib/base/conf_private.h"

#include "lib/base/mem.h"
#include "lib/base/nearest.h"
#include "lib/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const conf_sections[CONF_SECTIONS] = {
    "bus",    "router",    "worker", "local",    "codespace",
    "submit", "secutools", "reaper", "gateways", "folder",
    "github", "linear",    "cli",    "policy"};

/* Keys that only some of the programs reading their section know: the others
 * ignore them. */
static const char *const shared_keys[] = {"bus.connect_timeout",
                                          "bus.lanes",
                                          "bus.replicas",
                                          "bus.max_bytes",
                                          "bus.max_age",
                                          "bus.log_retention",
                                          "bus.log_max_bytes",
                                          "router.window",
                                          "router.drain_timeout",
                                          "reaper.sync",
                                          "reaper.nice",
                                          "reaper.report_root",
                                          "reaper.report_workdirs",
                                          "reaper.after_unknown"};

/* --- rows ----------------------------------------------------------------- */

const struct conf_opt *
conf_find_opt(const struct conf_opt *opts, const char *key)
{
    for (; opts->key; opts++)
        if (strcmp(opts->key, key) == 0)
            return opts;
    return NULL;
}

bool
conf_is_shared(const char *key)
{
    for (size_t i = 0; i < sizeof shared_keys / sizeof *shared_keys; i++)
        if (strcmp(shared_keys[i], key) == 0)
            return true;
    return false;
}

/* Index of a section, -1 if there is none of that name. */
int
conf_find_section(const char *name)
{
    for (int i = 0; i < CONF_SECTIONS; i++)
        if (strcmp(conf_sections[i], name) == 0)
            return i;
    return -1;
}

bool
conf_has_rows_in(const struct conf_opt *opts, const char *section)
{
    size_t len = strlen(section);

    for (; opts->key; opts++)
        if (strncmp(opts->key, section, len) == 0 && opts->key[len] == '.')
            return true;
    return false;
}

void
conf_env_name(const char *key, char *out, size_t size)
{
    (void)snprintf(out, size, "SHUNT_%s", key);
    for (; *out; out++)
        *out = *out == '.' ? '_' : (char)toupper((unsigned char)*out);
}

void
conf_flag_name(const char *key, char *out, size_t size)
{
    (void)snprintf(out, size, "--%s", key);
    for (; *out; out++)
        if (*out == '.' || *out == '_')
            *out = '-';
}

/* --- did you mean --------------------------------------------------------- */

static int
unknown(const char *where, const char *what, const char *word,
        const char *nearest, struct err *e)
{
    if (nearest)
        return err_set(e, ERR_INVALID, "%s: %s: unknown %s; did you mean %s?",
                       where, word, what, nearest);
    return err_set(e, ERR_INVALID, "%s: %s: unknown %s", where, word, what);
}

int
conf_unknown_key(const struct conf_opt *opts, const char *where,
                 const char *key, struct err *e)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;

    for (; opts->key; opts++)
        if (nearest_is(key, opts->key, &least))
            best = opts->key;
    return unknown(where, "key", key, best, e);
}

int
conf_unknown_section(const char *where, const char *name, struct err *e)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;

    for (int i = 0; i < CONF_SECTIONS; i++)
        if (nearest_is(name, conf_sections[i], &least))
            best = conf_sections[i];
    return unknown(where, "section", name, best, e);
}

int
conf_unknown_flag(const struct conf_opt *opts, const char *flag, struct err *e)
{
    char name[CONF_NAME_SIZE], near[CONF_NAME_SIZE] = "";
    size_t least = SIZE_MAX;

    for (; opts->key; opts++) {
        conf_flag_name(opts->key, name, sizeof name);
        if (nearest_is(flag, name, &least))
            (void)str_copy(near, sizeof near, name);
    }
    if (*near)
        return err_set(e, ERR_INVALID, "%s: unknown option; did you mean %s?",
                       flag, near);
    return err_set(e, ERR_INVALID,
                   "%s: unknown option; --help lists the known ones", flag);
}

/* --- values --------------------------------------------------------------- */

void *
conf_field(void *out, const struct conf_opt *o)
{
    return (char *)out + o->offset;
}

void
conf_free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        mem_free(*p);
    mem_free(list);
}

void
conf_list_add(char ***list, size_t *n, const char *text, size_t len)
{
    char *item = mem_alloc(len + 1);

    memcpy(item, text, len);
    item[len] = '\0';
    if ((*n & (*n - 1)) == 0) /* 0 or a power of two: double the room */
        *list = mem_resize(*list, (2 * *n + 2) * sizeof **list);
    (*list)[(*n)++] = item;
    (*list)[*n] = NULL;
}

/* "a, b" to a new list; blanks around items and empty items are dropped. */
static char **
split_list(const char *text)
{
    char **list = mem_zero(1, sizeof *list);
    size_t n = 0;

    while (*text) {
        size_t len = strcspn(text, ","), from = 0, to = len;

        while (from < to && isspace((unsigned char)text[from]))
            from++;
        while (to > from && isspace((unsigned char)text[to - 1]))
            to--;
        if (to > from)
            conf_list_add(&list, &n, text + from, to - from);
        text += len + (text[len] == ',');
    }
    return list;
}

void
conf_put_list(void *out, const struct conf_opt *o, char **list)
{
    char ***at = conf_field(out, o);

    conf_free_list(*at);
    *at = list;
}

bool
conf_parse_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes",
                                        "off",   "on",   "0",  "1"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(words[i], text) == 0) {
            *out = i % 2;
            return true;
        }
    }
    return false;
}

static bool
parse_int(const char *text, int64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)*text) &&
        !(*text == '-' && isdigit((unsigned char)text[1])))
        return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool
parse_number(enum conf_type type, const char *text, int64_t *out)
{
    uint64_t v = 0;
    bool ok = false;

    switch (type) {
    case CONF_TYPE_INT:
        return parse_int(text, out);
    case CONF_TYPE_MS:
        ok = str_to_ms(text, &v);
        break;
    case CONF_TYPE_BYTES:
        if (strcmp(text, "-1") == 0) {
            *out = -1; /* "-1", no limit: in range only if min is -1 */
            return true;
        }
        ok = str_to_bytes(text, &v);
        break;
    case CONF_TYPE_STR:
    case CONF_TYPE_BOOL:
    case CONF_TYPE_LIST:
        break;
    }
    if (!ok || v > INT64_MAX)
        return false;
    *out = (int64_t)v;
    return true;
}

/* What a value of the type looks like, for errors and the help. */
const char *
conf_type_words(enum conf_type type)
{
    switch (type) {
    case CONF_TYPE_STR:
        return "text";
    case CONF_TYPE_INT:
        return "a whole number";
    case CONF_TYPE_BOOL:
        return "true or false";
    case CONF_TYPE_MS:
        return "a duration such as 500ms, 10s or 5m";
    case CONF_TYPE_BYTES:
        return "a size such as 64K, 10M or 8G";
    case CONF_TYPE_LIST:
        return "a list";
    }
    return "?";
}

static const char *
show_number(enum conf_type type, int64_t v, char *out, size_t size)
{
    if (type == CONF_TYPE_MS && v > 0)
        return str_duration((uint64_t)v, out, size);
    (void)snprintf(out, size, "%" PRId64, v);
    return out;
}

int
conf_put_text(void *out, const struct conf_opt *o, const char *text,
              const char *where, struct err *e)
{
    char low[32], high[32];
    int64_t v = 0;

    switch (o->type) {
    case CONF_TYPE_STR: {
        char **at = conf_field(out, o);
        char *copy = mem_strdup(text);

        mem_free(*at);
        *at = copy;
        return 0;
    }
    case CONF_TYPE_LIST:
        conf_put_list(out, o, split_list(text));
        return 0;
    case CONF_TYPE_BOOL:
        if (conf_parse_bool(text, conf_field(out, o)))
            return 0;
        break;
    case CONF_TYPE_INT:
    case CONF_TYPE_MS:
    case CONF_TYPE_BYTES:
        if (!parse_number(o->type, text, &v))
            break;
        if (v < o->min || v > o->max)
            return err_set(e, ERR_INVALID,
                           "%s: %s: %.40s is out of range; it must lie "
                           "between %s and %s",
                           where, o->key, text,
                           show_number(o->type, o->min, low, sizeof low),
                           show_number(o->type, o->max, high, sizeof high));
        *(int64_t *)conf_field(out, o) = v;
        return 0;
    }
    return err_set(e, ERR_INVALID, "%s: %s: '%.40s' is not %s", where, o->key,
                   text, conf_type_words(o->type));
}

int
conf_set(void *out, const struct conf_opt *opts, const char *key,
         const char *value, const char *where, struct err *e)
{
    const struct conf_opt *o = conf_find_opt(opts, key);

    if (!o)
        return conf_unknown_key(opts, where, key, e);
    return conf_put_text(out, o, value, where, e);
}
