#include "workers/secutools/circuit_breaker.h"

#include "lib/base/backoff.h"

enum {
    PROBE_MS = 60000, /* an answer to the probe may take so long */
    US = 1000,
};

void
breaker_init(struct breaker *g, const struct breaker_conf *conf, int64_t now_ms)
{
    *g = (struct breaker){.conf = conf,
                          .opened_for = conf->open_ms,
                          .credit_us = INT64_MAX,
                          .seen_ms = now_ms};
}

/* Microseconds of credit that one request costs. */
static int64_t
price_us(const struct breaker_conf *conf)
{
    return 1000000 / conf->rate;
}

/* Credit grows with time, up to a burst. */
static int64_t
rate_wait(struct breaker *g, int64_t now_ms)
{
    int64_t price, most;

    if (g->conf->rate <= 0)
        return 0;
    price = price_us(g->conf);
    most = price * (g->conf->burst > 0 ? g->conf->burst : 1);
    if (g->credit_us > most)
        g->credit_us = most;
    if (now_ms > g->seen_ms) {
        int64_t passed = now_ms - g->seen_ms;

        g->credit_us = passed > most / US || g->credit_us + passed * US > most
                           ? most
                           : g->credit_us + passed * US;
        g->seen_ms = now_ms;
    }
    if (g->credit_us >= price)
        return 0;
    return (price - g->credit_us + US - 1) / US;
}

int64_t
breaker_take(struct breaker *g, int64_t now_ms)
{
    int64_t wait;

    if (g->parked_until > now_ms)
        return g->parked_until - now_ms;
    if (g->state == BREAKER_OPEN && g->open_until > now_ms)
        return g->open_until - now_ms;
    if (g->state == BREAKER_HALF_OPEN && g->probe_until > now_ms)
        return g->probe_until - now_ms;
    wait = rate_wait(g, now_ms);
    if (wait)
        return wait;
    if (g->conf->rate > 0)
        g->credit_us -= price_us(g->conf);
    if (g->state != BREAKER_CLOSED) {
        g->state = BREAKER_HALF_OPEN;
        g->probe_until = now_ms + PROBE_MS;
    }
    return 0;
}

void
breaker_answered(struct breaker *g)
{
    g->state = BREAKER_CLOSED;
    g->failures = 0;
    g->opened_for = g->conf->open_ms;
}

void
breaker_failed(struct breaker *g, int64_t now_ms)
{
    g->failures++;
    if (g->state == BREAKER_OPEN)
        return; /* one that was under way when it opened */
    if (g->state == BREAKER_CLOSED && g->failures < g->conf->open_after)
        return;
    g->state = BREAKER_OPEN;
    g->open_until = now_ms + g->opened_for;
    g->opened_for = backoff_next(g->opened_for, 0, g->conf->open_most_ms);
}

void
breaker_park(struct breaker *g, int64_t until_ms)
{
    if (until_ms > g->parked_until)
        g->parked_until = until_ms;
}

int64_t
breaker_backoff(int n, int64_t base_ms, int64_t cap_ms, int64_t retry_after_ms,
                double fraction)
{
    int64_t wait = backoff_jitter(
        backoff_nth(n > 0 ? (uint32_t)n : 0, base_ms, cap_ms), 0, 1, fraction);

    return wait > retry_after_ms ? wait : retry_after_ms;
}
