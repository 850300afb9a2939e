/* Queue files of the cloud, inbox files and run contracts. */
#include "tests/formats_fixture.h"

/* --- cloud-queue ---------------------------------------------------------- */

static void
a_queue_file_becomes_a_prompt(void **state)
{
    struct import in;
    const struct task *t = accept_example("cloud-queue.json", &in);

    (void)state;
    assert_string_equal(in.format, "cloud-queue");
    assert_string_equal(t->name, "TRA-56");
    assert_string_equal(t->team, "trade-ideas");
    assert_string_equal(t->prompt,
                        "Backfill the prices of October\n\nAll symbols, "
                        "\xe6\x97\xa5\xe6\xac\xa1.");
    assert_int_equal(t->n_tags, 2);
    assert_string_equal(t->tags[0].key, "submitted_at");
    assert_string_equal(t->tags[1].key, "identifier");
    assert_string_equal(t->backend, "");
    expect_warnings(&in, WARNINGS("cloud-queue.json:16:21: execution_mode: a "
                                  "prompt stays with local Claude Code; only "
                                  "commands go to the cloud"));
}

#define QUEUED(data) "{\"task_id\": \"T\", \"task_data\": {" data "}"

static void
a_command_in_the_dictionary_is_run(void **state)
{
    struct import in;
    const struct task *t = accept_as(
        "-", QUEUED("\"command\": \"make\", \"title\": \"x\"") "}", &in);

    (void)state;
    assert_int_equal(t->n_steps, 1);
    assert_string_equal(t->steps[0].script, "make");
    assert_string_equal(t->prompt, "");
    t = accept_as(
        "-", QUEUED("\"script\": [\"a\", \"b\"], \"workdir\": \"~/w\"") "}",
        &in);
    assert_int_equal(t->n_steps, 2);
    assert_string_equal(t->workdir, "~/w");
    t = accept_as("-",
                  QUEUED("\"steps\": [{\"name\": \"n\", \"run\": \"a\"}, "
                         "{\"command\": \"b\"}]") "}",
                  &in);
    assert_int_equal(t->n_steps, 2);
    assert_string_equal(t->steps[0].name, "n");
    assert_int_equal(in.n_warnings, 0);
    t = accept_as("-", QUEUED("\"prompt\": \"p\", \"title\": \"x\"") "}", &in);
    assert_string_equal(t->prompt, "p");
    t = accept_as("-", QUEUED("\"description\": \"d\"") "}", &in);
    assert_string_equal(t->prompt, "d");
}

static void
execution_mode_is_a_wish_and_no_pin(void **state)
{
    struct import in;
    const struct task *t = accept_as(
        "-", QUEUED("\"command\": \"make\"") ", \"execution_mode\": \"cloud\"}",
        &in);

    (void)state;
    assert_string_equal(t->steps[0].script, "cloud: make");
    assert_string_equal(t->backend, "");
    assert_int_equal(in.n_warnings, 0);
    t = accept_as(
        "-",
        QUEUED("\"steps\": [{\"make\": [\"x\"]}]") ", "
                                                   "\"execution_mode\": "
                                                   "\"local\"}",
        &in);
    assert_string_equal(t->steps[0].argv[0], "local: make");
    t = accept_as("-",
                  QUEUED("\"command\": \"make\"") ", \"execution_mode\": "
                                                  "\"moon\", \"status\": "
                                                  "\"failed\", \"x\": 1}",
                  &in);
    assert_string_equal(t->steps[0].script, "make");
    expect_warnings(&in, WARNINGS("-:1:88: status: 'failed' is ignored; the "
                                  "folder determines what is done",
                                  "-:1:98: x: unknown key, kept as a tag",
                                  "-:1:70: execution_mode: 'moon' is unknown, "
                                  "ignored; known are cloud and local"));
}

/* --- inbox ---------------------------------------------------------------- */

static void
an_ask_runs_kubectl_without_a_shell(void **state)
{
    static const char *const want[] = {"get", "ksvc", "hello", "-n", "default"};
    struct import in;
    const struct task *t = accept_example("inbox-ask.json", &in);

    (void)state;
    assert_string_equal(in.format, "inbox");
    assert_int_equal(in.n_warnings, 0);
    assert_int_equal(t->n_steps, 1);
    assert_int_equal(t->steps[0].kind, STEP_KUBECTL);
    assert_string_equal(t->steps[0].script, "");
    assert_int_equal(t->steps[0].n_argv, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(t->steps[0].argv[i], want[i]);
    assert_string_equal(t->notes, "T3 hello KService exec canary");
    assert_string_equal(t->tags[0].key, "source");
    assert_string_equal(t->tags[0].value, "manual-t3");
    assert_false(t->hold);
}

static void
an_ask_without_actions_asks_its_note(void **state)
{
    struct import in;
    const struct task *t = accept_example("inbox-note.json", &in);

    (void)state;
    assert_int_equal(in.n_warnings, 0);
    assert_int_equal(t->n_steps, 0);
    assert_string_equal(t->prompt, "T2 E2E smoke from PR comment #716");
}

static void
an_approved_apply_checks_applies_and_shows(void **state)
{
    static const char *const want[3][6] = {
        {"apply", "--dry-run=server", "-f"}, {"apply", "-f"}, {"get", "-f"}};
    struct import in;
    const struct task *t = accept_example("inbox-apply.json", &in);

    (void)state;
    assert_int_equal(in.n_warnings, 0);
    assert_false(t->hold);
    assert_int_equal(t->n_steps, 3);
    for (size_t i = 0; i < 3; i++) {
        size_t n = t->steps[i].n_argv;

        for (size_t k = 0; want[i][k]; k++)
            assert_string_equal(t->steps[i].argv[k], want[i][k]);
        assert_string_equal(t->steps[i].argv[n - 3],
                            "infra/k8s/overlays/dev/hello-ksvc.yaml");
        assert_string_equal(t->steps[i].argv[n - 1], "default");
    }
    assert_int_equal(t->n_tags, 4);
    assert_string_equal(t->tags[3].key, "pr_number");
    assert_string_equal(t->tags[3].value, "716");
}

#define APPLY(approved, scope, path)                                           \
    "{\"kind\": \"apply\", " approved "\"scope\": \"" scope                    \
    "\",\n\"actions\": [{\"type\": \"k8s-apply\", \"path\":\n\"" path "\"}]}"
#define YES "\"approved\": true, "
#define DEV "infra/k8s/overlays/dev/"

static void
what_nobody_approved_is_held(void **state)
{
    struct import in;

    (void)state;
    assert_true(accept_as("-", APPLY("", DEV, DEV "a.yaml"), &in)->hold);
    expect_warnings(&in, WARNINGS("-:1:1: approved is not true: the task is "
                                  "held until somebody approves it"));
    assert_true(
        accept_as("-", APPLY("\"approved\": false, ", DEV, DEV "a.yaml"), &in)
            ->hold);
    assert_false(accept_as("-", APPLY(YES, "infra", DEV "a.yaml"), &in)->hold);
    assert_false(
        accept_as("-", APPLY(YES, DEV "x", DEV "x/a.yaml"), &in)->hold);
}

static void
nothing_is_applied_outside_of_scope_and_folder(void **state)
{
    (void)state;
    refuse_as("-", APPLY(YES, DEV "a", DEV "ab.yaml"),
              "-:3:1: path: '" DEV "ab.yaml' is outside of the scope that was "
              "approved, '" DEV "a'");
    refuse_as("-", APPLY(YES, "infra", "infra/k8s/overlays/prod/a.yaml"),
              "-:3:1: path: 'infra/k8s/overlays/prod/a.yaml' must not be "
              "applied from here; only what lies below " DEV " may");
    refuse_as("-", APPLY(YES, "infra", DEV "../prod/a.yaml"),
              "-:3:1: path: '" DEV "../prod/a.yaml' is not accepted; write a "
              "path below " DEV ", relative, without . and ..");
    refuse_as(
        "-", APPLY(YES, "infra", "/etc/a.yaml"),
        "-:3:1: path: '/etc/a.yaml' is not accepted; write a path below " DEV
        ", relative, without . and ..");
    refuse_as("-", APPLY(YES, "infra", "infra/k8s/overlays/dev"),
              "-:3:1: path: 'infra/k8s/overlays/dev' must not be applied from "
              "here; only what lies below " DEV " may");
    refuse_as("-", APPLY(YES, "../infra", DEV "a.yaml"),
              "-:1:46: scope: '../infra' is not accepted; write a path, "
              "relative, without . and ..");
    refuse_as("-", "{\"kind\": \"apply\", \"approved\": true, \"actions\": []}",
              "-:1:1: scope: missing; write the path that may be applied");
    refuse_as("-", "{\"kind\": \"apply\", \"approved\": \"yes\"}",
              "-:1:31: approved: expected true or false, found 'yes'");
    refuse_as("-",
              "{\"kind\": \"apply\", \"approved\": true, \"scope\": \"infra\"}",
              "-:1:1: actions: missing; write what to apply");
    refuse_as("-",
              "{\"kind\": \"ask\", \"actions\": [{\"type\": \"k8s-apply\", "
              "\"path\": \"" DEV "a.yaml\"}]}",
              "-:1:38: type: k8s-apply needs a file of kind apply");
    refuse_as("-",
              "{\"kind\": \"ask\", \"actions\": [{\"type\": \"k8s-delete\"}]}",
              "-:1:38: type: 'k8s-delete' is unknown; accepted is k8s-apply");
    refuse_as("-", "{\"kind\": \"ask\", \"actions\": [3]}",
              "-:1:29: actions: an action has cmd, or type and path");
    refuse_as("-", "{\"kind\": \"ask\"}",
              "-:1:1: actions: missing, and note as well; write one of them");
    refuse_as("-", "{\"kind\": \"pray\", \"actions\": []}",
              "-:1:10: kind: 'pray' is unknown; write ask or apply");
}

static const char *const reading[] = {
    "kubectl get pods",
    " kubectl  get\\tpods ",
    "kubectl -n default get ksvc hello",
    "kubectl --namespace=default -A get pods -o wide",
    "kubectl --kubeconfig /etc/kube/config --context dev get ns",
    "kubectl --request-timeout=30s get --raw /readyz",
    "kubectl -ndefault get pods",
    "kubectl get ksvc hello -o jsonpath={.status.url}",
    ("kubectl get ksvc -o "
     "jsonpath='{.status.conditions[?(@.type==\\\"Ready\\\")].status}'"),
    "kubectl describe pod a",
    "kubectl version --client",
    "kubectl cluster-info",
    "kubectl api-resources",
    "kubectl explain pods",
    "kubectl top pods",
    "kubectl logs -f deploy/a --tail=10",
    "kubectl wait --for=condition=Ready ksvc/hello -n default --timeout=60s",
    "kubectl diff -f a.yaml",
    "kubectl auth can-i get pods",
};

static const struct {
    const char *cmd, *error;
} acting[] = {
    {"ls", "cmd: 'ls' is not accepted; only kubectl is"},
    {"kubectl", "cmd: 'kubectl' is not accepted; only kubectl is"},
    {"kubectl-x get", "cmd: 'kubectl-x get' is not accepted; only kubectl is"},
    {"kubectl -n default", "kubectl: no verb; write get, say"},
    {"kubectl get pods; ls",
     "kubectl: no shell is used, and ; is one's; write it inside '...', or a "
     "command for each entry"},
    {"kubectl get pods > x",
     "kubectl: no shell is used, and > is one's; write it inside '...', or a "
     "command for each entry"},
    {"kubectl get $X",
     "kubectl: no shell is used, and $ is one's; write it inside '...', or a "
     "command for each entry"},
    {"kubectl get ~",
     "kubectl: no shell is used, and ~ is one's; write it inside '...', or a "
     "command for each entry"},
    {"kubectl get p*",
     "kubectl: no shell is used, and * is one's; write it inside '...', or a "
     "command for each entry"},
    {"kubectl get a\\nb",
     "kubectl: more than one line; write one command in an entry"},
    {"kubectl --odd get", "kubectl: write --odd behind the verb"},
    {"kubectl get -An default",
     "kubectl: -An holds several options; write them one by one"},
    {"kubectl get --server=https://x a",
     "kubectl: --server=https://x is not accepted; set it up where the worker "
     "runs"},
    {"kubectl get a -s https://x",
     "kubectl: -s is not accepted; set it up where the worker runs"},
    {"kubectl get a --token x",
     "kubectl: --token is not accepted; set it up where the worker runs"},
    {"kubectl get a --as=root",
     "kubectl: --as=root is not accepted; set it up where the worker runs"},
    {"kubectl --kubeconfig evil get a",
     "kubectl: --kubeconfig needs an absolute path"},
    {"kubectl --kubeconfig=./evil get a",
     "kubectl: --kubeconfig=./evil needs an absolute path"},
    {"kubectl cluster-info dump --output-directory=x",
     "kubectl: --output-directory=x is not accepted; set it up where the "
     "worker runs"},
};

static const char *
ask(const char *cmd)
{
    char *text = mem_pool_alloc(pool, strlen(cmd) + 64);

    (void)snprintf(text, strlen(cmd) + 64,
                   "{\"kind\": \"ask\", \"actions\": [{\"cmd\": \"%s\"}]}",
                   cmd);
    return text;
}

static void
what_only_reads_is_let_through(void **state)
{
    static const char *const verbs[] = {
        "delete",       "apply",  "exec",          "create",  "edit",
        "patch",        "scale",  "drain",         "run",     "attach",
        "port-forward", "cp",     "proxy",         "rollout", "auth",
        "config",       "plugin", "auth reconcile"};
    struct import in;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof reading / sizeof *reading; i++)
        (void)accept_as("-", ask(reading[i]), &in);
    for (size_t i = 0; i < sizeof acting / sizeof *acting; i++)
        refuse_as("-", ask(acting[i].cmd),
                  mem_pool_printf(pool, "-:1:37: %s", acting[i].error));
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        assert_int_equal(
            read_as("-",
                    ask(mem_pool_printf(pool, "kubectl -n a %s x", verbs[i])),
                    &in, &e),
            -1);
        assert_non_null(strstr(e.msg, " is not accepted here; it may get"));
    }
}

/* --- run contracts -------------------------------------------------------- */

static void
a_contract_becomes_a_chain(void **state)
{
    struct import in;
    const struct task *t = accept_example("contract.json", &in);

    (void)state;
    assert_string_equal(in.format, "run-contract");
    assert_int_equal(in.n_tasks, 3);
    assert_true(in.linked);
    expect_warnings(&in, WARNINGS("contract.json:8:7: rollback: kept as a "
                                  "note; nothing runs it by itself"));
    for (uint32_t i = 0; i < 3; i++) {
        assert_string_equal(t[i].branch, "feature/metrics-echo");
        assert_int_equal(t[i].batch->index, i + 1);
        assert_int_equal(t[i].batch->size, 3);
        assert_string_equal(t[i].batch->name, "contract");
        assert_int_equal(t[i].n_after, i > 0);
    }
    assert_string_equal(t[0].name, "snapshot");
    assert_int_equal(t[0].n_steps, 3);
    assert_string_equal(t[0].steps[2].name, "evidence reports/ksvc.txt");
    assert_int_equal(t[0].steps[2].kind, STEP_ARGV);
    assert_string_equal(t[0].steps[2].argv[3], "reports/ksvc.txt");
    assert_string_equal(t[0].notes, "evidence: READY is True for metrics-echo\n"
                                    "rollback: rm -f reports/ksvc.txt\n");
    assert_int_equal(t[1].steps[1].kind, STEP_SHELL);
    assert_string_equal(t[1].steps[1].script, "ls -d -- reports/*.md");
    assert_string_equal(t[1].after[0], "1");
    assert_string_equal(t[2].name, "acceptance");
    assert_int_equal(t[2].n_steps, 2);
    assert_string_equal(t[2].after[0], "2");
}

static void
evidence_never_reaches_a_shell(void **state)
{
    static const char *const odd[] = {"$(rm -rf).x", "a;b.c", "a b.c", "'x.y'",
                                      "-x.y",        "../a",  "/etc/x"};
    struct import in;

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const struct task *t = accept_as(
            "-",
            mem_pool_printf(pool,
                            "{\"work_branch\": \"b\", \"acceptance\": [], "
                            "\"tasks\": [{\"id\": \"a\", \"commands\": [\"x\"],"
                            " \"evidence\": [\"%s\"]}]}",
                            odd[i]),
            &in);

        assert_int_equal(t->n_steps, 1);
        assert_non_null(strstr(t->notes, odd[i]));
    }
}

static void
linking_gives_ids_that_agree(void **state)
{
    struct import in, other;
    const struct task *t = accept_example("contract.json", &in);

    (void)state;
    formats_link(&in, NULL, pool);
    assert_false(in.linked);
    assert_int_equal(strlen(t[0].id), 16);
    assert_string_equal(t[1].after[0], t[0].id);
    assert_string_equal(t[2].after[0], t[1].id);
    assert_string_not_equal(t[0].id, t[1].id);
    assert_string_equal(t[0].batch->id, t[2].batch->id);
    assert_int_equal(strlen(t[0].batch->id), 16);

    (void)accept_as("-", "{\"script\": \"a\"}", &other);
    formats_link(&other, NULL, pool);
    assert_string_equal(other.tasks->id, "");
    assert_null(other.tasks->batch);
}

static void
mistakes_in_a_contract_name_place_and_remedy(void **state)
{
    (void)state;
    refuse_as("c", "{\"work_branch\": \"\", \"tasks\": []}",
              "c:1:17: work_branch: missing; write the branch to work on");
    refuse_as("c", "{\"work_branch\": \"b\", \"tasks\": []}",
              "c:1:31: tasks: missing; write a list of id and commands");
    refuse_as("c", "{\"work_branch\": \"b\", \"tasks\": [{}]}",
              "c:1:1: acceptance: missing; write a list of shell commands, or "
              "[] for none");
    refuse_as("c",
              "{\"work_branch\": \"b\", \"acceptance\": [], \"tasks\": [{}]}",
              "c:1:50: commands: missing; write a list of shell commands");
    refuse_as("c",
              "{\"work_branch\": \"b\", \"acceptance\": [],\n\"tasks\": "
              "[{\"commands\": [\"x\"]}]}",
              "c:2:11: id: missing; write a name");
    refuse_as("c",
              "{\"work_branch\": \"b\", \"acceptance\": [],\n\"tasks\": "
              "[{\"id\": \"a\", \"commands\": [\"x\"]},\n"
              "{\"id\": \"a\", \"commands\": [\"x\"]}]}",
              "c:3:8: id: 'a' is given twice; rename one");
    refuse_as("c",
              "{\"work_branch\": \"b\", \"acceptance\": [3],\n\"tasks\": "
              "[{\"id\": \"a\", \"commands\": [\"x\"]}]}",
              "c:1:37: acceptance[0]: expected text, found a number");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(a_queue_file_becomes_a_prompt),
        POOLED(a_command_in_the_dictionary_is_run),
        POOLED(execution_mode_is_a_wish_and_no_pin),
        POOLED(an_ask_runs_kubectl_without_a_shell),
        POOLED(an_ask_without_actions_asks_its_note),
        POOLED(an_approved_apply_checks_applies_and_shows),
        POOLED(what_nobody_approved_is_held),
        POOLED(nothing_is_applied_outside_of_scope_and_folder),
        POOLED(what_only_reads_is_let_through),
        POOLED(a_contract_becomes_a_chain),
        POOLED(evidence_never_reaches_a_shell),
        POOLED(linking_gives_ids_that_agree),
        POOLED(mistakes_in_a_contract_name_place_and_remedy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
