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
#include "lib/base/str.h"
#include "lib/os/os.h"
#include "lib/os/secret.h"
#include "workers/core/worker.h"
#include "workers/secutools/secutools.h"

#include <string.h>

enum { EXIT_CONFIG = 78, SLOTS = 10000 };

struct secutools_main_conf {
    struct worker_conf worker;
    struct secutools_conf secutools;
    char *key_file;
    int64_t deadline_ms; /* of a task without a timeout */
};

#define S(F) secutools.F

static const struct conf_opt options[] = {
    WORKER_CONF(struct secutools_main_conf, worker),
    CONF_LIST(struct secutools_main_conf, worker.lanes, "worker.lanes",
              "auto,gpu,gemini,claude-api", "providers to take tasks for"),
    CONF_STR(struct secutools_main_conf, S(api.url), "secutools.url", "",
             "address of the platform, https://..."),
    CONF_STR(struct secutools_main_conf, key_file, "secutools.key_file", "",
             "file with the platform's key, unless SECUTOOLS_API_KEY is set"),
    CONF_STR(struct secutools_main_conf, S(api.submit_path),
             "secutools.submit_path", "/v1/jobs",
             "path to submit a job, with POST"),
    CONF_STR(struct secutools_main_conf, S(api.job_path), "secutools.job_path",
             "/v1/jobs/{id}", "path to read a job, with GET"),
    CONF_STR(struct secutools_main_conf, S(api.result_path),
             "secutools.result_path", "/v1/jobs/{id}/result",
             "path to read a job's result, with GET"),
    CONF_STR(struct secutools_main_conf, S(api.cancel_path),
             "secutools.cancel_path", "/v1/jobs/{id}/cancel",
             "path to cancel a job, with POST"),
    CONF_STR(struct secutools_main_conf, S(api.key_header),
             "secutools.idempotency_header", "Idempotency-Key",
             "header that makes a repeated submission the same job"),
    CONF_STR(struct secutools_main_conf, S(api.request_header),
             "secutools.request_header", "X-Request-Id",
             "header that names the request; empty for none"),
    CONF_STR(struct secutools_main_conf, S(api.auth_header),
             "secutools.auth_header", "Authorization",
             "header of the key; Authorization has it as a bearer token"),
    CONF_STR(struct secutools_main_conf, S(api.wait_parameter),
             "secutools.wait_parameter", "wait",
             "parameter of a long poll, in seconds"),
    CONF_STR(struct secutools_main_conf, S(callback_listen),
             "secutools.callback_listen", "",
             "ADDRESS:PORT to receive callbacks on; empty: none"),
    CONF_STR(struct secutools_main_conf, S(api.callback_url),
             "secutools.callback_url", "",
             "address at which the platform reaches callback_listen"),
    CONF_LIST(struct secutools_main_conf, S(api.request_fields),
              "secutools.request_fields", "",
              "submission fields the platform names differently, ours=theirs"),
    CONF_LIST(struct secutools_main_conf, S(api.fields), "secutools.fields", "",
              "answer fields the platform names differently, ours=theirs"),
    CONF_LIST(struct secutools_main_conf, S(api.status_words),
              "secutools.status_words", "",
              "additional status words, as theirs=succeeded"),
    CONF_STR(struct secutools_main_conf, S(ca_file), "secutools.ca_file", "",
             "certificates to trust instead of the system's"),
    CONF_INT(struct secutools_main_conf, S(max_connections),
             "secutools.max_connections", "32", 1, 1000,
             "largest number of connections to the platform"),
    CONF_MS(struct secutools_main_conf, S(connect_timeout_ms),
            "secutools.connect_timeout", "10s", 100, 600000,
            "time limit to open a connection"),
    CONF_MS(struct secutools_main_conf, S(request_timeout_ms),
            "secutools.request_timeout", "60s", 100, 3600000,
            "time limit of one request"),
    CONF_INT(struct secutools_main_conf, S(breaker.rate), "secutools.rate", "0",
             0, 1000000, "requests per second, all jobs together; 0: no limit"),
    CONF_INT(struct secutools_main_conf, S(breaker.burst), "secutools.burst",
             "10", 1, 1000000, "requests allowed at once beyond the rate"),
    CONF_INT(struct secutools_main_conf, S(breaker.open_after),
             "secutools.open_after", "5", 1, 1000,
             "failures in a row after which requests stop"),
    CONF_MS(struct secutools_main_conf, S(breaker.open_ms),
            "secutools.open_for", "5s", 10, 3600000,
            "how long requests stop at first; doubles each time"),
    CONF_MS(struct secutools_main_conf, S(breaker.open_most_ms),
            "secutools.open_at_most", "2m", 10, 3600000,
            "how long requests stop at most"),
    CONF_MS(struct secutools_main_conf, S(poll_first_ms),
            "secutools.poll_first", "1s", 1, 600000,
            "time before the first poll of a job; grows by half"),
    CONF_MS(struct secutools_main_conf, S(poll_most_ms),
            "secutools.poll_at_most", "30s", 1, 3600000,
            "longest time between two polls"),
    CONF_MS(struct secutools_main_conf, S(long_poll_ms), "secutools.long_poll",
            "0", 0, 300000,
            "how long the platform may hold a poll's answer; 0: not"),
    CONF_MS(struct secutools_main_conf, S(lost_after_ms),
            "secutools.lost_after", "30s", 0, 86400000,
            "time of \"not found\" after which a job is lost"),
    CONF_MS(struct secutools_main_conf, deadline_ms, "secutools.deadline", "2h",
            1000, 2592000000, "time limit of tasks without a timeout"),
    CONF_MS(struct secutools_main_conf, S(budget_pause_ms),
            "secutools.budget_pause", "1h", 1000, 86400000,
            "how long a lane is paused after HTTP 402"),
    CONF_STR(struct secutools_main_conf, S(max_cost_per_day),
             "secutools.max_cost_per_day", "",
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
