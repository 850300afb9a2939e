/*
 * One pass over argv: a word that begins with a dash is looked up in the
 * tables, and its value is stored where the row points. Help is two columns of
 * the rows.
 */
#include "cli/args.h"

#include "lib/base/nearest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct arg_opt *
find_opt(const struct arg_opt *const *tables, size_t n, const char *name,
         size_t len, char letter)
{
    for (size_t i = 0; i < n; i++)
        for (const struct arg_opt *o = tables[i]; o && o->name; o++)
            if (letter ? o->letter == letter
                       : strlen(o->name) == len && !strncmp(o->name, name, len))
                return o;
    return NULL;
}

static int
unknown_flag(const struct arg_opt *const *tables, size_t n, const char *flag,
             struct err *e)
{
    const char *names[256], *near;
    char bare[64];
    size_t i, count = 0;

    for (i = 0; i < n; i++)
        for (const struct arg_opt *o = tables[i]; o && o->name && count < 255;
             o++)
            names[count++] = o->name;
    names[count] = NULL;
    (void)str_copy(bare, sizeof bare, flag + strspn(flag, "-"));
    bare[strcspn(bare, "=")] = '\0';
    near = nearest_of(bare, names);
    return near ? err_set(e, ERR_INVALID, "unknown flag %s; did you mean --%s?",
                          flag, near)
                : err_set(e, ERR_INVALID, "unknown flag %s", flag);
}

int
args_list_add(struct arg_list *list, const char *text, struct mem_pool *pool,
              struct err *e)
{
    size_t len;

    for (; *text; text += len + (text[len] == ',')) {
        len = strcspn(text, ",");
        if (!len)
            continue;
        if (list->n == ARG_LIST_MAX)
            return err_set(e, ERR_INVALID, "more than %d values", ARG_LIST_MAX);
        list->items[list->n++] = mem_pool_strndup(pool, text, len);
    }
    return 0;
}

static int
set_number(const struct arg_opt *o, const char *value, struct err *e)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(value, &end, 10);
    if (errno || end == value || *end || n < o->least || n > o->most)
        return err_set(e, ERR_INVALID,
                       "--%s %s: not a number from %lld to %lld", o->name,
                       value, (long long)o->least, (long long)o->most);
    *(int64_t *)o->to = n;
    return 0;
}

static int
set_opt(const struct arg_opt *o, const char *value, struct mem_pool *pool,
        struct args *out, struct err *e)
{
    uint64_t ms;

    switch (o->kind) {
    case ARG_SWITCH:
        *(bool *)o->to = true;
        return 0;
    case ARG_TEXT:
        *(const char **)o->to = value;
        return 0;
    case ARG_LIST:
        return args_list_add(o->to, value, pool, e) < 0
                   ? err_wrap(e, "--%s", o->name)
                   : 0;
    case ARG_MS:
        if (!str_to_ms(value, &ms) || ms > INT64_MAX)
            return err_set(e, ERR_INVALID,
                           "--%s %s: not a duration like 30s, 5m or 2h",
                           o->name, value);
        *(int64_t *)o->to = (int64_t)ms;
        return 0;
    case ARG_NUMBER:
        return set_number(o, value, e);
    case ARG_TASK:
        if (out->n_task == ARG_TASK_MAX)
            return err_set(e, ERR_INVALID, "more than %d flags", ARG_TASK_MAX);
        out->task[out->n_task].opt = o;
        out->task[out->n_task++].value = value;
        return 0;
    }
    return 0;
}

/* Reads the flag argv[*i] and its value, which may be the next word. */
static int
read_flag(const struct arg_opt *const *tables, size_t n, int argc, char **argv,
          int *i, struct mem_pool *pool, struct args *out, struct err *e)
{
    const char *flag = argv[*i], *value = NULL;
    const struct arg_opt *o;
    size_t len;

    if (flag[1] == '-') {
        len = strcspn(flag + 2, "=");
        o = find_opt(tables, n, flag + 2, len, 0);
        if (flag[2 + len])
            value = flag + 2 + len + 1;
    } else {
        o = find_opt(tables, n, "", 0, flag[1]);
        if (o && flag[2] && o->arg)
            value = flag + 2;
        else if (flag[2])
            o = NULL;
    }
    if (!o)
        return unknown_flag(tables, n, flag, e);
    if (!o->arg && value)
        return err_set(e, ERR_INVALID, "--%s takes no value", o->name);
    if (o->arg && !value && *o->arg == '[') {
        value = "";
    } else if (o->arg && !value) {
        if (*i + 1 >= argc || !strcmp(argv[*i + 1], "--"))
            return err_set(e, ERR_INVALID, "--%s needs a value: --%s %s",
                           o->name, o->name, o->arg);
        value = argv[++*i];
    }
    return set_opt(o, value, pool, out, e);
}

int
args_parse(const struct arg_opt *const *tables, size_t n, int argc, char **argv,
           enum args_mode mode, int *stopped, struct mem_pool *pool,
           struct args *out, struct err *e)
{
    int i;

    memset(out, 0, sizeof *out);
    out->words = mem_pool_alloc(pool, (size_t)(argc + 1) * sizeof *out->words);
    for (i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--") && mode == ARGS_ALL) {
            out->dashes = true;
            out->command = argv + i + 1;
            out->n_command = (size_t)(argc - i - 1);
            break;
        }
        if (argv[i][0] == '-' && argv[i][1]) {
            if (read_flag(tables, n, argc, argv, &i, pool, out, e) < 0)
                return -1;
        } else if (mode == ARGS_LEADING) {
            break;
        } else {
            out->words[out->n_words++] = argv[i];
        }
    }
    if (stopped)
        *stopped = i;
    return 0;
}

void
args_help(const struct arg_opt *table, struct str *out)
{
    char left[64];

    for (const struct arg_opt *o = table; o && o->name; o++) {
        const char letter[] = {'-', o->letter, ',', ' ', '\0'};

        (void)snprintf(
            left, sizeof left, "%s--%s%s%s", o->letter ? letter : "    ",
            o->name, o->arg && *o->arg != '[' ? " " : "", o->arg ? o->arg : "");
        if (strlen(left) > 26)
            str_addf(out, "  %s\n  %-26s  %s\n", left, "", o->help);
        else
            str_addf(out, "  %-26s  %s\n", left, o->help);
    }
}
