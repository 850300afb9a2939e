/*
 * formats_private - shared by the importers; each format has one reader.
 *
 * Any text is read as a tree whose values know their position: lib/base/yaml
 * builds it from YAML, json_tree.c from JSON.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FORMATS_FORMATS_PRIVATE_H
#define GATEWAYS_FORMATS_FORMATS_PRIVATE_H

#include "gateways/formats/formats.h"
#include "lib/base/yaml.h"

#include <jansson.h>

enum {
    FORMATS_WARNINGS_MAX = 100, /* further ones are dropped */
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
    struct err *e;        /* what to set on -1 */
    bool json;            /* a value without quotes is not text */
    const char *no_after; /* why `after` is refused; NULL: it is read */
    bool no_shell;        /* its author is not trusted with what commands do */
};

/* --- values (values.c) ---------------------------------------------------- */

/* "name:line:column: ..." as an error; returns -1. */
int formats_fail(const struct import_text *s, const struct yaml_node *at,
                 const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Adds the same as a warning. */
void formats_warn(struct import_text *s, const struct yaml_node *at,
                  const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Outside text for a message: its beginning, in whole characters. */
const char *formats_short(const struct import_text *s, const char *text);

/* "text", "a number", "a list", ... */
const char *formats_kind(const struct import_text *s,
                         const struct yaml_node *n);

/* The value itself, 'like this', or its kind. */
const char *formats_found(const struct import_text *s,
                          const struct yaml_node *n);

/* "key: expected a list, found text" as an error; returns -1. */
int formats_expected(const struct import_text *s, const struct yaml_node *at,
                     const char *key, const char *what);

/* "key: 'text' is ..." as an error at the key's value; returns -1. */
int formats_refuse(const struct import_text *s, const struct yaml_node *map,
                   const char *key, const char *text, const char *fault);

/* Whether text consists of blanks only. */
bool formats_is_blank(const char *text);

/* The value of a key, NULL if it is missing or null. */
const struct yaml_node *formats_get(const struct yaml_node *map,
                                    const char *key);

/* The text of a key, "" if it is missing. */
int formats_text(const struct import_text *s, const struct yaml_node *map,
                 const char *key, const char **out);

/* As formats_text, but required; remedy says what to write. */
int formats_need(const struct import_text *s, const struct yaml_node *map,
                 const char *key, const char *remedy, const char **out);

/* True or false; *out is unchanged if the key is missing. */
int formats_flag(const struct import_text *s, const struct yaml_node *map,
                 const char *key, bool *out);

/* A duration such as 10m. */
int formats_ms(const struct import_text *s, const struct yaml_node *map,
               const char *key, uint64_t *out);

/* A list of non-empty texts; a single text is a list of one. */
int formats_texts(const struct import_text *s, const struct yaml_node *map,
                  const char *key, const char ***out, size_t *n);

/* Keeps a value as a tag of the task; the first one of a name wins. */
void formats_tag(struct import_text *s, struct task *t, const char *key,
                 const char *value);

/* A task with empty texts, of that name. */
struct task formats_empty(const char *name);

/* Makes n tasks with empty texts and their origin set the result. */
struct task *formats_tasks(struct import_text *s, const char *format, size_t n);

/* The name of the text without folder and suffix; "" for stdin. */
const char *formats_base_name(const struct import_text *s);

/* task_check, with the position of the field that its error names. */
int formats_check(const struct import_text *s, const struct yaml_node *map,
                  const struct task *t);

/* Prepends the position of the field that e->msg begins with ("steps[2].kind:
 * ..."); returns -1. */
int formats_place(const struct import_text *s, const struct yaml_node *map);

/* The last key of such a path that exists. */
const struct yaml_node *formats_key_at(const struct yaml_node *map,
                                       const char *path);

/* Makes the tasks a batch of that name and numbers them. */
void formats_batch(struct import_text *s, const char *name);

/* Task i of the result comes after task j. */
void formats_after(struct import_text *s, size_t i, size_t j);

/* --- controls (controls.c) ------------------------------------------------ */

/*
 * Reads the keys of map that are not in known, which ends with NULL: controls
 * of a task (timeout, retries, env, ...) into t, wherever the format does not
 * read them itself. Keys that look like controls and are none are refused, and
 * so is what says that it is not to be done. Others are warned of, and those
 * with short values become tags. t NULL: a map that is no task, without
 * controls and tags.
 *
 * To be called after the format has read its own keys.
 */
int formats_keys(struct import_text *s, const struct yaml_node *map,
                 const char *const *known, struct task *t);

/* The same for one key. */
int formats_key(struct import_text *s, const struct yaml_node *map,
                const struct yaml_node *v, const char *const *known,
                struct task *t);

/* Gives t the controls of its batch that it does not set itself. */
void formats_inherit(const struct task *from, struct task *t);

/* A whole number; *out is unchanged if the key is missing. */
int formats_number(const struct import_text *s, const struct yaml_node *map,
                   const char *key, int64_t least, int64_t most, int64_t *out);

/* --- prompts (prompt.c) --------------------------------------------------- */

/* Refuses what is no prompt: an unfilled template, a form without answers, a
 * list of tasks. at: where it stands; NULL: it is a part of s->text. */
int formats_prompt(const struct import_text *s, const struct yaml_node *at,
                   const char *text, size_t len);

/* Refuses keys by which another system's files are known. */
int formats_foreign(const struct import_text *s, const struct yaml_node *map);
/* The same for the whole text, if it is YAML. */
int formats_foreign_text(const struct import_text *s);

/* --- JSON (json_tree.c) --------------------------------------------------- */

/* The tree of a text that jansson has parsed. */
const struct yaml_node *formats_json_tree(const struct import_text *s,
                                          const json_t *json);

/* --- steps (steps.c) ------------------------------------------------------ */

/* A list of steps, each text or a map; free: from a dictionary without a fixed
 * form, where run, command, cmd and script mean shell. */
int formats_steps(struct import_text *s, const struct yaml_node *list,
                  bool free, struct task *t);

/* A list of shell commands, or one, named by number. */
int formats_commands(struct import_text *s, const struct yaml_node *list,
                     const char *key, struct task *t);

/* --- kubectl (kubectl.c) -------------------------------------------------- */

/*
 * Splits text into words as a shell would: quotes are read, and everything that
 * would make a shell do more is refused. A first word "kubectl" is dropped.
 */
int kubectl_words(const struct import_text *s, const struct yaml_node *at,
                  const char *text, const char ***out, size_t *n);

/* Drops a first word "kubectl". */
void kubectl_drop_name(const char ***argv, size_t *n);

/* Whether the arguments of kubectl only read; otherwise -1 and the reason. */
int kubectl_only_reads(const struct import_text *s, const struct yaml_node *at,
                       const char *const *argv, size_t n);

/* --- blocks of a document (blocks.c) -------------------------------------- */

struct block {
    const char *text;
    size_t len, line; /* line: of its first line */
};

/* The briefs in a Markdown document; there may be none. A document whose only
 * briefs are in comments is an error. */
int blocks_find(struct import_text *s, struct block **out, size_t *n);

/* The column of the first key of a YAML text; 0: the first key is another. */
size_t blocks_first_key(const char *text, size_t len, const char *key);

/* --- the formats ---------------------------------------------------------- */

int formats_read_task_json(struct import_text *s, const json_t *json,
                           const struct yaml_node *root);
int formats_read_job_json(struct import_text *s, const struct yaml_node *root);
int formats_read_cloud_queue(struct import_text *s,
                             const struct yaml_node *root);
int formats_read_inbox(struct import_text *s, const struct yaml_node *root);
int formats_read_contract(struct import_text *s, const struct yaml_node *root);
int formats_read_briefs(struct import_text *s, const struct block *blocks,
                        size_t n);
int formats_read_rally(struct import_text *s);
/* meta: the front matter; NULL: none. */
int formats_read_markdown(struct import_text *s, const struct yaml_node *meta,
                          const char *body, size_t len);

#endif
