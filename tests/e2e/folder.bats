# Folders as a user fills and reads them, through `shunt up`.
setup_file() {
	load helper
	new_home
	export PROJECT=$BATS_FILE_TMPDIR/project
	mkdir -p "$PROJECT/jobs/queue" "$PROJECT/.cloud-queue/pending" \
		"$PROJECT/codex/inbox" "$PROJECT/agent-queue"
	# Files are claimed, or fail, soon enough for a test.
	export SHUNT_FOLDER_SETTLE=100ms SHUNT_FOLDER_PATIENCE=1s
	export SHUNT_FOLDER_FOLDERS="codex/inbox,agent-queue style=agent-queue"
	cd "$PROJECT" || return 1
	shunt up -d --fast 3>&- 2>"$BATS_FILE_TMPDIR/up.err"
}

teardown_file() {
	load helper
	stop_fleet
}

setup() {
	load helper
	cd "$PROJECT" || return 1
}

# job FOLDER NAME COMMAND: writes a job file as producers should.
job() {
	jq -n --arg id "$2" --arg c "$3" \
		'{id: $id, kind: "run_shell", script: [$c], dod: "exit_code == 0"}' \
		>"$1/.$2.tmp"
	mv "$1/.$2.tmp" "$1/$2.json"
}

empty() { [ -z "$(ls -A "$1")" ]; }

@test "up watches the project's folders and says so" {
	grep -q "watching .*/codex/inbox" "$BATS_FILE_TMPDIR/up.err"
	grep -q "watching .*/jobs/queue" "$BATS_FILE_TMPDIR/up.err"
	grep -q "watching .*/.cloud-queue" "$BATS_FILE_TMPDIR/up.err"
	pid_of gateway-folder
}

@test "a job file runs in the project and ends in done with its result" {
	job jobs/queue first 'pwd; echo from the queue'
	until_true 20 test -e jobs/done/first.json
	jq -e '.state == "succeeded" and .exit_code == 0 and .backend == "local"
		and .decision.rule and .duration_ms >= 0 and .attempts == 1' \
		jobs/done/first.result.json
	jq -e '.id == "first"' jobs/done/first.json
	empty jobs/queue
	until_true 5 empty jobs/running
	id=$(jq -r .task jobs/done/first.result.json)
	[ "$(shunt logs "$id" | head -n 1)" = "$PROJECT" ]
	shunt show "$id" --json | jq -e --arg at "$PROJECT/jobs/queue/first.json" \
		'.source == "folder" and .task.origin == $at'
}

@test "a job that fails ends in failed, with its report at report_path" {
	jq -n '{id: "breaks", kind: "run_shell", script: ["echo so; exit 3"],
		dod: "exit_code == 0", report_path: "reports/jobs/breaks.out"}' >.breaks.tmp
	mv .breaks.tmp jobs/queue/breaks.json
	until_true 20 test -e jobs/failed/breaks.json
	jq -e '.state == "failed" and .exit_code == 3 and .reason' jobs/failed/breaks.result.json
	until_true 10 grep -q '^so' reports/jobs/breaks.out
}

@test "A4: a report never lands where a gateway takes files, and never becomes a task" {
	local n
	run --separate-stderr shunt run --name own --report jobs/queue/r.json -- true
	[[ $stderr == *'the report is in '*'/reports/jobs/own.md: files at jobs/queue/r.json become tasks'* ]]
	[ ! -e jobs/queue/r.json ]
	# A person's copy of a report is left alone as well, in any format.
	n=$(shunt ls --limit 0 --json | jq length)
	for r in md json; do
		cp "$SHUNT_HOME/reports/jobs/own.$r" "codex/inbox/.copy.$r"
		cp "$SHUNT_HOME/reports/jobs/own.$r" "agent-queue/.copy.$r"
		mv "codex/inbox/.copy.$r" "codex/inbox/copy.$r"
		mv "agent-queue/.copy.$r" "agent-queue/copy.$r"
	done
	# A file that comes after them is taken, and they are still there.
	job jobs/queue after-copies true
	until_true 20 test -e jobs/done/after-copies.json
	until_true 10 grep -q 'copy.md.*a report, no task' "$SHUNT_HOME/log/gateway-folder.log"
	[ "$(shunt ls --limit 0 --json | jq length)" -eq $((n + 1)) ]
	[ -e codex/inbox/copy.md ]
	[ -e agent-queue/copy.md ]
	rm codex/inbox/copy.* agent-queue/copy.*
	shunt doctor | grep -q 'alarms *none'
}

@test "a cloud queue's file moves through its folders and gets its outcome" {
	mkfifo hold
	job .cloud-queue/pending TRA-56 "cat '$PROJECT/hold'"
	until_true 20 test -e .cloud-queue/running/TRA-56.json
	[ ! -e .cloud-queue/pending/TRA-56.json ]
	echo go >hold
	until_true 20 test -e .cloud-queue/completed/TRA-56.json
	jq -e '.status == "completed" and .id == "TRA-56" and .result.state == "succeeded"
		and .result.exit_code == 0' .cloud-queue/completed/TRA-56.json
	until_true 5 empty .cloud-queue/running
	job .cloud-queue/pending TRA-57 'exit 1'
	until_true 20 test -e .cloud-queue/failed/TRA-57.json
	jq -e '.status == "failed" and .result.exit_code == 1' .cloud-queue/failed/TRA-57.json
}

@test "an inbox keeps its files in _done and a log of each run" {
	job codex/inbox hello 'echo hello from the inbox'
	until_true 20 test -e codex/inbox/_done/hello.json
	grep -q '^state: succeeded' reports/codex_runs/hello/run.log
	grep -q '^hello from the inbox' reports/codex_runs/hello/run.log
}

@test "an agent queue's file gets a footer; a delegated one is left alone" {
	echo '{"steps": ["echo agent"]}' >agent-queue/task.md
	echo '{"steps": ["echo other"]}' >agent-queue/.other.tmp
	echo '{}' >agent-queue/other.md.delegated
	mv agent-queue/.other.tmp agent-queue/other.md
	until_true 20 test -e agent-queue/done/task.md
	head -n 1 agent-queue/done/task.md | grep -q '"echo agent"'
	sed -n '/^---$/,$p' agent-queue/done/task.md >footer
	for key in job_id queue_ms run_ms finished_at state exit_code backend decision; do
		grep -q "^$key: " footer
	done
	[ -e agent-queue/other.md ]
}

@test "a file that cannot be read is moved aside with the reason, after folder.patience" {
	printf '{"id": "x",\n "script": }\n' >jobs/queue/broken.json
	until_true 20 test -e jobs/failed/broken.json.error
	grep -q "jobs/queue/broken.json:2:" jobs/failed/broken.json.error
	[ -e jobs/failed/broken.json ]
}

@test "hidden, temporary and foreign files stay where they are" {
	job jobs/queue/ .hidden true
	printf 'x' >jobs/queue/a.json.tmp
	printf 'x' >jobs/queue/README.md
	ln -s /etc/passwd jobs/queue/link.json
	mkdir jobs/queue/dir.json
	job jobs/queue marker true
	until_true 20 test -e jobs/done/marker.json
	[ "$(ls -A jobs/queue | sort | tr '\n' ' ')" = ".hidden.json README.md a.json.tmp dir.json link.json " ]
	rm -rf jobs/queue/.hidden.json jobs/queue/* jobs/running/*
}

@test "the same file put in again is a new task, and both records are kept" {
	job jobs/queue again 'echo one'
	until_true 20 test -e jobs/done/again.json
	mv jobs/done/again.json jobs/queue/
	until_true 20 test -e jobs/done/again.json
	job jobs/queue again 'echo two'
	until_true 20 bash -c 'ls jobs/done/again.*.json | grep -v result'
	[ "$(shunt ls --limit 0 --json | jq '[.[] | select(.name == "again")] | length')" = 3 ]
}

@test "A9: a job's controls are kept to, and its unknown keys are told to who dropped it" {
	jq -n '{script: ["echo $A; pwd; sleep 30"], timeout: "300ms", env: {A: "so"},
		cwd: "/", owner: "me"}' >.limits.tmp
	mv .limits.tmp jobs/queue/limits.json
	until_true 20 test -e jobs/failed/limits.result.json
	jq -e '.state == "timed_out" and (.warnings | length == 1) and
		(.warnings[0] | endswith("owner: unknown key, kept as a tag"))' \
		jobs/failed/limits.result.json
	id=$(jq -r .task jobs/failed/limits.result.json)
	[ "$(shunt logs "$id")" = $'so\n/' ]
	[[ $(shunt show "$id") == *"owner: unknown key"* ]]
	jq -n '{script: ["true"], timeout_minutes: 5}' >.minutes.tmp
	mv .minutes.tmp jobs/queue/minutes.json
	until_true 20 test -e jobs/failed/minutes.json.error
	grep -q 'timeout_minutes: not known here; write timeout' \
		jobs/failed/minutes.json.error
}

@test "C7: files for people and agents stay, and what is no prompt is refused with what it is" {
	for name in AGENTS.md claude.md _draft.md; do
		printf 'Be kind.\n' >agent-queue/$name
	done
	printf -- '- [ ] one\n- [ ] two\n' >.tmp.list
	mv .tmp.list agent-queue/list.md
	printf -- '---\nstatus: Done\n---\nFix it.\n' >.tmp.done
	mv .tmp.done agent-queue/over.md
	until_true 20 test -e agent-queue/failed/list.md.error
	until_true 20 test -e agent-queue/failed/over.md.error
	grep -q 'a list of tasks, not a prompt' agent-queue/failed/list.md.error
	grep -q "status: 'Done' says that it is not to be done now" \
		agent-queue/failed/over.md.error
	for name in AGENTS.md claude.md _draft.md; do
		[ -e agent-queue/$name ]
		rm agent-queue/$name
	done
}
