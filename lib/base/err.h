/*
 * err - the one error type: a code for the program, a message for people.
 *
 * Whatever can fail returns 0 or -1, takes a struct err last and writes it
 * only on failure. It lives on the caller's stack; there is nothing to free.
 * An error is returned or logged, never both.
 */
#ifndef LIB_BASE_ERR_H
#define LIB_BASE_ERR_H

enum err_code {
    ERR_NONE,
    ERR_INVALID,     /* the input is invalid: a retry cannot help */
    ERR_DENIED,      /* credentials or policy: a person must act */
    ERR_UNAVAILABLE, /* a peer is down or saturated: retry later */
    ERR_TIMEOUT,     /* no reply in time: the outcome is unknown */
    ERR_CONFLICT,    /* somebody else wrote first: read again */
    ERR_NOT_FOUND,   /* what was named does not exist */
    ERR_FULL,        /* a peer has no room: a person must act, or time */
    ERR_BUG,         /* an internal invariant is violated */
};

struct err {
    enum err_code code;
    char msg[512]; /* outermost context first: "load tasks: open x: ..." */
};

/* Writes code and message; returns -1, so that callers can return it. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Prepends context to the message and keeps the code; returns -1. */
int err_wrap(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The code's name for log lines: "invalid", "denied", ... */
const char *err_code_name(enum err_code code);

#endif
