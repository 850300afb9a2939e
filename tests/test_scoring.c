#include "tests/decide_fixture.h"

/* --- examples of the cloud routing rules --------------------------------- */

struct golden {
    const char *command;
    int32_t score;
    const char *signals, *backend, *rule;
};

/*
 * All seven, the CEO's in a_ceo_task_is_local_without_a_score. In two places
 * the examples do not follow from the signal table. The examples are what the
 * reader of the rules sees, so they win and the table is read to fit:
 *
 * - `uv run pytest` scores 2 "pytest(+1), uv(+1)", but the table lists only
 *   `uv sync`. Read: the row means uv as a tool that builds an environment,
 *   and `uv run` does so too; `uv` alone (`uv pip list`) would count what
 *   neither names.
 * - `local: npm run build` scores -8 "local prefix(-10), build(+2)", although
 *   `npm run build` without a prefix scores 3 "build(+2), npm(+1)". Read:
 *   beside a prefix, which decides anyway, rows of one point are left out
 *   (prefix_hides_below in the policy). Place and rule are the same with
 *   either reading.
 */
static const struct golden golden[] = {
    {"cd lros/backend && uv run pytest", 2, "pytest(1) uv run(1)", "codespace",
     "score"},
    {"npm run build", 3, "build(2) npm run(1)", "codespace", "score"},
    {"git status", 0, "", "local", "score-too-low"},
    {"python train.py --epochs 100", 2, "train(2)", "codespace", "score"},
    {"cloud: ruff check .", 3, "cloud:(3)", "codespace", "prefix-cloud"},
    {"local: npm run build", -8, "local:(-10) build(2)", "local",
     "prefix-local"},
};

/* --- every word of the table of points ----------------------------------- */

static const struct golden table[] = {
    {"make build", 2, "build(2)", "codespace", "score"},
    {"npm install", 2, "install(2)", "codespace", "score"},
    {"rake compile", 2, "compile(2)", "codespace", "score"},
    {"rake train", 2, "train(2)", "codespace", "score"},
    {"rake backfill", 2, "backfill(2)", "codespace", "score"},
    {"rake migrate", 2, "migrate(2)", "codespace", "score"},
    {"rake scrape", 2, "scrape(2)", "codespace", "score"},
    {"pytest", 1, "pytest(1)", "local", "score-too-low"},
    {"make test", 1, "test(1)", "local", "score-too-low"},
    {"npx vitest", 1, "vitest(1)", "local", "score-too-low"},
    {"npx jest", 1, "jest(1)", "local", "score-too-low"},
    {"docker ps", 1, "docker(1)", "local", "score-too-low"},
    {"npm run lint", 1, "npm run(1)", "local", "score-too-low"},
    {"uv sync", 1, "uv sync(1)", "local", "score-too-low"},
    {"make watch", 2, "watch(2)", "codespace", "score"},
    {"yarn dev", 2, "dev(2)", "codespace", "score"},
    {"hugo serve", 2, "serve(2)", "codespace", "score"},
    {"cloud: true", 3, "cloud:(3)", "codespace", "prefix-cloud"},
    {"local: true", -10, "local:(-10)", "local", "prefix-local"},
};

/* --- words of the command, not substrings -------------------------------- */

static const struct golden words[] = {
    {"npm run dev", 3, "npm run(1) dev(2)", "codespace", "score"},
    {"uv sync", 1, "uv sync(1)", "local", "score-too-low"},
    {"uv run x.py", 1, "uv run(1)", "local", "score-too-low"},
    {"uv pip list", 0, "", "local", "score-too-low"},
    {"npm ci && run x", 0, "", "local", "score-too-low"}, /* not npm run */
    {"npm; run x", 0, "", "local", "score-too-low"},
    {"observer devices unserved watchtower", 0, "", "local", "score-too-low"},
    {"restrain --untested pretest testing", 0, "", "local", "score-too-low"},
    {"./reinstall.sh dockerize", 0, "", "local", "score-too-low"},
    {"pull latest", 0, "", "local", "score-too-low"},
    {"true > /dev/null", 0, "", "local", "score-too-low"},
    {"true >/dev/null 2>&1", 0, "", "local", "score-too-low"},
    {"run contest", 0, "", "local", "score-too-low"},
    {"rebuild", 0, "", "local", "score-too-low"},
    {"show server.log", 0, "", "local", "score-too-low"},
    {"less build.log", 0, "", "local", "score-too-low"},
    {"fmt build.md", 0, "", "local", "score-too-low"},
    {"python scripts/train_model.py", 2, "train(2)", "codespace", "score"},
    {"./build.sh", 2, "build(2)", "codespace", "score"},
    {"docker-compose up", 1, "docker(1)", "local", "score-too-low"},
    {"npm --silent run build:prod", 3, "build(2) npm run(1)", "codespace",
     "score"},
    {"npm test", 1, "test(1)", "local", "score-too-low"},
    {"cargo build --no-test", 2, "build(2)", "codespace", "score"},
    {"jest --watch", 3, "jest(1) watch(2)", "codespace", "score"},
    {"NODE_ENV=test npm start", 0, "", "local", "score-too-low"},
    {"make -C build/ clean", 0, "", "local", "score-too-low"},
    {"find /dev -name x", 0, "", "local", "score-too-low"},
    {"curl https://example.org/build", 0, "", "local", "score-too-low"},
    {"MAKE BUILD", 2, "build(2)", "codespace", "score"},
    {"bash -c 'npm run build'", 3, "build(2) npm run(1)", "codespace", "score"},
    {"make # then build", 0, "", "local", "score-too-low"},
    {"rake compile;rake migrate", 4, "compile(2) migrate(2)", "codespace",
     "score"},
    /* arguments of programs that only look or move are names */
    {"git commit -m 'fix; build and test'", 0, "", "local", "score-too-low"},
    {"git checkout dev", 0, "", "local", "score-too-low"},
    {"git pull && make build", 2, "build(2)", "codespace", "score"},
    {"git pull\nmake build", 2, "build(2)", "codespace", "score"},
    {"cd build && ls test", 0, "", "local", "score-too-low"},
    {"echo \"it's\" build", 0, "", "local", "score-too-low"},
    {"echo $(make build)", 2, "build(2)", "codespace", "score"},
    /* a row counts once */
    {"make build install compile", 2, "build(2)", "codespace", "score"},
    {"pytest && npm test && jest", 1, "pytest(1)", "local", "score-too-low"},
    {"docker build .", 3, "build(2) docker(1)", "codespace", "score"},
    {"run scrape; serve", 4, "scrape(2) serve(2)", "codespace", "score"},
    {"", 0, "", "local", "score-too-low"},
    {"'", 0, "", "local", "score-too-low"},
    {"\\", 0, "", "local", "score-too-low"},
    /* beside a prefix only what weighs two or more */
    {"cloud: uv run pytest", 3, "cloud:(3)", "codespace", "prefix-cloud"},
    {"local:make build && backfill", -6, "local:(-10) build(2) backfill(2)",
     "local", "prefix-local"},
    {"Cloud:  ls", 3, "cloud:(3)", "codespace", "prefix-cloud"},
    {"curl cloud:8080", 0, "", "local", "score-too-low"},
};

/* --- what prints or computes heavily -------------------------------------- */

static const struct golden heavy[] = {
    {"python run_scrape.py", 2, "scrape(2)", "codespace", "score"},
    {"./model-train.sh", 2, "train(2)", "codespace", "score"},
    {"tail -f app.log", 2, "tail -f(2)", "codespace", "score"},
    {"tail -n 100 -f app.log", 2, "tail -f(2)", "codespace", "score"},
    {"tail -F app.log", 2, "tail -f(2)", "codespace", "score"},
    {"tail -fn100 app.log", 2, "tail -f(2)", "codespace", "score"},
    {"tail app.log --follow", 2, "tail --follow(2)", "codespace", "score"},
    {"kubectl logs -f x", 2, "logs -f(2)", "codespace", "score"},
    {"kubectl logs x -f", 2, "logs -f(2)", "codespace", "score"},
    {"kubectl -n prod logs deploy/x --follow", 2, "logs --follow(2)",
     "codespace", "score"},
    {"docker logs -f x", 3, "docker(1) logs -f(2)", "codespace", "score"},
    {"journalctl -u x -f", 2, "journalctl -f(2)", "codespace", "score"},
    {"python embedding.py", 2, "embedding(2)", "codespace", "score"},
    {"python run_embeddings.py", 2, "embeddings(2)", "codespace", "score"},
    {"python aggregate.py", 2, "aggregate(2)", "codespace", "score"},
    {"scraping.py", 2, "scraping(2)", "codespace", "score"},
    {"node daily-crawler.js", 2, "crawler(2)", "codespace", "score"},
    {"python vector_db.py", 2, "vector(2)", "codespace", "score"},
    {"ollama run x", 2, "ollama(2)", "codespace", "score"},
    {"python 売上集計.py", 2, "集計(2)", "codespace", "score"},
    {"python 集計.py", 2, "集計(2)", "codespace", "score"},
    /* and what only looks like it */
    {"tail -5 app.log", 0, "", "local", "score-too-low"},
    {"tail f", 0, "", "local", "score-too-low"},
    {"tail --lines=5 x; rm -f x", 0, "", "local", "score-too-low"},
    {"kubectl logs x; kubectl apply -f x", 0, "", "local", "score-too-low"},
    {"kubectl apply -f logs", 0, "", "local", "score-too-low"},
    {"git log -f", 0, "", "local", "score-too-low"},
    {"git checkout aggregate", 0, "", "local", "score-too-low"},
    {"grep -f x", 0, "", "local", "score-too-low"},
    {"hellman", 0, "", "local", "score-too-low"},
    {"cargo add embedded-hal", 0, "", "local", "score-too-low"},
    {"vim embedding.py", 0, "", "local", "score-too-low"},
    {"show embedding.log", 0, "", "local", "score-too-low"},
    {"scrapbook scrap", 0, "", "local", "score-too-low"},
};

/* Sets differ in order only by the table's; compare as sorted by the table. */
static void
check_golden(const struct golden *g)
{
    struct decide_sample *s = shell(*g->command ? g->command : "true");
    struct decision d;
    size_t total = 0;

    if (!*g->command)
        s->task.command = "";
    d = admit(s);
    if (d.score != g->score || strcmp(d.backend, g->backend) != 0 ||
        strcmp(d.rule, g->rule) != 0 || !d.scored)
        fail_msg("%s: score %d [%s] %s by %s", g->command, d.score,
                 signals_text(&d), d.backend, d.rule);
    for (size_t i = 0; i < d.n_signals; i++) {
        const char *one = mem_pool_printf(pool, "%s(%d)", d.signals[i].match,
                                          d.signals[i].points);

        if (!strstr(g->signals, one))
            fail_msg("%s: unexpected %s", g->command, one);
        total += strlen(one) + 1;
    }
    if (total != strlen(g->signals) + (total > 0))
        fail_msg("%s: [%s] instead of [%s]", g->command, signals_text(&d),
                 g->signals);
}

static void
the_examples_of_the_rules_come_out_as_they_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        check_golden(&golden[i]);
}

static void
every_word_of_the_table_has_its_points(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check_golden(&table[i]);
}

static void
keywords_match_words_and_each_row_counts_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        check_golden(&words[i]);
}

static void
b5_heavy_logs_and_heavy_processing_are_known_by_their_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++)
        check_golden(&heavy[i]);
}

static void
a_ceo_task_is_local_without_a_score(void **state)
{
    struct decide_sample *s = shell("npm run build");
    struct decision d;

    (void)state;
    s->hints.agent = "CEO";
    d = admit(s);
    assert_string_equal(d.backend, "local");
    assert_string_equal(d.rule, "affinity-local");
    assert_string_equal(d.affinity, "local");
    assert_string_equal(d.reason, "agent CEO works locally");
    assert_false(d.scored);
    assert_int_equal(d.n_lost, 1);
    assert_string_equal(d.lost[0],
                        "codespace.default by score (score 3 reaches the "
                        "threshold 2): affinity-local stands before it");
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        POOLED(the_examples_of_the_rules_come_out_as_they_say),
        POOLED(every_word_of_the_table_has_its_points),
        POOLED(keywords_match_words_and_each_row_counts_once),
        POOLED(b5_heavy_logs_and_heavy_processing_are_known_by_their_words),
        POOLED(a_ceo_task_is_local_without_a_score),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
