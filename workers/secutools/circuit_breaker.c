/*
 * Checks in this order: the requested pause, the open breaker, the probe of a
 * half-open one, and the rate, a token bucket counted in microseconds.
 */
#include "workers/secutools/circuit_breaker.h"

#include "lib/base/backoff.h"

enum {
    PROBE_MS = 60000, /* the longest time for the probe's answer */
    US = 1000,
};

void
breaker_init(struct breaker *b, const struct breaker_conf *conf, int64_t now_ms)
{
    *b = (struct breaker){.conf = conf,
                          .opened_for = conf->open_ms,
                          .credit_us = INT64_MAX,
                          .seen_ms = now_ms};
}

/* The cost of one request in microseconds of credit. */
static int64_t
price_us(const struct breaker_conf *conf)
{
    return 1000000 / conf->rate;
}

/* Credit grows with time, up to a burst. */
static int64_t
rate_wait(struct breaker *b, int64_t now_ms)
{
    int64_t price, most;

    if (b->conf->rate <= 0)
        return 0;
    price = price_us(b->conf);
    most = price * (b->conf->burst > 0 ? b->conf->burst : 1);
    if (b->credit_us > most)
        b->credit_us = most;
    if (now_ms > b->seen_ms) {
        int64_t passed = now_ms - b->seen_ms;

        b->credit_us = passed > most / US || b->credit_us + passed * US > most
                           ? most
                           : b->credit_us + passed * US;
        b->seen_ms = now_ms;
    }
    if (b->credit_us >= price)
        return 0;
    return (price - b->credit_us + US - 1) / US;
}

int64_t
breaker_acquire(struct breaker *b, int64_t now_ms)
{
    int64_t wait;

    if (b->paused_until > now_ms)
        return b->paused_until - now_ms;
    if (b->state == BREAKER_OPEN && b->open_until > now_ms)
        return b->open_until - now_ms;
    if (b->state == BREAKER_HALF_OPEN && b->probe_until > now_ms)
        return b->probe_until - now_ms;
    wait = rate_wait(b, now_ms);
    if (wait)
        return wait;
    if (b->conf->rate > 0)
        b->credit_us -= price_us(b->conf);
    if (b->state != BREAKER_CLOSED) {
        b->state = BREAKER_HALF_OPEN;
        b->probe_until = now_ms + PROBE_MS;
    }
    return 0;
}

void
breaker_answered(struct breaker *b)
{
    b->state = BREAKER_CLOSED;
    b->failures = 0;
    b->opened_for = b->conf->open_ms;
}

void
breaker_failed(struct breaker *b, int64_t now_ms)
{
    b->failures++;
    if (b->state == BREAKER_OPEN)
        return; /* a request sent before it opened */
    if (b->state == BREAKER_CLOSED && b->failures < b->conf->open_after)
        return;
    b->state = BREAKER_OPEN;
    b->open_until = now_ms + b->opened_for;
    b->opened_for = backoff_next(b->opened_for, 0, b->conf->open_most_ms);
}

void
breaker_pause(struct breaker *b, int64_t until_ms)
{
    if (until_ms > b->paused_until)
        b->paused_until = until_ms;
}

int64_t
breaker_backoff(int n, int64_t base_ms, int64_t cap_ms, int64_t retry_after_ms,
                double fraction)
{
    int64_t wait = backoff_jitter(
        backoff_nth(n > 0 ? (uint32_t)n : 0, base_ms, cap_ms), 0, 1, fraction);

    return wait > retry_after_ms ? wait : retry_after_ms;
}
