/*
 * Reads the files, then the environment, then the flags, each of them through
 * the same table of options; prints the help from that table.
 */
#include "lib/base/conf_private.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/version.h"
#include "lib/base/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = YAML_MAX_BYTES };

/* --- files ---------------------------------------------------------------- */

/* A file being read. */
struct conf_reader {
    const char *path;
    char where[PATH_MAX + 32]; /* "path:line" of the present value */
    void *out;
    const struct conf_opt *opts;
};

static const char *
place(struct conf_reader *r, const struct yaml_node *n)
{
    (void)snprintf(r->where, sizeof r->where, "%s:%zu", r->path, n->line);
    return r->where;
}

static int
check_scalar(struct conf_reader *r, const struct yaml_node *n, struct err *e)
{
    if (n->kind == YAML_SCALAR)
        return 0;
    return err_set(e, ERR_INVALID, "%s: a name or a value is expected here",
                   place(r, n));
}

static int
read_list(struct conf_reader *r, const struct conf_opt *o,
          const struct yaml_node *list, struct err *e)
{
    char **items;
    size_t n = 0;

    if (o->type != CONF_TYPE_LIST)
        return err_set(e, ERR_INVALID, "%s: %s: a list, but %s is expected",
                       place(r, list), o->key, conf_type_words(o->type));
    items = mem_zero(1, sizeof *items);
    for (const struct yaml_node *v = list->first; v; v = v->next) {
        if (check_scalar(r, v, e) < 0) {
            conf_free_list(items);
            return -1;
        }
        conf_list_add(&items, &n, v->text, strlen(v->text));
    }
    conf_put_list(r->out, o, items);
    return 0;
}

static int
read_value(struct conf_reader *r, const struct conf_opt *o,
           const struct yaml_node *v, struct err *e)
{
    if (v->kind == YAML_LIST)
        return read_list(r, o, v, e);
    if (v->kind == YAML_MAP)
        return err_set(e, ERR_INVALID, "%s: %s: a mapping, but %s is expected",
                       place(r, v), o->key, conf_type_words(o->type));
    if (yaml_is_null(v))
        return 0; /* keeps the present value */
    return conf_put_text(r->out, o, v->text, place(r, v), e);
}

static int
read_key(struct conf_reader *r, const char *section, const struct yaml_node *v,
         struct err *e)
{
    const struct conf_opt *o;
    char key[CONF_NAME_SIZE];

    (void)snprintf(key, sizeof key, "%s.%s", section, v->key->text);
    o = conf_find_opt(r->opts, key);
    if (o)
        return read_value(r, o, v, e);
    return conf_is_shared(key)
               ? 0
               : conf_unknown_key(r->opts, place(r, v->key), key, e);
}

static int
read_section(struct conf_reader *r, const struct yaml_node *section,
             struct err *e)
{
    const char *name = section->key->text;

    if (conf_find_section(name) < 0)
        return conf_unknown_section(place(r, section->key), name, e);
    if (!conf_has_rows_in(r->opts, name) || yaml_is_null(section))
        return 0;
    if (section->kind != YAML_MAP)
        return err_set(e, ERR_INVALID, "%s: %s: a section holds 'key: value'",
                       place(r, section), name);
    for (const struct yaml_node *v = section->first; v; v = v->next)
        if (read_key(r, name, v, e) < 0)
            return -1;
    return 0;
}

static int
read_document(struct conf_reader *r, const struct yaml_node *root,
              struct err *e)
{
    if (yaml_is_null(root))
        return 0; /* nothing but comments */
    if (root->kind != YAML_MAP)
        return err_set(e, ERR_INVALID, "%s: sections are expected, 'bus:' say",
                       place(r, root));
    for (const struct yaml_node *v = root->first; v; v = v->next)
        if (read_section(r, v, e) < 0)
            return -1;
    return 0;
}

/* Appends the whole file; ERR_NOT_FOUND if there is none. */
static int
read_file(const char *path, struct str *text, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;
    char buf[8192];
    ssize_t n;

    if (fd < 0)
        return err_set(e,
                       errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND
                                                           : ERR_INVALID,
                       "open %s: %s", path, strerror(errno));
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        if (text->len + (size_t)n > FILE_MAX) {
            (void)err_set(e, ERR_INVALID, "%s: larger than 1 MiB", path);
            goto out;
        }
        str_add(text, buf, (size_t)n);
    }
    if (n < 0) {
        (void)err_set(e, ERR_INVALID, "read %s: %s", path, strerror(errno));
        goto out;
    }
    rc = 0;
out:
    (void)close(fd);
    return rc;
}

int
conf_load_text(void *out, const struct conf_opt *opts, const char *path,
               const void *text, size_t len, struct err *e)
{
    struct conf_reader r = {.path = path, .out = out, .opts = opts};
    struct mem_pool *pool = mem_pool_new();
    const struct yaml_node *root;
    int rc = -1;

    if (yaml_parse(path, text, len, pool, &root, e) == 0)
        rc = read_document(&r, root, e);
    mem_pool_free(pool);
    return rc;
}

static int
load_file(void *out, const struct conf_opt *opts, const char *path,
          struct err *e)
{
    struct str text = {0};
    int rc = read_file(path, &text, e);

    if (rc == 0)
        rc = conf_load_text(out, opts, path, str_text(&text), text.len, e);
    str_free(&text);
    return rc;
}

/* Loads a file that may be missing. */
static int
load_optional(void *out, const struct conf_opt *opts, const char *path,
              struct err *e)
{
    if (load_file(out, opts, path, e) == 0)
        return 0;
    return e->code == ERR_NOT_FOUND ? 0 : -1;
}

/* .shunt.yaml of the working directory or the nearest folder above it. */
static int
load_project(void *out, const struct conf_opt *opts, struct err *e)
{
    char path[PATH_MAX + sizeof "/.shunt.yaml"], dir[PATH_MAX];

    if (!getcwd(dir, sizeof dir) || *dir != '/')
        return 0; /* the working directory was deleted: no project */
    for (;;) {
        char *slash = strrchr(dir, '/');

        (void)snprintf(path, sizeof path, "%s/.shunt.yaml", dir[1] ? dir : "");
        if (access(path, F_OK) == 0)
            return load_optional(out, opts, path, e);
        if (!dir[1])
            return 0;
        slash[slash == dir] = '\0';
    }
}

static int
load_files(void *out, const struct conf_opt *opts, const char *given,
           struct err *e)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char path[PATH_MAX];

    if (!given || !*given)
        given = getenv("SHUNT_CONFIG");
    if (given && *given)
        return load_file(out, opts, given, e);
    if (load_optional(out, opts, "/etc/shunt/config.yaml", e) < 0)
        return -1;
    path[0] = '\0';
    if (xdg && *xdg)
        (void)snprintf(path, sizeof path, "%s/shunt/config.yaml", xdg);
    else if (home && *home)
        (void)snprintf(path, sizeof path, "%s/.config/shunt/config.yaml", home);
    if (*path && load_optional(out, opts, path, e) < 0)
        return -1;
    return load_project(out, opts, e);
}

/* --- environment and flags ------------------------------------------------ */

/* An empty variable counts as unset: compose files pass those on. */
static int
load_variable(void *out, const struct conf_opt *o, const char *name,
              struct err *e)
{
    const char *value = name ? getenv(name) : NULL;

    return value && *value ? conf_put_text(out, o, value, name, e) : 0;
}

static int
load_environment(void *out, const struct conf_opt *opts, struct err *e)
{
    char name[CONF_NAME_SIZE];

    for (; opts->key; opts++) {
        conf_env_name(opts->key, name, sizeof name);
        if (load_variable(out, opts, opts->env, e) < 0 ||
            load_variable(out, opts, name, e) < 0)
            return -1;
    }
    return 0;
}

/* --- help ----------------------------------------------------------------- */

static const char *
program_of(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');

    return slash ? slash + 1 : argv0;
}

static void
print_help(const char *about, const struct conf_opt *opts, const char *program)
{
    char flag[CONF_NAME_SIZE], env[CONF_NAME_SIZE];

    (void)printf("%s\n\nusage: %s [--config FILE] [--OPTION VALUE]...\n\n"
                 "Each option is also a key of the configuration file and an "
                 "environment variable;\na flag wins over the environment, "
                 "the environment over the file.\n\n",
                 about, program);
    for (; opts->key; opts++) {
        conf_flag_name(opts->key, flag, sizeof flag);
        conf_env_name(opts->key, env, sizeof env);
        (void)printf("  %s\n      %s\n      default: %s; key: %s; "
                     "environment: %s%s%s\n",
                     flag, opts->help,
                     *opts->fallback ? opts->fallback : "(empty)", opts->key,
                     env, opts->env ? ", " : "", opts->env ? opts->env : "");
    }
    (void)printf(
        "  --config FILE\n      read this configuration file, and no other\n"
        "      environment: SHUNT_CONFIG\n"
        "  --help\n  --version\n");
}

/* The row of a flag ("--bus-url", "--bus-url=x"), NULL if there is none. */
static const struct conf_opt *
opt_of_flag(const struct conf_opt *opts, const char *arg, size_t len)
{
    char name[CONF_NAME_SIZE];

    for (; opts->key; opts++) {
        size_t i = 0;

        conf_flag_name(opts->key, name, sizeof name);
        while (i < len && name[i] &&
               (name[i] == arg[i] || (name[i] == '-' && arg[i] == '_')))
            i++;
        if (i == len && !name[i])
            return opts;
    }
    return NULL;
}

/* Reads the flag at argv[*i] and advances *i to its last word. With out NULL it
 * only looks for --config, whose file must be read first. */
static int
read_flag(void *out, const struct conf_opt *opts, int argc, char **argv, int *i,
          const char **config, struct err *e)
{
    const char *arg = argv[*i], *eq = strchr(arg, '='), *value;
    size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
    bool is_config = len == 8 && strncmp(arg, "--config", 8) == 0;
    const struct conf_opt *o = is_config ? NULL : opt_of_flag(opts, arg, len);
    char name[CONF_NAME_SIZE];
    bool truth;

    memcpy(name, arg, len < sizeof name ? len : sizeof name - 1);
    name[len < sizeof name ? len : sizeof name - 1] = '\0';
    if (strncmp(arg, "--", 2) != 0)
        return err_set(e, ERR_INVALID,
                       "%s: unexpected argument; --help lists the options",
                       arg);
    if (!is_config && !o)
        return conf_unknown_flag(opts, name, e);
    if (eq)
        value = eq + 1;
    else if (o && o->type == CONF_TYPE_BOOL &&
             (*i + 1 >= argc || !conf_parse_bool(argv[*i + 1], &truth)))
        value = "true"; /* a switch needs no value */
    else if (*i + 1 < argc)
        value = argv[++*i];
    else
        return err_set(e, ERR_INVALID, "%s: a value is missing", name);
    if (is_config)
        *config = value;
    return o && out ? conf_put_text(out, o, value, name, e) : 0;
}

static int
read_flags(void *out, const struct conf_opt *opts, int argc, char **argv,
           const char **config, struct err *e)
{
    for (int i = 1; i < argc; i++)
        if (read_flag(out, opts, argc, argv, &i, config, e) < 0)
            return -1;
    return 0;
}

/* --help and --version take precedence over everything else. */
static void
answer_and_exit(const char *about, const struct conf_opt *opts, int argc,
                char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool help =
            strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;

        if (help)
            print_help(about, opts, program_of(argv[0]));
        else if (strcmp(argv[i], "--version") == 0)
            (void)printf("%s %s\n", program_of(argv[0]), shunt_version);
        else
            continue;
        exit(fflush(stdout) == 0 ? 0 : 1);
    }
}

int
conf_load(void *out, const struct conf_opt *opts, const char *about, int argc,
          char **argv, struct err *e)
{
    const char *config = NULL;

    answer_and_exit(about, opts, argc, argv);
    for (const struct conf_opt *o = opts; o->key; o++)
        if (conf_put_text(out, o, o->fallback, "default", e) < 0)
            return -1;
    if (read_flags(NULL, opts, argc, argv, &config, e) < 0 ||
        load_files(out, opts, config, e) < 0 ||
        load_environment(out, opts, e) < 0)
        return -1;
    return read_flags(out, opts, argc, argv, &config, e);
}

void
conf_free(void *out, const struct conf_opt *opts)
{
    for (; opts->key; opts++) {
        if (opts->type == CONF_TYPE_STR) {
            char **at = conf_field(out, opts);

            mem_free(*at);
            *at = NULL;
        } else if (opts->type == CONF_TYPE_LIST) {
            conf_put_list(out, opts, NULL);
        }
    }
}
