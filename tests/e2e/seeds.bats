# The examples of the seeds, as they are printed, from the folder a planner
# leaves them in to the outcome beside them.
setup_file() {
	load helper
	new_home
	export SEEDS=$BATS_TEST_DIRNAME/../data/seeds
	# The example's workdir is ~/work/vpm-mini; its cluster is played.
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

# put SEED FOLDER: there as producers should put it
put() {
	cp "$SEEDS/$1" "$2/.$1.tmp"
	mv "$2/.$1.tmp" "$2/$1"
}

@test "seed 2's job file runs where it says, and says so if that is not there" {
	[ ! -e /workspace/vpm-mini ] || skip "this machine has the example's workdir"
	put 2-job.json jobs/queue
	until_true 30 test -e jobs/failed/2-job.json
	jq -e '.state == "failed"
		and (.reason | contains("workdir /workspace/vpm-mini does not exist"))' \
		jobs/failed/2-job.result.json
	cmp "$SEEDS/2-job.json" jobs/failed/2-job.json
}

@test "seed 5's brief, indented as it is printed, runs on the lane of its executor" {
	put 5-brief-indented.md jobs/queue
	until_true 30 test -e jobs/done/5-brief-indented.md
	jq -e '.state == "succeeded" and .decision.rule == "executor"' \
		jobs/done/5-brief-indented.md.result.json
	grep -q 'kubectl: -n default get ksvc metrics-echo -o yaml' "$HOME/kubectl.log"
	[ -d "$HOME/work/vpm-mini/reports/metrics-echo" ]
}

@test "the same brief in a fence goes in from the command line" {
	id=$(shunt submit "$SEEDS/5-brief.md")
	run shunt wait --timeout 30s "$id"
	[ "$status" -eq 0 ]
	shunt show "$id" --json | jq -e '.task.repo == "HirakuArai/vpm-mini"
		and .task.outputs[0].type == "pr" and .task.outputs[0].link_issue == 774'
}

@test "an inbox file asks kubectl, and keeps a log of the run" {
	put 2-inbox-ask.json codex/inbox
	until_true 30 test -e codex/inbox/_done/2-inbox-ask.json
	grep -q 'kubectl: get ksvc hello -n default' "$HOME/kubectl.log"
}

@test "a cloud queue's task for an AI waits for its worker, and explain says so" {
	put 4-cloud-queue.json .cloud-queue/pending
	until_true 30 test -e .cloud-queue/running/4-cloud-queue.json
	until_true 30 eval 'shunt explain last --json | jq -e ".waits"'
	run shunt explain last
	[[ $output == *"no worker"* ]]
}
