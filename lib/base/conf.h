/*
 * conf - one YAML file, the environment and flags into a struct, through a
 * table of options.
 *
 * Precedence: flag > environment > .shunt.yaml in the working directory or
 * above it > $XDG_CONFIG_HOME/shunt/config.yaml > /etc/shunt/config.yaml >
 * default. `--config FILE` (or SHUNT_CONFIG) replaces the three files.
 *
 * An option "bus.url" is the key url in the section bus, the environment
 * variable SHUNT_BUS_URL and the flag --bus-url. Unknown sections and keys,
 * duplicate keys and values out of range are errors with file and line.
 *
 * Thread: before loop_run.
 */
#ifndef LIB_BASE_CONF_H
#define LIB_BASE_CONF_H

#include "lib/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_type {
    CONF_TYPE_STR,   /* char *: owned, never NULL after conf_load */
    CONF_TYPE_INT,   /* int64_t */
    CONF_TYPE_BOOL,  /* bool: true yes on 1 / false no off 0 */
    CONF_TYPE_MS,    /* int64_t, durations as in lib/base/str */
    CONF_TYPE_BYTES, /* int64_t, sizes as in lib/base/str; "-1" where min is -1
                      */
    CONF_TYPE_LIST,  /* char **: NULL-terminated; YAML list or "a,b" */
};

struct conf_opt {
    const char *key; /* "section.key" */
    enum conf_type type;
    size_t offset;
    const char *fallback; /* the default, as it would be written in the file */
    int64_t min, max;
    const char *env;  /* a second environment variable, NULL: none */
    const char *help; /* one line */
};

/* Rows. T is the struct, F the field, K the key. A table ends with CONF_END. */
#define CONF_STR(T, F, K, D, H)                                                \
    {                                                                          \
        K, CONF_TYPE_STR, offsetof(T, F), D, 0, 0, NULL, H                     \
    }
#define CONF_STR_ENV(T, F, K, D, V, H)                                         \
    {                                                                          \
        K, CONF_TYPE_STR, offsetof(T, F), D, 0, 0, V, H                        \
    }
#define CONF_LIST(T, F, K, D, H)                                               \
    {                                                                          \
        K, CONF_TYPE_LIST, offsetof(T, F), D, 0, 0, NULL, H                    \
    }
#define CONF_BOOL(T, F, K, D, H)                                               \
    {                                                                          \
        K, CONF_TYPE_BOOL, offsetof(T, F), D, 0, 1, NULL, H                    \
    }
#define CONF_INT(T, F, K, D, LO, HI, H)                                        \
    {                                                                          \
        K, CONF_TYPE_INT, offsetof(T, F), D, LO, HI, NULL, H                   \
    }
#define CONF_MS(T, F, K, D, LO, HI, H)                                         \
    {                                                                          \
        K, CONF_TYPE_MS, offsetof(T, F), D, LO, HI, NULL, H                    \
    }
#define CONF_BYTES(T, F, K, D, LO, HI, H)                                      \
    {                                                                          \
        K, CONF_TYPE_BYTES, offsetof(T, F), D, LO, HI, NULL, H                 \
    }
#define CONF_END                                                               \
    {                                                                          \
        NULL, CONF_TYPE_STR, 0, NULL, 0, 0, NULL, NULL                         \
    }

/* The rows of struct bus_conf as member F of struct T. */
#define CONF_BUS(T, F)                                                         \
    CONF_STR_ENV(T, F.url, "bus.url", "nats://127.0.0.1:4222", "NATS_URL",     \
                 "address of the broker"),                                     \
        CONF_STR(T, F.token_file, "bus.token_file", "",                        \
                 "file whose first line is the broker's token"),               \
        CONF_STR_ENV(T, F.creds_file, "bus.creds_file", "", "NATS_CREDS",      \
                     "credentials file (JWT and seed)"),                       \
        CONF_STR(T, F.nkey_file, "bus.nkey_file", "", "NKey seed file"),       \
        CONF_STR(T, F.ca_file, "bus.ca_file", "",                              \
                 "certificates of authorities to trust"),                      \
        CONF_STR(T, F.cert_file, "bus.cert_file", "",                          \
                 "certificate of this program, for TLS"),                      \
        CONF_STR(T, F.key_file, "bus.key_file", "",                            \
                 "private key of cert_file"),                                  \
        CONF_STR(                                                              \
            T, F.inbox, "bus.inbox", "",                                       \
            "answers come to _INBOX.<this>.>; empty: the program's role"),     \
        CONF_BOOL(T, F.confirm, "bus.confirm", "false",                        \
                  "wait until an fsync server has confirmed what is stored")

/*
 * Fills *out, a zeroed struct. argv may hold --config FILE, --KEY VALUE or
 * --KEY=VALUE, --help and --version: the last two print to stdout and exit 0.
 * about is the help's first line. argc 0 reads no flags. On -1 *out may be
 * partly filled: conf_free it either way.
 */
int conf_load(void *out, const struct conf_opt *opts, const char *about,
              int argc, char **argv, struct err *e);
void conf_free(void *out, const struct conf_opt *opts);

/* Sets one value by key, for flags a program reads itself. where names the
 * origin in errors ("--slots"). */
int conf_set(void *out, const struct conf_opt *opts, const char *key,
             const char *value, const char *where, struct err *e);

#endif
