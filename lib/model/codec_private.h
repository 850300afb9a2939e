/*
 * codec_private - the tables behind lib/model/codec, shared by its files and
 * its test.
 *
 * A table lists a message's fields in the order of the protobuf-c descriptor
 * (by field number): row i of a table and field i of its descriptor are the
 * same field. Everything the codec does is a walk over these rows.
 */
#ifndef LIB_MODEL_CODEC_PRIVATE_H
#define LIB_MODEL_CODEC_PRIVATE_H

#include "lib/model/codec.h"

#include <protobuf-c/protobuf-c.h>

enum {
    CODEC_MAX_BYTES = 1024 * 1024,      /* of a message that is not a task */
    CODEC_MAX_ELEMENTS = 40000,         /* of all lists of one message */
    CODEC_MAX_JSON_BYTES = 8388608,     /* of JSON text */
    CODEC_MAX_JSON_VALUES = 200000,     /* each takes about 100 bytes */
    CODEC_MAX_JSON_DEPTH = 64,          /* nesting of arrays and objects */
    CODEC_POOL_BYTES = 8 * 1024 * 1024, /* that decoding may take, and twice
                                           the length besides */
};

enum codec_kind {
    KIND_TEXT,  /* const char * */
    KIND_TOKEN, /* const char *, "" or what subject_token_ok accepts */
    KIND_BOOL,
    KIND_INT32,
    KIND_UINT32,
    KIND_INT64,
    KIND_UINT64,
    KIND_DOUBLE,
    KIND_ENUM,
    KIND_BYTES,   /* struct bytes */
    KIND_MESSAGE, /* a pointer, NULL if absent; many: an array */
};

/* The words of an enum by its numbers; words[0] is "". */
struct codec_words {
    const char *const *words;
    unsigned count;
};

struct codec_row {
    const char *name; /* in the .proto, in JSON and in errors */
    enum codec_kind kind;
    bool many;       /* repeated: a pointer at offset, a count at n_offset */
    bool required;   /* the message is invalid without it */
    bool repair;     /* text for people: encoding makes it valid */
    size_t offset;   /* of the field in the plain struct */
    size_t n_offset; /* of its count, if many */
    size_t most;     /* bytes of each text or bytes value */
    size_t count;    /* elements, if many */
    const struct codec_table *sub;   /* KIND_MESSAGE */
    const struct codec_words *words; /* KIND_ENUM */
};

struct codec_table {
    const char *name; /* in errors about the whole message */
    size_t size;      /* of the plain struct */
    size_t most;      /* encoded bytes, of a message sent by itself */
    const struct codec_row *rows;
    size_t n_rows;
    const ProtobufCMessageDescriptor *message;
    const char *shorthand; /* the text field that a plain JSON string sets */
    bool pairs;            /* key and value: a list of them is a JSON object */
};

const struct codec_table *codec_table(enum codec_type type);

/* The path of a field in a message, for errors, from the innermost part up. */
struct codec_path {
    const struct codec_path *up;
    const char *name; /* NULL: the message itself */
    size_t index;     /* CODEC_NO_INDEX: not in a list */
};

#define CODEC_NO_INDEX ((size_t)-1)

/* "steps[2].script"; names from outside are escaped. */
void codec_path_text(const struct codec_path *at, struct str *out);

/* Sets ERR_INVALID with the path in front of the message; returns -1. */
int codec_fail(const struct codec_path *at, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes *msg empty but valid. */
void codec_table_init(const struct codec_table *t, void *msg);

/* Checks *msg against the limits of its rows. */
int codec_table_check(const struct codec_table *t, const void *msg,
                      struct err *e);

/* Length of the leading part that is valid text. */
size_t codec_clean_length(const char *s, size_t len);

/* Size of one element of a list in plain memory. */
size_t codec_element_size(const struct codec_row *row);

/* Reads a text field, "" if the code that filled the struct left it NULL. */
const char *codec_load_text(const void *field);

/* Bytes of the protobuf form. */
size_t codec_table_encoded(const struct codec_table *t, const void *msg);

/* As codec_decode, without the checks of codec_table_check. On -1 *msg is
 * valid memory that has what was read before the error. */
int codec_table_read(const struct codec_table *t, const void *data, size_t len,
                     struct mem_pool *pool, void *msg, struct err *e);

/*
 * Reads the next element of a message that is one list and advances *at. 1:
 * *out is the element; 0: there are no more; -1: invalid.
 */
int codec_table_element(const struct codec_table *t, const uint8_t **at,
                        const uint8_t *end, struct bytes *out);

/* Whether the bytes begin with such an element. */
bool codec_table_leads(const struct codec_table *t, const void *data,
                       size_t len);

/* Adds an encoded element to a message that is one list. */
void codec_table_add(const struct codec_table *t, struct str *out,
                     const void *data, size_t len);

/* As codec_from_json, without the checks of codec_table_check. On -1 *msg is
 * valid memory that has what was read before the error. */
int codec_table_from_json(const struct codec_table *t, bool by_hand,
                          const json_t *json, struct mem_pool *pool, void *msg,
                          codec_unknown_fn *unknown, void *ctx, struct err *e);

/* Pointers and counts of fields known only by their offset. */
void *codec_load_ptr(const void *field);
void codec_store_ptr(void *field, const void *p);
size_t codec_load_count(const void *field);
void codec_store_count(void *field, size_t n);

#endif
