#!/usr/bin/env bats
# Where tasks go, why they wait, and how the policy is changed.

load helper

setup_file() {
	start_fleet
}

teardown_file() {
	stop_fleet
}

setup() {
	work_dir
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
	again=$(shunt submit --retries 1 -- false)
	until_true 10 waits_for "$again" retry
	shunt cancel "$held" "$later" "$next" "$nobody" "$again"
	run shunt explain "$held"
	[[ $output == *'State: cancelled'* ]]
	[[ $output != *Waits:* ]]
}

@test "explain of no task fails as show does" {
	run shunt explain nosuchtask
	[ "$status" -eq 2 ]
	[[ $output == *nosuchtask* ]]
	run shunt explain
	[ "$status" -eq 2 ]
}
