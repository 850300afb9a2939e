/*
 * conf_private - shared by the two files of conf:
 *
 *   conf.c        files, environment, flags, help
 *   conf_value.c  the rows of a table, values as text, "did you mean"
 */
#ifndef LIB_BASE_CONF_PRIVATE_H
#define LIB_BASE_CONF_PRIVATE_H

#include "lib/base/conf.h"

enum {
    CONF_NAME_SIZE = 128, /* of a key, a variable or a flag */
    CONF_SECTIONS = 14,
};

/* The sections of every program. A program skips those it has no rows in, so
 * that one file serves a whole fleet, but a misspelt section is an error. */
extern const char *const conf_sections[CONF_SECTIONS];

/* Reads the text of one file into *out; path names it in errors. */
int conf_load_text(void *out, const struct conf_opt *opts, const char *path,
                   const void *text, size_t len, struct err *e);

/* The row of a key, NULL if the table has none. */
const struct conf_opt *conf_find_opt(const struct conf_opt *opts,
                                     const char *key);
/* Whether only some of the programs reading its section know the key. */
bool conf_is_shared(const char *key);
/* Index of a section, -1 if there is none of that name. */
int conf_find_section(const char *name);
bool conf_has_rows_in(const struct conf_opt *opts, const char *section);

/* SHUNT_<SECTION>_<KEY>, --<section>-<key>. */
void conf_env_name(const char *key, char *out, size_t size);
void conf_flag_name(const char *key, char *out, size_t size);

/* Errors that name the nearest known word; all return -1. */
int conf_unknown_key(const struct conf_opt *opts, const char *where,
                     const char *key, struct err *e);
int conf_unknown_section(const char *where, const char *name, struct err *e);
int conf_unknown_flag(const struct conf_opt *opts, const char *flag,
                      struct err *e);

/* The field of a row in the struct out. */
void *conf_field(void *out, const struct conf_opt *o);
/* A NULL-terminated list of owned strings. */
void conf_free_list(char **list);
void conf_list_add(char ***list, size_t *n, const char *text, size_t len);
/* Replaces the row's list; the struct takes ownership of list. */
void conf_put_list(void *out, const struct conf_opt *o, char **list);
/* Reads text as the row's type and checks its range. */
int conf_put_text(void *out, const struct conf_opt *o, const char *text,
                  const char *where, struct err *e);

/* Reads the words for a bool. */
bool conf_parse_bool(const char *text, bool *out);
/* Describes values of the type, for errors. */
const char *conf_type_words(enum conf_type type);

#endif
