#include "lib/model/subject.h"
#include "router/admission.h"
#include "tests/fuzz/fuzz.h"

static const char *const lanes_alive[] = {"codespace.default",
                                          "secutools.auto"};

static const struct routing_facts facts[] = {
    {.known = false},
    {.known = true},
    {.known = true,
     .running_local = 1,
     .codespace_configured = true,
     .local_free_bytes = 1},
    {.known = true, .running_local = 3, .lanes = lanes_alive, .n_lanes = 2},
};

/* A policy whose three ways of dealing with absent backends are all seen. */
static struct policy
policy_of(uint8_t switches)
{
    struct policy p = *policy_default();

    p.when_unavailable = (enum when_unavailable)(switches % 3);
    return p;
}

static void
good_decision(struct fuzz *f, const struct decision *d)
{
    FUZZ_NEED(*d->rule && *d->reason);
    FUZZ_NEED(d->rejected || subject_token_ok(d->backend));
    FUZZ_NEED(d->rejected || subject_token_ok(d->lane));
    fuzz_round_trip(f, CODEC_DECISION, d);
}

/* --- a message on tasks.in ------------------------------------------------ */

static void
good_route(struct fuzz *f, struct admission *a)
{
    struct routed_task routed = {.task = &a->task, .decision = &a->decision};

    FUZZ_NEED(subject_token_ok(a->id) && strcmp(a->id, a->task.id) == 0);
    FUZZ_NEED(!a->decision.rejected);
    FUZZ_NEED(task_check(&a->task, &f->e) == 0);
    good_decision(f, &a->decision);
    fuzz_round_trip(f, CODEC_ROUTED_TASK, &routed);
}

static void
good_rejection(struct fuzz *f, const struct admission *a)
{
    union fuzz_message m;
    struct str bytes = {0};

    FUZZ_NEED(*a->reason);
    if (!*a->id)
        return;
    admission_result(a, STATE_REJECTED, 1, &m.result);
    codec_encode(CODEC_RESULT, &m.result, &bytes);
    FUZZ_NEED(codec_decode(CODEC_RESULT, bytes.data, bytes.len, f->pool, &m,
                           &f->e) == 0);
    str_free(&bytes);
}

void
fuzz_admission(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    uint8_t switches = size ? *data : 0;
    struct policy policy = policy_of(switches);
    char *lanes[] = {(char *)"local.gpu", NULL};
    struct router_rules rules = {&policy, switches & 64 ? lanes : NULL};
    struct inbound in = {.data = size ? data + 1 : data,
                         .len = size ? size - 1 : 0,
                         .id = switches & 32 ? "abc-1" : "",
                         .seq = 42,
                         .delivered = switches & 128 ? 21 : 1,
                         .stored_at_ms = INT64_C(1753000000000)};
    struct admission a;

    admit(&in, &rules, &facts[switches % 4], in.stored_at_ms, f.pool, &a);
    FUZZ_NEED(!*a.id || subject_token_ok(a.id));
    FUZZ_NEED(subject_token_ok(a.source));
    switch (a.verdict) {
    case ADMIT_ROUTE:
        good_route(&f, &a);
        break;
    case ADMIT_LEAVE:
        FUZZ_NEED(*a.id);
        break;
    case ADMIT_REJECT:
        FUZZ_NEED(*a.id);
        good_rejection(&f, &a);
        break;
    case ADMIT_DEAD:
        good_rejection(&f, &a);
        break;
    }
    fuzz_end(&f);
}

/* --- a command line ------------------------------------------------------- */

static void
decide_text(struct fuzz *f, uint8_t switches, const struct policy *policy,
            const char *text, struct decision *out)
{
    const char *argv[] = {text, "x"};
    struct step step;
    struct task t;

    codec_init(CODEC_TASK, &t);
    step = (struct step){.name = "", .script = text, .workdir = ""};
    if (switches & 32) {
        step.script = "";
        step.kind = STEP_ARGV;
        step.argv = argv;
        step.n_argv = 2;
    }
    if (switches & 64) {
        t.prompt = text;
    } else {
        t.steps = &step;
        t.n_steps = 1;
        t.command = switches & 16 ? text : "";
    }
    decide(&t, &facts[switches % 4], policy, f->pool, out);
}

void
fuzz_decide(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin();
    uint8_t switches = size ? *data : 0;
    struct policy policy = policy_of(switches);
    char *text = size ? fuzz_text(&f, data + 1, size - 1) : (char *)"";
    struct decision one, two;
    json_t *a, *b;

    decide_text(&f, switches, &policy, text, &one);
    decide_text(&f, switches, &policy, text, &two);
    good_decision(&f, &one);
    a = codec_to_json(CODEC_DECISION, &one);
    b = codec_to_json(CODEC_DECISION, &two);
    FUZZ_NEED(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    fuzz_end(&f);
}

/* --- a policy ------------------------------------------------------------- */

/* Whatever a policy says, each kind of task is decided by it. */
void
fuzz_policy(const uint8_t *data, size_t size)
{
    static const char *const commands[] = {
        "cd x && uv run pytest", "local: npm run build", "cloud: make test",
        "docker build . ; yarn watch --dev"};
    struct fuzz f = fuzz_begin();
    struct policy policy;

    if (policy_parse("fuzz", (const char *)data, size, f.pool, &policy, &f.e) <
        0) {
        (void)fuzz_refused(&f);
        fuzz_end(&f);
        return;
    }
    for (uint8_t i = 0; i < 16; i++) {
        struct decision d;

        decide_text(&f, (uint8_t)(i % 4 | i % 4 << 4), &policy, commands[i / 4],
                    &d);
        good_decision(&f, &d);
    }
    fuzz_end(&f);
}
