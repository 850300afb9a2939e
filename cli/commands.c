/*
 * The table of commands: dispatch, help and shell completion are made from it.
 */
#include "cli/commands.h"

const struct command cli_commands[] = {
    {"up", "[-d] [--fast] [--slots N] [--port P]",
     "start a fleet on this machine",
     "Starts a broker (nats-server), the router, a local worker and the "
     "reaper, and\n"
     "restarts any of them that ends. Runs in the foreground until ^C, or with "
     "-d in\n"
     "the background. Keeps its state in $SHUNT_HOME (default\n"
     "~/.local/state/shunt). Accepted tasks survive a power cut, except with "
     "--fast.\n"
     "Watches jobs/queue and .cloud-queue of the project it is started in. If "
     "the\n"
     "fleet runs already, those of this project are added to it until "
     "`shunt down`.",
     "  shunt up -d            start in the background; return once it is "
     "ready\n"
     "  shunt up --slots 8     run in the foreground, with eight tasks at once",
     cmd_up, .opts = up_opts},
    {"down", "[--timeout TIME]", "stop the fleet on this machine",
     "Workers take no new tasks and finish their running ones within their "
     "drain\n"
     "timeout. Tasks that are still running then are handed back, and run "
     "again\n"
     "after the next start. A second `shunt down` in the meantime kills at "
     "once.",
     "  shunt down", cmd_down, .opts = down_opts},
    {"status", "", "show processes, workers and task counts",
     "Exits with 7 if no fleet is running and no broker answers.",
     "  shunt status\n"
     "  shunt status --json | jq '.processes[] | {name, pid, restarts}'",
     .run = cmd_status},
    {"provision", "", "create or update the broker's streams and consumers",
     "Needed once for a broker of your own, and again after each upgrade. "
     "`shunt up`\n"
     "does it by itself. Each line says what was done to what, and which "
     "fields "
     "changed.\n"
     "A setting that the configuration here does not name stays as the fleet "
     "has it; one\n"
     "that it names otherwise is an error without --change.",
     "  shunt provision --nats nats://broker:4222\n"
     "  shunt provision --dry-run",
     cmd_provision, .opts = provision_opts},
    {"submit", "[FLAGS] -- COMMAND... | FILE... | -",
     "submit tasks and print their ids",
     "One word after -- is a shell script; several words are a program and "
     "its\n"
     "arguments, run without a shell. FILE holds tasks in one of the formats "
     "that\n"
     "`shunt lint` knows; - reads such a file from stdin. If one file is "
     "invalid,\n"
     "nothing is submitted. Flags override what a file says.\n"
     "\n"
     "Once submit has exited with 0 the task is safe, even if the broker "
     "cannot be\n"
     "reached: it then waits in the spool of this machine.",
     "  shunt submit -- make test\n"
     "  shunt submit --name nightly --after 02:00 -- 'make && ./report.sh'\n"
     "  shunt submit jobs/queue/job.json\n"
     "  id=$(shunt submit -- ./train.sh) && shunt wait \"$id\"",
     cmd_submit, .task_flags = true},
    {"run", "[FLAGS] -- COMMAND...",
     "submit a task, show its output and exit with its code",
     "The exit code is the command's own, or\n"
     "  3        the task was cancelled\n"
     "  6        the router rejected it\n"
     "  124      it exceeded its time limit\n"
     "  125      its outcome is not known\n"
     "  126/127  the command could not be started\n"
     "  128+n    signal n killed it\n"
     "^C cancels the task; a second ^C leaves it running.",
     "  shunt run -- pytest -q\n"
     "  shunt run --timeout 10m --retries 2 -- 'make && make check'",
     cmd_run, .opts = run_opts, .task_flags = true},
    {"ls", "[--state STATE] [--limit N] [--batch ID]",
     "list tasks, newest first",
     "STATE is the name of a state, open (not finished) or done (finished). "
     "Repeat\n"
     "--state, or separate states with commas.",
     "  shunt ls --state open\n"
     "  shunt ls --state failed,timed_out --limit 0 --json | jq '.[].id'",
     cmd_ls, .opts = ls_opts},
    {"show", "ID", "show everything about a task",
     "ID is a task's id, a beginning of it that no other id has, a task's name "
     "(the\n"
     "newest task of that name), or `last` for the newest task.",
     "  shunt show last\n"
     "  shunt show 5kq3 --json | jq .decision",
     .run = cmd_show},
    {"logs", "[-f] [--attempt N] [--raw] ID", "print the output of a task",
     "Prints the task's stdout on stdout and its stderr on stderr. A terminal "
     "gets\n"
     "text and colours only; everything else that would control it is left "
     "out.",
     "  shunt logs last\n"
     "  shunt logs -f 5kq3",
     cmd_logs, .opts = logs_opts},
    {"wait", "[--timeout TIME] ID...", "wait until tasks have finished",
     "ID may name a batch. Exits with 5 if a task did not succeed, with 8 if "
     "one had\n"
     "not finished at --timeout.",
     "  shunt wait --timeout 10m $(shunt submit -- make test)", cmd_wait,
     .opts = wait_opts},
    {"cancel",
     "[--timeout TIME | --no-wait] ID... | [--state STATE] [--name GLOB] | "
     "--all",
     "cancel tasks",
     "Running tasks are stopped, with all their processes; others never start. "
     "ID may\n"
     "name a batch. --state and --name select open tasks; both together, those "
     "that\n"
     "satisfy both; --all selects every open task. Nothing is asked.\n"
     "Waits until the tasks have ended and says how: exits with 0 if all were "
     "cancelled\n"
     "or had finished before, with 5 if one came to another end first, with 8 "
     "if one\n"
     "had not ended at --timeout. The request stays in force in any case.",
     "  shunt cancel last\n"
     "  shunt cancel --state held,blocked\n"
     "  shunt cancel --name 'nightly-*' --no-wait",
     cmd_cancel, .opts = cancel_opts},
    {"retry", "ID...", "submit finished tasks again, under new ids",
     "Prints the new ids.", "  shunt retry last", .run = cmd_retry},
    {"decide", "[FLAGS] -- COMMAND... | FILE... | -",
     "show where a task would run, and why",
     "Applies the routing policy, and says what the running fleet does "
     "instead, if one\n"
     "answers; --live decides with its state alone, --policy-only without it. "
     "Nothing is\n"
     "submitted. Exits with 6 if a task would be rejected.",
     "  shunt decide -- npm run build\n"
     "  shunt decide --agent CEO --json -- 'decide something' | jq .backend",
     cmd_decide, .opts = decide_opts, .task_flags = true},
    {"explain", "ID",
     "show why a task runs where it does, and what it waits for",
     "Prints the decision as it was made and, for a waiting task, the reason.",
     "  shunt explain last\n"
     "  shunt explain 5kq3 --json | jq .waits",
     .run = cmd_explain},
    {"route", "replay [--policy FILE] [--since TIME]",
     "show which past tasks another policy would have routed elsewhere",
     "Applies the policy to the tasks in the ledger. The fleet of that time is "
     "not\n"
     "stored: the number of running tasks counts where it counted in the "
     "stored\n"
     "decision, and a backend that was missing is missing again. Nothing is "
     "changed.",
     "  shunt route replay --policy new.yaml --since 30d", cmd_route,
     .opts = route_opts, .words = "replay"},
    {"lint", "FILE... | -", "check task files, and show what tasks they hold",
     "Detects the format by content: job.json, the JSON of a task, codex-brief "
     "(YAML\n"
     "or in a document), Markdown with front matter, cloud-queue, inbox, run\n"
     "contract, rally. Prints file, format, number of tasks and their names, "
     "and\n"
     "warnings for unknown keys as file:line:column. Exits with 2 if a file "
     "is\n"
     "invalid.",
     "  shunt lint jobs/queue/*.json\n"
     "  shunt lint --json rally.yaml | jq '.[].names'",
     .run = cmd_lint},
    {"rally", "--each-line 'COMMAND {}' [FLAGS] | status [ID]",
     "run one task for each line of stdin, in parallel",
     "{} is replaced by the line, quoted for the shell, and stands outside of "
     "quotes;\n"
     "the line is also $SHUNT_LINE. Without either the line is appended. \\{} "
     "is a\n"
     "literal {}. Follows the batch until all tasks have finished; exits with "
     "5 "
     "if one\n"
     "did not succeed. ^C stops following, the tasks continue.\n"
     "`rally status` shows a batch: ID, or the newest.",
     "  ls *.png | shunt rally --each-line 'optipng {}'\n"
     "  seq 1000 | shunt rally --each-line './sim --seed {}' --name sweep\n"
     "  shunt rally status last",
     cmd_rally, .opts = rally_opts, .task_flags = true, .words = "status"},
    {"lane", "ls | pause LANE | resume LANE", "list lanes; pause or resume one",
     "A lane is named BACKEND.LANE. While it is paused, tasks on it wait and "
     "running\n"
     "tasks continue. A worker pauses its lane by itself when the service "
     "behind it\n"
     "refuses tasks, for example because a budget is used up.",
     "  shunt lane ls\n"
     "  shunt lane pause secutools.gpu --for 2h --reason 'maintenance'\n"
     "  shunt lane resume secutools.gpu",
     cmd_lane, .opts = lane_opts, .words = "ls pause resume"},
    {"delegate", "submit | get | result | decide | status",
     "send prompts to an AI platform",
     "submit [--provider P] [--wait] FILE.md | - | -- PROMPT\n"
     "        submit a prompt and print its id; exits with 6 if the file does "
     "not\n"
     "        allow delegation in its front matter (for one without any, "
     "say\n"
     "        --allow-delegation)\n"
     "get ID  print state, provider, job and cost as JSON\n"
     "result ID\n"
     "        print the output; exits with 5 if the task did not succeed, with "
     "8 if\n"
     "        it has not finished (waits for --timeout, if given)\n"
     "decide [--provider P] [--allow-delegation] [--needs-claude-code]\n"
     "       [FILE.md | - | -- PROMPT]\n"
     "        print {provider, reason, delegated} without a broker\n"
     "status  print the delegated tasks, counters and the day's cost as JSON\n"
     "\n"
     "Called by the name ccl-delegate, shunt is this command.",
     "  shunt delegate submit --provider gpu --wait -- 'Summarise: ...'\n"
     "  id=$(ccl-delegate submit task.md) && ccl-delegate result --timeout 1h "
     "\"$id\"\n"
     "  ccl-delegate decide task.md | jq -e .delegated",
     cmd_delegate, .opts = delegate_opts,
     .words = "submit get result decide status"},
    {"spool", "ls | send | rm FILE...",
     "submissions that no broker has stored yet: list, send, remove",
     "Each waits for the broker it was submitted to, with the credentials of "
     "then: that\n"
     "of this machine's fleet sends its own. send sends those for the broker "
     "that --nats or\n"
     "the configuration names.",
     "  shunt spool ls\n"
     "  shunt spool send --nats nats://broker:4222\n"
     "  shunt spool rm 9xk2h5c8q0aj3m7d",
     cmd_spool, .words = "ls send rm"},
    {"worker", "ls | drain NAME", "list workers; drain one",
     "A draining worker takes no new tasks, finishes its running ones and "
     "exits;\n"
     "`shunt up` then starts a new one in its place.",
     "  shunt worker ls\n"
     "  shunt worker drain devbox-2",
     cmd_worker, .words = "ls drain"},
    {"doctor", "", "check this installation and suggest remedies",
     "Prints one line per check: ok, warn or fail, and what to do. Exits with "
     "1 if a\n"
     "check fails.",
     "  shunt doctor", .run = cmd_doctor},
    {"version", "", "print the version", NULL, "  shunt version",
     .run = cmd_version},
    {"completion", "bash|zsh|fish", "print a shell completion script", NULL,
     "  source <(shunt completion bash)\n"
     "  shunt completion fish > ~/.config/fish/completions/shunt.fish",
     cmd_completion, .words = "bash zsh fish"},
    {"help", "[COMMAND]", "show help", NULL, "  shunt help submit",
     .run = cmd_help},
    {.name = NULL},
};
