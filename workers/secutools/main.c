/*
 * worker-secutools - sends prompts to an AI platform.
 *
 * Reads    tasks.secutools.<lane>, cancels, pauses of its lanes
 * Writes   claims, results.secutools.*, logs.<task>, hb.secutools.*, pauses
 * Config   the worker and secutools sections of config.yaml; the platform's
 *          key is in SECUTOOLS_API_KEY, or the file secutools.key_file names
 * Signals  TERM and INT stop intake and hand running tasks back: the
 *          jobs continue, and the next worker resumes them
 * Exit     0 asked to stop, 1 could not start or lost the bus, 78 no key
 */
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/os/os.h"
#include "lib/os/secret.h"
#include "workers/core/worker.h"
#include "workers/secutools/secutools.h"

enum { EXIT_CONFIG = 78, SLOTS = 10000 };

struct secutools_main_conf {
    struct worker_conf worker;
    struct secutools_conf secutools;
    char *key_file;
    int64_t deadline_ms; /* of a task without a timeout */
};

#define STR(F, ...) CONF_STR(struct secutools_main_conf, F, __VA_ARGS__)
#define INT(F, ...) CONF_INT(struct secutools_main_conf, F, __VA_ARGS__)
#define MS(F, ...) CONF_MS(struct secutools_main_conf, F, __VA_ARGS__)
#define LIST(F, ...) CONF_LIST(struct secutools_main_conf, F, __VA_ARGS__)

static const struct conf_opt options[] = {
    WORKER_CONF(struct secutools_main_conf, worker),
    LIST(worker.lanes, "worker.lanes", "auto,gpu,gemini,claude-api",
         "providers to take tasks for"),
    STR(secutools.api.url, "secutools.url", "",
        "address of the platform, https://..."),
    STR(key_file, "secutools.key_file", "",
        "file with the platform's key, unless SECUTOOLS_API_KEY is set"),
    STR(secutools.api.submit_path, "secutools.submit_path", "/v1/jobs",
        "path to submit a job, with POST"),
    STR(secutools.api.job_path, "secutools.job_path", "/v1/jobs/{id}",
        "path to read a job, with GET"),
    STR(secutools.api.result_path, "secutools.result_path",
        "/v1/jobs/{id}/result", "path to read a job's result, with GET"),
    STR(secutools.api.cancel_path, "secutools.cancel_path",
        "/v1/jobs/{id}/cancel", "path to cancel a job, with POST"),
    STR(secutools.api.key_header, "secutools.idempotency_header",
        "Idempotency-Key",
        "header that makes a repeated submission the same job"),
    STR(secutools.api.request_header, "secutools.request_header",
        "X-Request-Id", "header that names the request; empty for none"),
    STR(secutools.api.auth_header, "secutools.auth_header", "Authorization",
        "header of the key; Authorization has it as a bearer token"),
    STR(secutools.api.wait_parameter, "secutools.wait_parameter", "wait",
        "parameter of a long poll, in seconds"),
    STR(secutools.callback_listen, "secutools.callback_listen", "",
        "ADDRESS:PORT to receive callbacks on; empty: none"),
    STR(secutools.api.callback_url, "secutools.callback_url", "",
        "address at which the platform reaches callback_listen"),
    LIST(secutools.api.request_fields, "secutools.request_fields", "",
         "submission fields the platform names differently, ours=theirs"),
    LIST(secutools.api.fields, "secutools.fields", "",
         "answer fields the platform names differently, ours=theirs"),
    LIST(secutools.api.status_words, "secutools.status_words", "",
         "additional status words, as theirs=succeeded"),
    STR(secutools.ca_file, "secutools.ca_file", "",
        "certificates to trust instead of the system's"),
    INT(secutools.max_connections, "secutools.max_connections", "32", 1, 1000,
        "largest number of connections to the platform"),
    MS(secutools.connect_timeout_ms, "secutools.connect_timeout", "10s", 100,
       600000, "time limit to open a connection"),
    MS(secutools.request_timeout_ms, "secutools.request_timeout", "60s", 100,
       3600000, "time limit of one request"),
    INT(secutools.breaker.rate, "secutools.rate", "0", 0, 1000000,
        "requests per second, all jobs together; 0: no limit"),
    INT(secutools.breaker.burst, "secutools.burst", "10", 1, 1000000,
        "requests allowed at once beyond the rate"),
    INT(secutools.breaker.open_after, "secutools.open_after", "5", 1, 1000,
        "failures in a row after which requests stop"),
    MS(secutools.breaker.open_ms, "secutools.open_for", "5s", 10, 3600000,
       "how long requests stop at first; doubles each time"),
    MS(secutools.breaker.open_most_ms, "secutools.open_at_most", "2m", 10,
       3600000, "how long requests stop at most"),
    MS(secutools.poll_first_ms, "secutools.poll_first", "1s", 1, 600000,
       "time before the first poll of a job; grows by half"),
    MS(secutools.poll_most_ms, "secutools.poll_at_most", "30s", 1, 3600000,
       "longest time between two polls"),
    MS(secutools.long_poll_ms, "secutools.long_poll", "0", 0, 300000,
       "how long the platform may hold a poll's answer; 0: not"),
    MS(secutools.lost_after_ms, "secutools.lost_after", "30s", 0, 86400000,
       "time of \"not found\" after which a job is lost"),
    MS(deadline_ms, "secutools.deadline", "2h", 1000, 2592000000,
       "time limit of tasks without a timeout"),
    MS(secutools.budget_pause_ms, "secutools.budget_pause", "1h", 1000,
       86400000, "how long a lane is paused after HTTP 402"),
    STR(secutools.max_cost_per_day, "secutools.max_cost_per_day", "",
        "US dollars the platform may cost per day; empty: no limit"),
    CONF_END,
};

static const char about[] =
    "shunt-worker-secutools - sends prompts to an AI platform";

/* The caller owns the result; NULL: delegation is off. */
static char *
take_key(const struct secutools_main_conf *conf, struct err *e)
{
    char *key = secret_take("SECUTOOLS_API_KEY");

    if (key)
        return key;
    if (*conf->key_file)
        return secret_read(conf->key_file, NULL, "secutools key", e);
    err_set(e, ERR_DENIED,
            "delegation is off: SECUTOOLS_API_KEY is not set, nor "
            "secutools.key_file");
    return NULL;
}

/* Unlike tasks on this machine, a job costs this process almost nothing,
 * continues without it, and must end some day. */
static void
set_defaults(struct secutools_main_conf *conf)
{
    if (conf->worker.slots == 0)
        conf->worker.slots = SLOTS;
    if (conf->worker.timeout_ms == 0)
        conf->worker.timeout_ms = conf->deadline_ms;
    conf->worker.drain_timeout_ms = 0;
}

int
main(int argc, char **argv)
{
    struct secutools_main_conf conf = {0};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct state_dir *state = NULL;
    struct secutools *secutools = NULL;
    struct worker *worker = NULL;
    char *key = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("worker-secutools");
    os_hide_memory(); /* the key is in our memory */
    if (conf_load(&conf, options, about, argc, argv, &e) < 0) {
        log_error("worker.start", "error=\"%s\"", e.msg);
    } else if (set_defaults(&conf), !(key = take_key(&conf, &e))) {
        log_error("worker.start", "error=\"%s\"", e.msg);
        rc = EXIT_CONFIG;
    } else if (state_dir_open(&state, conf.worker.name, conf.worker.state_dir,
                              &e) < 0 ||
               loop_open(&loop, &e) < 0 ||
               bus_open(&bus, loop, &conf.worker.bus, "worker-secutools",
                        conf.worker.connect_timeout_ms, &e) < 0 ||
               secutools_open(&secutools, bus, loop, &conf.secutools, key,
                              state_dir_name(state), &e) < 0 ||
               worker_open(&worker, bus, loop, &conf.worker, state,
                           &secutools_executor, secutools, &e) < 0) {
        log_error("worker.start", "error=\"%s\"", e.msg);
    } else {
        loop_on_term(loop, worker_drain, worker);
        mem_trim();
        rc = loop_run(loop); /* until drained, or until the bus gives up */
    }

    secret_free(key);
    worker_close(worker);
    secutools_close(secutools);
    bus_close(bus);
    loop_close(loop); /* runs the last close callbacks */
    state_dir_close(state);
    conf_free(&conf, options);
    return rc;
}
