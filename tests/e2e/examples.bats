# The example files of each format, as planners write them, from the folder in
# which they are put to the outcome beside them.
setup_file() {
	load helper
	new_home
	export EXAMPLES=$BATS_TEST_DIRNAME/../data/examples
	# The example's workdir is ~/work/vpm-mini; its cluster is faked.
	export HOME=$BATS_FILE_TMPDIR/user PROJECT=$BATS_FILE_TMPDIR/project
	mkdir -p "$HOME/work/vpm-mini" "$PROJECT/jobs/queue" \
		"$PROJECT/.cloud-queue/pending" "$PROJECT/codex/inbox" "$BATS_FILE_TMPDIR/bin"
	cat >"$BATS_FILE_TMPDIR/bin/kubectl" <<-'SH'
		#!/bin/sh
		[ "$2" != ksvc ] || [ "$3" != -A ] || echo 'default metrics-echo http://x True'
		echo "kubectl: $*" >>"$HOME/kubectl.log"
	SH
	chmod +x "$BATS_FILE_TMPDIR/bin/kubectl"
	export PATH=$BATS_FILE_TMPDIR/bin:$PATH
	git init -q -b main "$HOME/work/vpm-mini"
	export SHUNT_FOLDER_SETTLE=100ms SHUNT_FOLDER_PATIENCE=1s
	export SHUNT_FOLDER_FOLDERS=codex/inbox
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

# put FILE FOLDER: as producers should
put() {
	cp "$EXAMPLES/$1" "$2/.$1.tmp"
	mv "$2/.$1.tmp" "$2/$1"
}

@test "a job file fails with the reason if its workdir does not exist" {
	[ ! -e /workspace/vpm-mini ] || skip "this machine has the example's workdir"
	put job.json jobs/queue
	until_true 30 test -e jobs/failed/job.json
	jq -e '.state == "failed"
		and (.reason | contains("workdir /workspace/vpm-mini does not exist"))' \
		jobs/failed/job.result.json
	cmp "$EXAMPLES/job.json" jobs/failed/job.json
}

@test "a brief in an indented block runs on the lane of its executor" {
	put brief-indented.md jobs/queue
	until_true 30 test -e jobs/failed/brief-indented.md
	# Its steps end well, but do not write the report that it declares.
	jq -e '.state == "unverified" and .exit_code == 0
		and .decision.rule == "executor"
		and (.reason | endswith("_ready_status_p3-2.md is missing"))' \
		jobs/failed/brief-indented.md.result.json
	grep -q 'kubectl: -n default get ksvc metrics-echo -o yaml' "$HOME/kubectl.log"
	[ -d "$HOME/work/vpm-mini/reports/metrics-echo" ]
}

@test "the same brief in a fence is submitted from the command line" {
	id=$(shunt submit "$EXAMPLES/brief.md")
	run shunt wait --timeout 30s "$id"
	[ "$status" -eq 5 ]
	shunt show "$id" --json | jq -e '.state == "unverified"
		and (.warnings[0] | contains("opens pull requests"))
		and .task.repo == "HirakuArai/vpm-mini"
		and .task.outputs[0].type == "pr" and .task.outputs[0].link_issue == 774'
}

@test "an inbox file runs kubectl and gets a log of the run" {
	put inbox-ask.json codex/inbox
	until_true 30 test -e codex/inbox/_done/inbox-ask.json
	grep -q 'kubectl: get ksvc hello -n default' "$HOME/kubectl.log"
}

@test "a cloud queue's task for an AI waits for its worker, and explain says so" {
	put cloud-queue.json .cloud-queue/pending
	until_true 30 test -e .cloud-queue/running/cloud-queue.json
	until_true 30 eval 'shunt explain last --json | jq -e ".waits"'
	run shunt explain last
	[[ $output == *"no worker"* ]]
}
