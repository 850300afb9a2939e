# Without a fleet: what is kept, and what is said.
setup() {
	load helper
	cd "$BATS_TEST_TMPDIR" || return 1
	export SHUNT_HOME=$BATS_TEST_TMPDIR/home
}
teardown() { shunt down --timeout 30s 3>&-; }

@test "submit without a broker spools, and the task runs when the fleet comes up" {
	run shunt submit --name early -- "echo ran >$PWD/ran.txt"
	[ "$status" -eq 0 ]
	[[ $output == *spooled* ]]
	id=$(shunt submit --name early2 -- true 2>/dev/null)
	[[ $id =~ ^[a-z0-9]{16}$ ]]
	shunt up -d --fast 3>&-
	until_true 30 test -s ran.txt
	until_true 30 shunt show "$id"
	shunt wait --timeout 30s "$id"
	[ -z "$(find "$SHUNT_HOME/spool" -name '*.task*')" ]
}

@test "A1: a task that waits in the spool is cancelled before it is sent" {
	id=$(shunt submit --name never -- "touch $PWD/never" 2>/dev/null)
	other=$(shunt submit -- "touch $PWD/other" 2>/dev/null)
	run shunt cancel "$id"
	[ "$status" -eq 8 ]
	[[ $output == *'the requests are sent before the tasks'* ]]
	run shunt cancel "$id" nobody
	[ "$status" -eq 7 ]
	shunt up -d --fast 3>&-
	until_true 30 test -e other
	shunt wait --timeout 30s "$other"
	run shunt wait --timeout 30s "$id"
	[ "$(shunt show "$id" --json | jq -r .state)" = cancelled ]
	[ ! -e never ]
	[ -z "$(find "$SHUNT_HOME/spool" -name '*.task*' -o -name '*.cancel')" ]
}

@test "run and ls exit 7, name the address and what to type" {
	for args in 'run -- true' 'ls' 'wait last' 'status'; do
		# shellcheck disable=SC2086 # words are meant
		run shunt $args
		[ "$status" -eq 7 ]
		[[ $output == *"shunt up"* ]]
	done
	SHUNT_BUS_URL=nats://127.0.0.1:1 run shunt ls
	[ "$status" -eq 7 ]
	[[ $output == *127.0.0.1:1* ]]
}

@test "decide needs no broker and explains itself" {
	run shunt decide --json -- npm run build
	[ "$status" -eq 0 ]
	echo "$output" | jq -e '.backend == "codespace" and .score == 3 and (.signals | length == 2)'
	run shunt decide -- git status
	[[ $output == *LOCAL* ]]
	LC_ALL=ja_JP.UTF-8 run shunt decide -- git status
	[[ $output == *ルーティング判定* ]]
	shunt decide --json --agent CEO -- 'think hard' | jq -e '.backend == "local" and .score == null'
}

@test "decide prints the template of the routing protocol" {
	LC_ALL=ja_JP.UTF-8 run shunt decide --agent Rally -- 'cd lros/backend && uv run pytest'
	[ "$status" -eq 0 ]
	diff - <(head -n 14 <<<"$output") <<-'END'
		## ルーティング判定

		タスク: cd lros/backend && uv run pytest
		担当エージェント: Rally

		### Agent Affinity: depends
		### Signal Score:
		- test(テスト): +1 (pytest)
		- toolchain(ツールチェーン): +1 (uv run)
		- Total: 2

		### 判定: CLOUD
		### 実行: cs run "cd lros/backend && uv run pytest"

	END
	run shunt decide -- 'local: npm run build'
	diff - <(head -n 14 <<<"$output") <<-'END'
		## Routing decision

		Task: npm run build
		Agent: none

		### Agent Affinity: -
		### Signal Score:
		- build: +2 (build)
		- local-prefix: -10 (local:)
		- Total: -8

		### Decision: LOCAL
		### Run: locally

	END
	run shunt decide --backend secutools -- true
	[ "$status" -eq 6 ]
	[[ $output == *'### Decision: REJECTED'* ]]
}

@test "unknown commands and flags exit 2 and suggest" {
	run shunt sbumit
	[ "$status" -eq 2 ]
	[[ $output == *submit* ]]
	run shunt ls --jsno
	[ "$status" -eq 2 ]
	[[ $output == *--json* ]]
	run shunt
	[ "$status" -eq 2 ]
}

@test "every command has help, and completions are valid" {
	for command in $(shunt completion bash | grep -o 'commands=".*"' | cut -d'"' -f2); do
		run shunt "$command" --help
		[ "$status" -eq 0 ]
		[ -n "$output" ]
	done
	shunt completion bash | bash -n
	[[ $(shunt version) =~ ^shunt\ [0-9.]+(\+[0-9a-f]{8})?$ ]]
	shunt version --json | jq -e '.schema == "shunt.version/1"'
}
