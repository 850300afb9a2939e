/*
 * platform_api - the words of an AI job platform: requests as JSON, answers as
 * values (seed 3; the default words are the contract of docs/secutools.md).
 *
 * Every path, field and status word can be another in the configuration. What
 * the platform sends is untrusted: sizes are capped, unknown members skipped,
 * nonsense is an error and no crash. Pure: no clock, no I/O.
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
    PLATFORM_API_ID_MAX = 200,          /* of a job, as the platform names it */
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
    char *callback_url;    /* base of the one a job has; "": none */
    char **request_fields; /* "ours=theirs"; nothing after =: left out */
    char **fields;         /* "ours=theirs", a dotted path into the object */
    char **status_words;   /* "theirs=queued|running|succeeded|failed|..." */
};

enum job_status {
    JOB_QUEUED,
    JOB_RUNNING, /* also any word that is not known */
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
};

/* A job as the platform sees it; strings in the pool, "" if absent. */
struct job_view {
    const char *id, *word; /* word: its status, as it came */
    enum job_status status;
    const char *provider, *model;
    const char *cost_usd; /* exact decimal, "" if none or not in dollars */
    bool cost_estimated;
    int64_t queue_ms, run_ms;            /* -1: not said */
    int64_t input_tokens, output_tokens; /* -1 likewise */
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
 * The key under which an attempt's job is known: the same for every try to
 * hand over the same work, also after a crash, another after a failure that
 * counts as an attempt. SHUNT's task ids are tokens, so it is printable.
 */
void platform_api_key(const char *task, uint32_t failed,
                      char out[PLATFORM_API_KEY_SIZE]);

/* The body of the submission. It follows from the task, its key and the
 * configuration alone: the same key with another body is a conflict. */
void platform_api_request(const struct platform_api *c, const struct task *t,
                          const char *provider, const char *key,
                          struct str *out);

/* ERR_INVALID: no JSON object, no id, no status. */
int platform_api_read_job(const struct platform_api *c, const char *body,
                          size_t len, struct mem_pool *pool,
                          struct job_view *out, struct err *e);

/* The text of a result: its output, as text; a structured one as JSON. */
int platform_api_read_result(const struct platform_api *c, const char *body,
                             size_t len, struct mem_pool *pool,
                             struct bytes *out, struct err *e);

/* What an answer that is no success says, as one line: "budget exhausted
 * (code budget_exceeded)"; "HTTP 502" if it says nothing. Never fails. */
const char *platform_api_read_error(int status, const char *body, size_t len,
                                    struct mem_pool *pool);

#endif
