/*
 * mask - hides secrets in text: each becomes MASK_TEXT.
 *
 * A secret is known by its value, which a variable with a telling name has
 * (TOKEN, PASSWORD, API_KEY ...), or by its shape (ghp_..., AKIA..., a JWT, a
 * private key, the password in scheme://user:password@host, the value of an
 * Authorization header). Of a value its form in a URL, in JSON and in a
 * shell's trace are hidden as well, and each line of one of several lines.
 *
 * Thread: any; a set may be shared by all once nothing is added to it.
 */
#ifndef LIB_BASE_MASK_H
#define LIB_BASE_MASK_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>

#define MASK_TEXT "***"

enum {
    MASK_LEAST = 4,             /* bytes of a value that is hidden on request */
    MASK_VALUE_MAX = 16 * 1024, /* of a longer one only the start is hidden */
    MASK_VALUES_MAX = 512,      /* forms of values in one set */
};

/* Whether variables of that name hold secrets: DB_PASSWORD, githubToken. */
bool mask_is_secret_name(const char *name);

/*
 * Whether a variable holds a secret: it has a telling name and a value that is
 * neither short, nor a common word, nor a path; or the value has a secret's
 * shape.
 */
bool mask_is_secret(const char *name, const char *value);

/* A set of values to hide. */
struct mask;

struct mask *mask_new(void);
struct mask *mask_copy(const struct mask *m);
void mask_free(struct mask *m); /* NULL is fine */

/* Adds a value that is a secret because somebody said so; ignored below
 * MASK_LEAST bytes. */
void mask_add_value(struct mask *m, const char *value);

/* Adds the value if mask_is_secret; returns whether it is. */
bool mask_add_variable(struct mask *m, const char *name, const char *value);

/* The same for an entry NAME=value of an environment. */
void mask_add_entry(struct mask *m, const char *entry);

size_t mask_values(const struct mask *m); /* number of forms in the set */

/* Adds text to out with its secrets hidden; m NULL: those known by shape. */
void mask_text(const struct mask *m, const void *text, size_t len,
               struct str *out);

/* Adds a command to out as mask_text does, and hides what it assigns to
 * telling names: TOKEN=x, --password x, --api-key=x. */
void mask_command(const struct mask *m, const char *command, struct str *out);

/* Whether text has a secret; *at is where it begins. */
bool mask_find(const struct mask *m, const void *text, size_t len, size_t *at);

/*
 * Text that arrives in pieces. What may be the start of a secret is held until
 * it is clear, which takes no longer than the line; other text passes at once
 * and is not copied.
 */
typedef void mask_fn(void *ctx, const void *text, size_t len);

struct mask_stream {
    const struct mask *set;
    struct str held;
    size_t shown;          /* bytes at the front of held already passed on */
    unsigned char last[2]; /* the bytes before held */
    unsigned open;         /* the secret just hidden goes on */
};

/* m must outlive s; NULL: secrets known by shape. */
void mask_stream_init(struct mask_stream *s, const struct mask *m);
void mask_stream_add(struct mask_stream *s, const void *data, size_t len,
                     mask_fn *fn, void *ctx);
/* Passes on what is held if it is up to 3 bytes, too few to tell anything: a
 * prompt shows wholly, text of another stream may follow. The rest is hidden if
 * a secret comes of it. */
void mask_stream_yield(struct mask_stream *s, mask_fn *fn, void *ctx);
/* Passes on what is held; s is as initialized. */
void mask_stream_end(struct mask_stream *s, mask_fn *fn, void *ctx);
void mask_stream_free(struct mask_stream *s);

#endif
