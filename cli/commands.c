/*
 * The table of commands: help and shell completion are made from it too.
 */
#include "cli/commands.h"

const struct command cli_commands[] = {
    {"up", "[-d] [--fast] [--slots N] [--port P]",
     "start a fleet on this machine",
     "Runs a broker (nats-server), the router, a local worker and the ledger,\n"
     "and starts again what ends. In the foreground until ^C; with -d in the\n"
     "background. Everything lives in $SHUNT_HOME (~/.local/state/shunt).\n"
     "Unless --fast is given, what was accepted survives a power cut.",
     "  shunt up -d            start it and return once it is ready\n"
     "  shunt up --slots 8     in the foreground, eight tasks at once",
     up_opts, false, NULL, cmd_up},
    {"down", "[--timeout TIME]", "stop the fleet of this machine",
     "The worker takes nothing new and finishes what it has in hand, as long\n"
     "as its drain_timeout allows; what is left is handed back and runs after\n"
     "the next start. A second `shunt down` meanwhile kills at once.",
     "  shunt down", down_opts, false, NULL, cmd_down},
    {"status", "", "show processes, workers and counters",
     "Exit code 7 if there is no fleet to be seen.",
     "  shunt status\n"
     "  shunt status --json | jq '.processes[] | {name, pid, restarts}'",
     NULL, false, NULL, cmd_status},
    {"provision", "", "create or update streams and consumers",
     "`shunt up` does this itself; a fleet on a broker of its own needs it\n"
     "once, and again after an upgrade.",
     "  shunt provision --nats nats://broker:4222", provision_opts, false, NULL,
     cmd_provision},
    {"submit", "[FLAGS] -- COMMAND... | FILE... | -", "give work, print its id",
     "One word after -- is a shell script; several are a program and its\n"
     "arguments, run without a shell. FILE holds tasks in one of the known\n"
     "formats (see `shunt lint`), - reads one from stdin. If one file is "
     "wrong,\n"
     "nothing is submitted. Flags override what a file says. Once this exits 0 "
     "the task is safe, even if the broker is\n"
     "away: it then waits in the spool.",
     "  shunt submit -- make test\n"
     "  shunt submit --name nightly --after 02:00 -- 'make && ./report.sh'\n"
     "  shunt submit jobs/queue/job.json\n"
     "  id=$(shunt submit -- ./train.sh) && shunt wait \"$id\"",
     NULL, true, NULL, cmd_submit},
    {"run", "[FLAGS] -- COMMAND...",
     "give work, show its output, exit as it does",
     "Exit code: the command's own; 124 it ran out of time, 125 no outcome,\n"
     "126/127 it could not be started, 128+n signal n, 3 cancelled, 6 "
     "refused.\n"
     "^C cancels the task; a second ^C leaves it alone.",
     "  shunt run -- pytest -q\n"
     "  shunt run --timeout 10m --retries 2 -- 'make && make check'",
     NULL, true, NULL, cmd_run},
    {"ls", "[--state STATE] [--limit N] [--batch ID]",
     "list tasks, newest first",
     "--state takes open, done or a state's name, several by commas.",
     "  shunt ls --state open\n"
     "  shunt ls --state failed,timed_out --limit 0 --json | jq '.[].id'",
     ls_opts, false, NULL, cmd_ls},
    {"show", "ID", "show everything about a task",
     "An id may be cut short while it is unique, or be a name, or `last`.",
     "  shunt show last\n"
     "  shunt show 5kq3 --json | jq .decision",
     NULL, false, NULL, cmd_show},
    {"logs", "[-f] ID", "print what a task printed",
     "stdout's part goes to stdout, stderr's to stderr.",
     "  shunt logs last\n"
     "  shunt logs -f 5kq3",
     logs_opts, false, NULL, cmd_logs},
    {"wait", "[--timeout TIME] ID...", "wait until tasks are over",
     "ID may name a batch. Exit code 5 if one did not succeed, 8 if one was\n"
     "not over at --timeout.",
     "  shunt wait --timeout 10m $(shunt submit -- make test)", wait_opts,
     false, NULL, cmd_wait},
    {"cancel", "[--timeout TIME] ID...", "stop tasks",
     "What runs is ended, what waits never starts. ID may name a batch.",
     "  shunt cancel last", cancel_opts, false, NULL, cmd_cancel},
    {"retry", "ID...", "submit tasks again, under new ids",
     "Prints the new ids.", "  shunt retry last", NULL, false, NULL, cmd_retry},
    {"decide", "[FLAGS] -- COMMAND... | FILE | -",
     "say where a task would run, and why",
     "Judged by the policy alone and without a broker; --live adds what the\n"
     "running fleet looks like. Nothing is submitted.",
     "  shunt decide -- npm run build\n"
     "  shunt decide --agent CEO --json -- 'decide something' | jq .backend",
     decide_opts, true, NULL, cmd_decide},
    {"explain", "ID", "say why a task is where it is, and what it waits for",
     "The decision as it was made, and for a task that waits the reason.",
     "  shunt explain last\n"
     "  shunt explain 5kq3 --json | jq .waits",
     NULL, false, NULL, cmd_explain},
    {"route", "replay [--policy FILE] [--since TIME]",
     "say which past tasks a policy would have sent elsewhere",
     "Judges the tasks the ledger knows anew. The facts of their time are not\n"
     "kept: what runs here counts where it counted then, and a backend that\n"
     "was missing then is missing again. Nothing is changed.",
     "  shunt route replay --policy new.yaml --since 30d", route_opts, false,
     "replay", cmd_route},
    {"lint", "FILE... | -", "say what files would become, and what is wrong",
     "Knows by content: job.json, the JSON of a task, codex-brief (YAML or in\n"
     "a document), Markdown with front matter, cloud-queue, inbox, run\n"
     "contract, rally. Prints file, format, tasks and names; warns of keys\n"
     "nobody reads as file:line:column. Exit code 2 if one is invalid.",
     "  shunt lint jobs/queue/*.json\n"
     "  shunt lint --json rally.yaml | jq '.[].names'",
     NULL, false, NULL, cmd_lint},
    {"rally", "--each-line 'COMMAND {}' [FLAGS]",
     "one task for each line of stdin, in parallel",
     "{} becomes the line, quoted for the shell; without {} the line is\n"
     "appended. Follows the batch until all are over; exit code 5 if one did\n"
     "not succeed. ^C leaves, the tasks go on.",
     "  ls *.png | shunt rally --each-line 'optipng {}'\n"
     "  seq 1000 | shunt rally --each-line './sim --seed {}' --name sweep\n"
     "  shunt rally status last",
     rally_opts, true, "status", cmd_rally},
    {"lane", "ls | pause LANE | resume LANE",
     "list lanes, or have one take nothing for a while",
     "A lane is named BACKEND.LANE. What waits on a paused lane stays there,\n"
     "what runs goes on. A worker pauses its lane by itself when the place\n"
     "behind it refuses, for example for want of budget.",
     "  shunt lane ls\n"
     "  shunt lane pause secutools.gpu --for 2h --reason 'maintenance'\n"
     "  shunt lane resume secutools.gpu",
     lane_opts, false, "ls pause resume", cmd_lane},
    {"delegate", "submit | get | result | decide | status",
     "have an AI platform answer a prompt",
     "submit [--provider P] [--wait] FILE.md | - | -- PROMPT\n"
     "                prints the id; exit code 6 if the file says that it "
     "must\n"
     "                stay here\n"
     "get ID          its state, provider, job and cost, as JSON\n"
     "result ID       its output; exit code 5 if it did not succeed, 8 if it\n"
     "                is not over at --timeout (else at once)\n"
     "decide [--provider P] [--allow-delegation] [--needs-claude-code]\n"
     "       [FILE.md | - | -- PROMPT]\n"
     "                {provider, reason, delegated}, without a broker\n"
     "status          what is delegated now, counters and the day's cost\n"
     "Called as ccl-delegate, shunt is this command.",
     "  shunt delegate submit --provider gpu --wait -- 'Summarise: ...'\n"
     "  id=$(ccl-delegate submit task.md) && ccl-delegate result --timeout 1h "
     "\"$id\"\n"
     "  ccl-delegate decide task.md | jq -e .delegated",
     delegate_opts, false, "submit get result decide status", cmd_delegate},
    {"worker", "ls | drain NAME", "list workers, or let one take nothing new",
     "A drained worker finishes what it has in hand and ends; one of\n"
     "`shunt up` is then started afresh.",
     "  shunt worker ls\n"
     "  shunt worker drain devbox-2",
     NULL, false, "ls drain", cmd_worker},
    {"doctor", "", "check this installation and say what is wrong",
     "One line for each check: ok, warn or fail, with the remedy. Exit code 1\n"
     "if something fails.",
     "  shunt doctor", NULL, false, NULL, cmd_doctor},
    {"version", "", "print the version", NULL, "  shunt version", NULL, false,
     NULL, cmd_version},
    {"completion", "bash|zsh|fish", "print a shell completion script", NULL,
     "  source <(shunt completion bash)\n"
     "  shunt completion fish > ~/.config/fish/completions/shunt.fish",
     NULL, false, "bash zsh fish", cmd_completion},
    {"help", "[COMMAND]", "show help", NULL, "  shunt help submit", NULL, false,
     NULL, cmd_help},
    {NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL},
};
