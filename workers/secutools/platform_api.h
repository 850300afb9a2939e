/*
 * platform_api - the interface of an AI job platform: requests as JSON, answers
 * as values. The defaults are the platform's job contract in docs/secutools.md.
 *
 * Every path, field and status word is configurable. The platform's answers are
 * untrusted: sizes are limited, unknown members skipped, and invalid ones are
 * errors. Pure: no clock, no I/O.
 *
 * Thread: any.
 */
#ifndef WORKERS_SECUTOOLS_PLATFORM_API_H
#define WORKERS_SECUTOOLS_PLATFORM_API_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PLATFORM_API_ID_MAX = 200,          /* of a job at the platform */
    PLATFORM_API_KEY_SIZE = 64,         /* of an idempotency key */
    PLATFORM_API_JOB_MAX = 256 * 1024,  /* bytes of a job object */
    PLATFORM_API_RESULT_MAX = 16 << 20, /* bytes of a result */
};

/* Strings owned by the configuration. "{id}" in a path becomes the job's. */
struct platform_api_conf {
    char *url; /* base, "https://platform.example" */
    char *submit_path, *job_path, *result_path, *cancel_path;
    char *key_header;      /* of the idempotency key */
    char *request_header;  /* of the request's id; "" for none */
    char *auth_header;     /* of the token; as a bearer if Authorization */
    char *wait_parameter;  /* of a long poll, in seconds */
    char *callback_url;    /* base of each job's callback; "": none */
    char **request_fields; /* "ours=theirs"; empty after =: not sent */
    char **fields;         /* "ours=theirs", a dotted path into the object */
    char **status_words;   /* "theirs=queued|running|succeeded|failed|..." */
};

enum job_status {
    JOB_QUEUED,
    JOB_RUNNING, /* also any unknown word */
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
};

/* A job as the platform reports it; strings in the pool, "" if absent. */
struct job_view {
    const char *id, *word; /* word: its status as received */
    enum job_status status;
    const char *provider, *model;
    const char *cost_usd; /* exact decimal, "" if none or not in dollars */
    bool cost_estimated;
    int64_t queue_ms, run_ms;            /* -1: not stated */
    int64_t input_tokens, output_tokens; /* -1: not stated */
    const char *error;                   /* of a failed one */
};

struct platform_api;

/* Checks the configuration; the error names key and remedy. On 0 the caller
 * owns *out until platform_api_close. */
int platform_api_open(struct platform_api **out,
                      const struct platform_api_conf *conf, struct err *e);
void platform_api_close(struct platform_api *c); /* NULL is fine */

/* The address of a request; id is escaped and may be NULL for the first. */
enum platform_api_call { CALL_SUBMIT, CALL_JOB, CALL_RESULT, CALL_CANCEL };
void platform_api_url(const struct platform_api *c, enum platform_api_call call,
                      const char *id, struct str *out);

/*
 * The idempotency key of a job: the same for every submission of the same work,
 * even after a crash; a different one after a failed attempt. Task ids are
 * tokens, so it is printable.
 */
void platform_api_key(const char *task, uint32_t failed,
                      char out[PLATFORM_API_KEY_SIZE]);

/* The body of the submission. It depends only on the task, its key and the
 * configuration: the same key with another body would be a conflict. */
void platform_api_request(const struct platform_api *c, const struct task *t,
                          const char *provider, const char *key,
                          struct str *out);

/* ERR_INVALID: not a JSON object, or id or status missing. */
int platform_api_read_job(const struct platform_api *c, const char *body,
                          size_t len, struct mem_pool *pool,
                          struct job_view *out, struct err *e);

/* The text of a result: its output, as text; a structured one as JSON. */
int platform_api_read_result(const struct platform_api *c, const char *body,
                             size_t len, struct mem_pool *pool,
                             struct bytes *out, struct err *e);

/* The error in an answer, as one line: "budget exhausted (code
 * budget_exceeded)"; "HTTP 502" if it states none. Never fails. */
const char *platform_api_read_error(int status, const char *body, size_t len,
                                    struct mem_pool *pool);

#endif
