/*
 * A broker that was restarted may have come back with an emptied store, in
 * which nobody could go on. Once it answers again, `shunt provision` sees to
 * it that all streams are there: as a process of its own, since provisioning
 * blocks. A restart counts as dealt with when that process has succeeded.
 */
#include "fleet/broker_watch.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <unistd.h>

enum {
    PROBE_MS = 5000,
    PROBE_ANSWER_MS = 4000,
    MISSES_MAX = 3, /* probes without an answer: the broker hangs */
};

static const char broker[] = "broker";

struct broker_watch {
    struct bus *bus;
    struct proc_set *procs;
    struct daemons *daemons;
    const struct daemon_env *env;
    void (*provisioned)(void *ctx);
    void *ctx;
    struct loop_timer *timer;
    int misses;
    struct proc *provision; /* NULL: not running */
    int seen_deaths;        /* of the broker, provisioned after */
    int provision_deaths;   /* seen_deaths once provision has succeeded */
};

static void
on_provision_end(void *ctx, const struct proc_end *end)
{
    struct broker_watch *w = ctx;

    w->provision = NULL;
    if (end->signalled || end->code != 0) {
        log_warn("broker.provision", "end=\"%s %d\" text=\"tried again\"",
                 end->signalled ? "signal" : "status", end->code);
        return;
    }
    w->seen_deaths = w->provision_deaths;
    w->provisioned(w->ctx);
}

static void
provision_after_restart(struct broker_watch *w)
{
    static const char *const argv[] = {"shunt", "provision", "--quiet", NULL};
    int deaths = daemons_deaths(w->daemons, broker);
    struct proc_opts o = {.file = os_program(),
                          .argv = argv,
                          .env = (const char *const *)w->env->entries,
                          .in = -1,
                          .out = -1,
                          .err = STDERR_FILENO};
    struct err e = {0};

    if (w->provision || deaths == w->seen_deaths)
        return;
    w->provision_deaths = deaths;
    if (proc_start(w->procs, &o, on_provision_end, w, &w->provision, &e) < 0)
        log_warn("broker.provision", "error=\"%s\"", LOG_TEXT(e.msg));
}

static void
on_answer(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct broker_watch *w = ctx;

    (void)note;
    if (!e) {
        w->misses = 0;
        provision_after_restart(w);
        return;
    }
    /* While the broker is down or starting there is nothing to kill. */
    if (daemons_age_ms(w->daemons, broker) < PROBE_MS) {
        w->misses = 0;
    } else if (++w->misses >= MISSES_MAX) {
        w->misses = 0;
        log_warn("broker.hangs", "answer=none probes=%d action=restart",
                 MISSES_MAX);
        daemons_kill(w->daemons, broker);
    }
}

static void
probe(void *ctx)
{
    struct broker_watch *w = ctx;

    bus_request(w->bus, "$JS.API.INFO", "", 0, PROBE_ANSWER_MS, on_answer, w);
}

static void
on_bus_event(void *ctx, enum bus_event event, const char *text)
{
    (void)text;
    if (event == BUS_UP)
        probe(ctx);
}

struct broker_watch *
broker_watch_start(struct bus *b, struct loop *l, struct proc_set *procs,
                   struct daemons *daemons, const struct daemon_env *env,
                   void (*provisioned)(void *ctx), void *ctx)
{
    struct broker_watch *w = MEM_NEW(struct broker_watch);

    w->bus = b;
    w->procs = procs;
    w->daemons = daemons;
    w->env = env;
    w->provisioned = provisioned;
    w->ctx = ctx;
    w->seen_deaths = daemons_deaths(daemons, broker);
    bus_on_event(b, on_bus_event, w);
    w->timer = loop_timer_start(l, PROBE_MS, PROBE_MS, probe, w);
    return w;
}

void
broker_watch_stop(struct broker_watch *w)
{
    if (!w)
        return;
    loop_timer_stop(w->timer);
    bus_on_event(w->bus, NULL, NULL);
    bus_forget(w->bus, w);
    if (w->provision)
        proc_forget(w->provision);
    mem_free(w);
}
