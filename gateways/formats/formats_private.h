/*
 * formats_private - what the importers share; each has one reader.
 *
 * Whatever the text was, it is read as a tree whose values know their place:
 * lib/base/yaml makes one of YAML, json_tree.c one of JSON.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FORMATS_FORMATS_PRIVATE_H
#define GATEWAYS_FORMATS_FORMATS_PRIVATE_H

#include "gateways/formats/formats.h"
#include "lib/base/yaml.h"

#include <jansson.h>

enum {
    FORMATS_WARNINGS_MAX = 100, /* more would only repeat themselves */
    FORMATS_TAGS_MAX = 64,      /* unknown keys kept with a task */
    FORMATS_TAG_BYTES = 256,    /* longer values are not kept */
};

/* One text being read. */
struct import_text {
    const char *name; /* in errors: a path or "-" */
    const char *text;
    size_t len;
    struct mem_pool *pool;
    struct import *out;
    bool json; /* there a value without quotes is no text */
};

/* --- values (values.c) ---------------------------------------------------- */

/* "name:line:column: ..." as an error; returns -1. */
int formats_fail(const struct import_text *s, const struct yaml_node *at,
                 struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds the same as a warning. */
void formats_warn(struct import_text *s, const struct yaml_node *at,
                  const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Text from outside for a message: its beginning, whole characters. */
const char *formats_short(const struct import_text *s, const char *text);

/* "text", "a number", "a list", ... */
const char *formats_kind(const struct import_text *s,
                         const struct yaml_node *n);

/* The value of a key, NULL if it is missing or null. */
const struct yaml_node *formats_get(const struct yaml_node *map,
                                    const char *key);

/* The text of a key, "" if it is missing. */
int formats_text(const struct import_text *s, const struct yaml_node *map,
                 const char *key, const char **out, struct err *e);

/* As formats_text, but it must be there; remedy says what to write. */
int formats_need(const struct import_text *s, const struct yaml_node *map,
                 const char *key, const char *remedy, const char **out,
                 struct err *e);

/* True or false; *out stays as it is if the key is missing. */
int formats_flag(const struct import_text *s, const struct yaml_node *map,
                 const char *key, bool *out, struct err *e);

/* A duration such as 10m. */
int formats_ms(const struct import_text *s, const struct yaml_node *map,
               const char *key, uint64_t *out, struct err *e);

/* A list of texts that are not empty; one text is a list of one. */
int formats_texts(const struct import_text *s, const struct yaml_node *map,
                  const char *key, const char ***out, size_t *n, struct err *e);

/* Warns of keys that are not in known, which ends with NULL, and keeps short
 * ones as tags of t (NULL: of nobody). */
void formats_unknown(struct import_text *s, const struct yaml_node *map,
                     const char *const *known, struct task *t);

/* Keeps a value with the task; the first of a name stays. */
void formats_tag(struct import_text *s, struct task *t, const char *key,
                 const char *value);

/* n tasks with all texts "" and their origin set, as the result. */
struct task *formats_tasks(struct import_text *s, const char *format, size_t n);

/* The name of the text without folder and ending; "" for stdin. */
const char *formats_base_name(const struct import_text *s);

/* task_check, with the place of what it names in map. */
int formats_check(const struct import_text *s, const struct yaml_node *map,
                  const struct task *t, struct err *e);

/* Puts the place of the field that e->msg begins with ("steps[2].kind: ...")
 * in front of it; returns -1. */
int formats_place(const struct import_text *s, const struct yaml_node *map,
                  struct err *e);

/* The key that such a path ends with, as far as it is there. */
const struct yaml_node *formats_key_at(const struct yaml_node *map,
                                       const char *path);

/* Makes the tasks a batch of that name, each numbered. */
void formats_batch(struct import_text *s, const char *name);

/* Task i of the result comes after task j. */
void formats_after(struct import_text *s, size_t i, size_t j);

/* --- JSON (json_tree.c) --------------------------------------------------- */

/* The tree of a text that jansson has read. */
const struct yaml_node *formats_json_tree(const struct import_text *s,
                                          const json_t *json);

/* --- steps (steps.c) ------------------------------------------------------ */

/* A list of steps, each text or a map; free: from a dictionary without rules,
 * where run, command, cmd and script mean shell. */
int formats_steps(struct import_text *s, const struct yaml_node *list,
                  bool free, struct task *t, struct err *e);

/* A list of shell commands, or one, named by their numbers. */
int formats_commands(struct import_text *s, const struct yaml_node *list,
                     const char *key, struct task *t, struct err *e);

/* --- kubectl (kubectl.c) -------------------------------------------------- */

/*
 * Words as a shell would split them, if it had nothing else to do: quotes are
 * read, everything that would make a shell do more is refused. A first word
 * "kubectl" is dropped.
 */
int kubectl_words(const struct import_text *s, const struct yaml_node *at,
                  const char *text, const char ***out, size_t *n,
                  struct err *e);

/* Drops a first word "kubectl". */
void kubectl_drop_name(const char ***argv, size_t *n);

/* Whether the arguments of kubectl only read; -1 and why if they may not. */
int kubectl_only_reads(const struct import_text *s, const struct yaml_node *at,
                       const char *const *argv, size_t n, struct err *e);

/* --- blocks of a document (blocks.c) -------------------------------------- */

struct block {
    const char *text;
    size_t len, line; /* line: of its first line */
};

/* The briefs in a Markdown document; none is no error. */
int blocks_find(const struct import_text *s, struct block **out, size_t *n,
                struct err *e);

/* The column of the first key of a YAML text; 0: it is not that one. */
size_t blocks_first_key(const char *text, size_t len, const char *key);

/* --- the formats ---------------------------------------------------------- */

int formats_read_task_json(struct import_text *s, const json_t *json,
                           const struct yaml_node *root, struct err *e);
int formats_read_job_json(struct import_text *s, const struct yaml_node *root,
                          struct err *e);
int formats_read_cloud_queue(struct import_text *s,
                             const struct yaml_node *root, struct err *e);
int formats_read_inbox(struct import_text *s, const struct yaml_node *root,
                       struct err *e);
int formats_read_contract(struct import_text *s, const struct yaml_node *root,
                          struct err *e);
int formats_read_briefs(struct import_text *s, const struct block *blocks,
                        size_t n, struct err *e);
int formats_read_rally(struct import_text *s, struct err *e);
/* meta: of the front matter; NULL: there is none. */
int formats_read_markdown(struct import_text *s, const struct yaml_node *meta,
                          const char *body, size_t len, struct err *e);

#endif
