#!/usr/bin/env bats
# Decisions, what tasks wait for, and changes of the policy.

load helper

setup_file() {
	cp "$BATS_TEST_DIRNAME/../../etc/policy.yaml" "$BATS_FILE_TMPDIR/policy.yaml"
	export SHUNT_ROUTER_POLICY=$BATS_FILE_TMPDIR/policy.yaml
	start_fleet
}

teardown_file() {
	stop_fleet
}

setup() {
	work_dir
}

# policy EDIT - the shipped policy with that sed command, for the router.
policy() {
	sed "$1" "$BATS_TEST_DIRNAME/../../etc/policy.yaml" >"$SHUNT_ROUTER_POLICY"
}

reload() {
	kill -HUP "$(pid_of router)"
}

# router_says TEXT - the router's log has it.
router_says() {
	grep -q "$1" "$SHUNT_HOME/log/router.log"
}

place_of() {
	shunt explain "$1" --json | jq -er '.decision | "\(.backend).\(.lane)"'
}


waits() {
	shunt explain "$1" --json | jq -er .waits.for
}

waits_for() {
	[ "$(waits "$1")" = "$2" ]
}

@test "explain prints the stored decision in the reader's language" {
	id=$(shunt submit --agent Lens -- uv run pytest)
	until_true 10 shunt explain "$id" --json
	until_true 10 eval "shunt explain $id | grep -q 'agent Lens works locally'"
	run shunt explain "$id"
	[ "$status" -eq 0 ]
	[[ $output == *'## Routing decision'*'Task: uv run pytest'*'Agent: Lens'* ]]
	[[ $output == *'### Agent Affinity: local'*'### Decision: LOCAL'* ]]
	LC_ALL='' LC_MESSAGES=ja_JP.UTF-8 LANG=C run shunt explain "$id"
	[[ $output == *'## ルーティング判定'*'タスク: uv run pytest'*'担当エージェント: Lens'* ]]
	[[ $output == *'### 判定: LOCAL'*'### 実行: ローカル実行'* ]]
	[[ $output == *'理由: エージェント Lens はローカルで作業する (affinity-local)'* ]]
	[[ $output =~ 状態:\ [a-z]+\([^\)]+\) ]]
	LC_ALL=C LC_MESSAGES=ja_JP.UTF-8 run shunt explain "$id"
	[[ $output == *'## Routing decision'* ]]
	shunt explain "$id" --json | jq -e '.schema == "shunt.explain/1" and
		.decision.schema == "shunt.decision/1" and .decision.score == null and
		.decision.rule == "affinity-local" and .agent == "Lens"'
}

@test "explain says what a task waits for" {
	held=$(shunt submit --hold -- true)
	until_true 10 waits_for "$held" person
	shunt explain "$held" --json | jq -e '.decision == null'
	later=$(shunt submit --after 1h -- true)
	until_true 10 waits_for "$later" time
	shunt explain "$later" --json | jq -e '.waits.until | test("^20")'
	next=$(shunt submit --after "$held" -- true)
	until_true 10 waits_for "$next" tasks
	shunt explain "$next" --json | jq -e --arg id "$held" '.waits.tasks == [$id]'
	nobody=$(shunt submit --backend codespace -- true)
	until_true 10 waits_for "$nobody" worker
	run shunt explain "$nobody"
	[[ $output == *'Waits: no worker serves lane codespace.default; it waits for one'* ]]
	LC_ALL=ja_JP.UTF-8 run shunt explain "$nobody"
	[[ $output == *'待機: レーン codespace.default を担当するワーカーがいないため'* ]]
	again=$(shunt submit --retries 1 -- false)
	until_true 10 waits_for "$again" retry
	shunt cancel "$held" "$later" "$next" "$nobody" "$again"
	run shunt explain "$held"
	[[ $output == *'State: cancelled'* ]]
	[[ $output != *Waits:* ]]
}

@test "explain gives the reason of a rejected task" {
	id=$(shunt submit --lane nowhere -- true)
	until_true 10 eval "shunt explain $id --json | jq -e '.state == \"rejected\"'"
	run shunt explain "$id"
	[[ $output == *'### Decision: REJECTED'*'Reason: there is no lane local.nowhere'* ]]
	shunt explain "$id" --json | jq -e '.decision == null and .waits == null and
		(.refusal | startswith("there is no lane"))'
}

@test "explain knows the spool of this machine" {
	export SHUNT_HOME=$BATS_TEST_TMPDIR/home
	id=$(NATS_URL=nats://127.0.0.1:1 shunt submit -- true)
	run env NATS_URL=nats://127.0.0.1:1 shunt explain last --json
	[ "$status" -eq 0 ]
	jq -e --arg id "$id" '.id == $id and .waits.for == "broker"' <<<"$output"
	NATS_URL=nats://127.0.0.1:1 run shunt explain "$id"
	[[ $output == *'Waits: is spooled here'* ]]
}

@test "explain of an unknown task fails as show does" {
	run shunt explain nosuchtask
	[ "$status" -eq 2 ]
	[[ $output == *nosuchtask* ]]
	run shunt explain
	[ "$status" -eq 2 ]
}

@test "HUP reads the policy again, and an invalid one changes nothing" {
	policy 's/^version: .*/version: changed/; s/^threshold: 2/threshold: 50/'
	reload
	until_true 10 router_says 'policy.reloaded.*version=changed@.*before=shipped-1@'
	id=$(shunt submit --data large -- uv run pytest)
	until_true 10 place_of "$id"
	[ "$(place_of "$id")" = local.default ]
	shunt explain "$id" --json | jq -e '.decision.score == 3 and
		(.decision.policy | startswith("changed@"))'

	policy 's/^version: .*/version: broken/; s/^threshold: 2/threshold: lots/'
	reload
	line=$(grep -n '^threshold' "$SHUNT_ROUTER_POLICY" | cut -d: -f1)
	until_true 10 router_says "policy.refused.*policy.yaml:$line:12: threshold: .*in_force=changed@"
	id=$(shunt submit -- true)
	until_true 10 place_of "$id"
	shunt explain "$id" --json | jq -e '.decision.policy | startswith("changed@")'

	policy ''
	reload
	until_true 10 router_says 'policy.reloaded.*version=shipped-1@.*before=changed@'
}

@test "decide uses the router's policy or the one given" {
	sed 's/^threshold: 2/threshold: 4/' "$SHUNT_ROUTER_POLICY" >other.yaml
	shunt decide --json -- npm run build | jq -e '.backend == "codespace"'
	shunt decide --json --policy other.yaml -- npm run build | jq -e '.backend == "local"'
	SHUNT_ROUTER_POLICY=other.yaml shunt decide --json -- npm run build | jq -e '.backend == "local"'
	echo 'version: x' >bad.yaml
	run shunt decide --policy bad.yaml -- true
	[ "$status" -eq 2 ]
	[[ $output == *bad.yaml:1:1:*executors*missing* ]]
	run shunt decide --policy none.yaml -- true
	[ "$status" -eq 2 ]
}

@test "decide --live adds the state of the fleet" {
	shunt decide --json -- npm run build | jq -e '.backend == "codespace" and .wanted == null'
	shunt decide --json --live -- npm run build |
		jq -e '.backend == "local" and .wanted == "codespace" and .rule == "score"'
	SHUNT_ROUTER_BACKENDS=codespace shunt decide --json --live -- npm run build |
		jq -e '.backend == "codespace"'
	sed 's/^  memory_over: .*//' "$SHUNT_ROUTER_POLICY" >other.yaml
	shunt decide --json --live --policy other.yaml --memory 4000G -- true |
		jq -e '.rule == "force-memory-free"'
	job=$(shunt submit --backend local -- sleep 60)
	until_true 10 eval "shunt show $job --json | jq -e '.state == \"running\"'"
	until_true 15 eval "shunt decide --json --live -- true | jq -e '.score == 2'"
	shunt cancel "$job"
}

@test "route replay shows which past tasks would be routed elsewhere" {
	build=$(shunt submit --name the-build -- make build)
	held=$(shunt submit --hold -- make build)
	for i in 1 2 3; do shunt submit --agent Lens --name "plain-$i" -- true; done
	until_true 10 eval "shunt explain plain-3 --json | jq -e .decision.rule"
	until_true 10 place_of "$build"
	# Without a codespace it ran here; the same policy says the same.
	run --separate-stderr shunt route replay
	[ "$status" -eq 0 ]
	[[ $output != *the-build* && ${lines[-1]} =~ ^[0-9]+\ of\ [0-9]+\ tasks\ would\ change$ ]]
	[[ $stderr == *'facts of that time are not kept'* ]]
	[[ $(shunt route replay --since 1ms) == '0 of 0 tasks would change' ]]

	sed 's/^when_unavailable: local/when_unavailable: queue/' "$SHUNT_ROUTER_POLICY" >other.yaml
	run --separate-stderr shunt route replay --policy other.yaml --since 1h
	[ "$status" -eq 0 ]
	[[ $output == *"$build"$'\t'the-build$'\tlocal.default (score)\tcodespace.default (score)'* ]]
	[[ $output != *plain-* ]]
	[[ $output != *"$held"* ]]
	shunt route replay --policy other.yaml --json >lines
	jq -es --arg id "$build" 'any(.id == $id and .schema == "shunt.replay/1" and
		.was.backend == "local" and .would_be.backend == "codespace")' lines
	tail -n 1 lines | jq -e '.schema == "shunt.replay_summary/1" and .changed >= 1 and
		.tasks > .changed and .skipped == 0'
	shunt cancel "$held"
}

@test "route replay refuses a policy that is invalid" {
	echo 'threshold: 2' >bad.yaml
	run shunt route replay --policy bad.yaml
	[ "$status" -eq 2 ]
	[[ $output == *bad.yaml:1:1:* ]]
	run shunt route
	[ "$status" -eq 2 ]
}

@test "B2: a task that has ended never counts as running" {
	local i id home=$SHUNT_HOME
	export SHUNT_HOME=$BATS_TEST_TMPDIR/home SHUNT_ROUTER_BACKENDS=codespace
	shunt up -d --fast --slots 2 3>&-
	for i in {1..20}; do
		shunt run -- 'local: true'
		id=$(shunt submit -- git status)
		until_true 10 eval "shunt show $id --json | jq -e .decision.backend"
		shunt show "$id" --json | jq -e '.decision.backend == "local"' ||
			{ echo "round $i"; shunt explain "$id"; false; }
		shunt wait "$id" || [ "$?" -eq 5 ] # no repository here
	done
	# One that runs counts from its start on.
	shunt submit -- 'local: sleep 1000'
	until_true 10 eval "shunt show last --json | jq -e '.state == \"running\"'"
	id=$(shunt submit -- git status)
	until_true 10 eval "shunt show $id --json | jq -e .decision.backend"
	shunt show "$id" --json | jq -e '.decision.backend == "codespace"'
	shunt cancel --all
	shunt down
	SHUNT_HOME=$home
}

@test "B7: decide says what the fleet that answers does" {
	run shunt decide -- npm run build
	[ "$status" -eq 0 ]
	[[ $output == *'### Decision: CLOUD'* ]]
	[[ $output == *'Here: local.default: '*'codespace.default is not available, so it runs on local.default'* ]]
	shunt decide --json -- npm run build |
		jq -e '.backend == "codespace" and .here.backend == "local" and .here.wanted == "codespace"'
	run shunt decide --policy-only -- npm run build
	[[ $output != *Here:* ]]
	run shunt decide -- git status
	[[ $output != *Here:* ]]
	run env LANG=ja_JP.UTF-8 LC_ALL= shunt decide -- npm run build
	[[ $output == *'このフリートでは: local.default: '*'local.default で実行する'* ]]
	SHUNT_HOME=$BATS_TEST_TMPDIR/none run shunt decide -- npm run build
	[ "$status" -eq 0 ]
	[[ $output != *Here:* ]]
}

on_terminal() {
	script -qec "$1" /dev/null </dev/null | tr -d '\r'
}

@test "B7: run and submit on a terminal say that a wish could not be met" {
	on_terminal "shunt run -- 'true # build'" >said # a comment is no signal
	refute grep -q 'not available' said
	on_terminal "shunt run -- 'true build'" >said
	grep -q 'codespace.default is not available, so it runs on local.default' said
	on_terminal "shunt submit -- 'true build'" >said
	grep -q 'codespace.default is not available, so it runs on local.default' said
	run --separate-stderr shunt submit -- 'true build'
	[ "$stderr" = '' ]
}

@test "B3: until somebody serves a lane, every sentence says that it waits" {
	local id said
	printf -- '---\ntitle: x\n---\nhello\n' >prompt.md
	on_terminal "shunt submit prompt.md" >said
	grep -q 'no worker serves lane local.claude-code; it waits for one' said
	id=$(grep -oE '^[a-z0-9]{16}' said | head -1)
	shunt explain "$id" | grep -q 'Reason: .*no worker of local.claude-code is known, so it waits for one'
	shunt explain "$id" | grep -q 'Waits: no worker serves lane local.claude-code'
	shunt explain "$id" --json | jq -e '.waits.for == "worker"'
	shunt cancel "$id"
	on_terminal "shunt submit --lane gup -- true" >said
	grep -q 'rejected: there is no lane local.gup; there are local.default' said
	shunt lane pause local.default
	on_terminal "shunt submit -- true" >said
	shunt lane resume local.default
	grep -q 'lane local.default is paused' said
}

@test "D8: explain says why a task was skipped, cancelled or rejected unrouted" {
	local first second third
	first=$(shunt submit -- false)
	second=$(shunt submit --after "$first" -- true)
	run shunt wait --timeout 30s "$second"
	run shunt explain "$second"
	[[ $output == *'never routed'*"comes after $first, which ended failed"* ]]
	[[ $output != *'not decided'* ]]
	shunt explain "$second" --json | jq -e '.refusal | contains("ended failed")'
	third=$(shunt submit --hold -- true)
	shunt cancel "$third"
	run shunt explain "$third"
	[[ $output == *'never routed'*'cancelled by'* ]]
	run env LC_ALL=ja_JP.UTF-8 shunt explain "$second"
	[[ $output == *'先行する'* ]]
}
