# What commands print: on a terminal of any width, and where nobody reads.
setup_file() { load helper; start_fleet --slots 2; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

# on_terminal COLUMNS COMMAND - what the command writes on a terminal that wide.
on_terminal() {
	env -u NO_COLOR TERM=xterm script -qec "stty cols $1 rows 50; $2" /dev/null \
		</dev/null | tr -d '\r'
}

# Standard input without what selects colours.
plain() { sed $'s/\033\\[[0-9;]*m//g'; }

# The longest line of standard input, in columns of a terminal.
widest() {
	python3 -c '
import sys, unicodedata
def width(c):
    if unicodedata.combining(c): return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1
print(max(sum(map(width, l.rstrip("\n"))) for l in sys.stdin))'
}

# fits COLUMNS LOCALE COMMAND - no line of the command is longer.
fits() {
	on_terminal "$1" "LC_ALL=$2 shunt $3" >table
	echo "$*"
	[ "$(plain <table | widest)" -le "$1" ]
}

@test "D3: a command whose output cannot be written fails" {
	local command
	shunt run -- echo hi
	for command in 'ls' 'ls --json' 'status' 'status --json' 'show last' \
		'logs last --json' 'lane ls' 'worker ls' 'doctor' 'version' 'help' \
		'decide -- ls' 'explain last' 'completion bash'; do
		echo "$command"
		run -1 --separate-stderr bash -c "shunt $command >/dev/full"
		[[ $stderr == *'could not be written'* ]]
		run -1 bash -c "shunt $command >&-"
	done
}

@test "D3: the id of a task that could not be printed is in the error" {
	local name id
	run -1 --separate-stderr bash -c 'shunt submit --name unwritten -- true >/dev/full'
	[[ $stderr =~ submitted\ ([a-z0-9]{16}) ]]
	id=${BASH_REMATCH[1]}
	name=$(shunt show "$id" --json | jq -r .name)
	[ "$name" = unwritten ]
}

@test "D3: so are the ids of a retry and of a rally" {
	local id
	shunt run --name again -- true
	run -1 --separate-stderr bash -c 'shunt retry again >/dev/full'
	[[ $stderr =~ submitted\ ([a-z0-9]{16}) ]]
	[ "$(shunt show "${BASH_REMATCH[1]}" --json | jq -r .name)" = again ]
	run -1 --separate-stderr bash -c \
		'echo 1 | shunt rally --no-wait --each-line "echo {}" >&-'
	[[ $stderr =~ submitted\ ([a-z0-9]{16}) ]]
	shunt rally status "${BASH_REMATCH[1]}"
	# A reader that is gone does not make it quiet: the task exists.
	run --separate-stderr bash -c 'shunt submit --json -- true | exec true'
	[[ $stderr =~ submitted\ ([a-z0-9]{16}) ]]
}

@test "D3: output of run that cannot be written is a failure, not the task's" {
	run -1 --separate-stderr bash -c 'shunt run -- echo hi >/dev/full'
	[[ $stderr == *'could not be written: No space left'* ]]
	[ "$(shunt show last --json | jq -r .state)" = succeeded ]
}

# Standard input without its ages and numbers, their units and the padding
# behind them.
without_numbers() {
	sed -E 's/\bnow\b|[0-9]+[smhd] ago/age/g; s/[0-9]+(\.[0-9]+)?(ms|[smhd]|[kMG]?B)?//g; s/ +/ /g'
}

@test "D4: a colour changes no text, in any command" {
	local command
	shunt run --name colours -- 'echo hi; exit 3' || true
	for command in 'ls' 'status' 'doctor' 'show last' 'lane ls' 'worker ls' \
		'explain last' 'decide -- ls' 'help' 'logs last'; do
		echo "$command"
		on_terminal 300 "shunt $command" >colours
		on_terminal 300 "NO_COLOR=1 shunt $command" >plain
		# Ages and sizes may have moved on between the two: now and 1s ago.
		diff <(plain <colours | without_numbers) <(without_numbers <plain)
		refute grep -q $'\033' plain
	done
	on_terminal 80 'shunt doctor' >colours
	grep -q $'\033\\[32mok\033\\[0m' colours
}

@test "D5: a table fits its terminal, whatever its width and the locale" {
	local columns command
	shunt submit --name 'とても長い名前のタスクと絵文字🎉 and more of it' \
		--lane claude-code -- 'echo a command that is longer than a line of 80 columns, and then some'
	shunt submit --name "$(printf 'combining e\xcc\x81%.0s' {1..9})" -- true
	printf '%s\n' 1 2 | shunt rally --name 'a rally with a long name' --each-line 'exit {}' || true
	for command in ls status 'rally status' 'lane ls' 'worker ls' doctor; do
		for columns in 20 27 40 80 81 300; do
			fits "$columns" C "$command"
		done
		[ "$command" = doctor ] || fits 79 C.UTF-8 "$command"
	done
	fits 80 POSIX ls
	fits 61 no-such-locale ls
	# Between words, below the text that they continue.
	on_terminal 40 'shunt status' | plain >table
	grep -A1 '^durability' table | sed -n 2p | grep -E '^ {12}[a-z]'
	# The id and the state stay to the last.
	on_terminal 20 'shunt ls' | plain | grep -E '^[a-z0-9]{8}  [a-z_]+'
	on_terminal 200 'shunt ls' | grep -q 'とても長い名前のタスクと絵文字🎉'
}

@test "D11: a cell has a state's colour by its column, not by its text" {
	shunt run --name failed -- true
	on_terminal 120 'shunt ls --limit 1' >table
	grep -q '  failed  ' table
	grep -q $'\033\\[32msucceeded\033' table
}

@test "A8: run in a pipe that nobody reads any more cancels its task" {
	run bash -c 'set -o pipefail; timeout 30 shunt run -- yes | head -1'
	[ "$status" -eq 141 ]
	[ "$output" = y ]
	[ "$(shunt show last --json | jq -r .state)" = cancelled ]
}

@test "A8: so does run whose task is silent" {
	run bash -c 'set -o pipefail; timeout 30 shunt run -- "echo one; sleep 1000" | head -1'
	[ "$status" -eq 141 ]
	[ "$output" = one ]
}

@test "A8: logs -f in a pipe that nobody reads ends quietly, the task goes on" {
	local id
	id=$(shunt submit -- 'while echo tick; do sleep 0.1; done')
	run --separate-stderr bash -c "set -o pipefail; timeout 30 shunt logs -f $id | head -2"
	[ "$status" -eq 141 ]
	[ "$stderr" = '' ]
	[ "$(shunt show "$id" --json | jq -r .state)" = running ]
	shunt cancel "$id"
}

@test "D11: a lane that nobody knows is refused, with the nearest" {
	run -2 --separate-stderr shunt lane pause local.defualt
	[[ $stderr == *'no such lane; did you mean local.default?'* ]]
	run -2 --separate-stderr shunt lane pause local.nope
	[[ $stderr == *'local.nope: no such lane; did you mean local.'* ]]
	run -2 --separate-stderr shunt lane pause default
	[[ $stderr == *'did you mean '*'.default?'* ]]
	# One that only the policy names is known.
	sed 's/vm-codex: .*/vm-codex: local.codex/' \
		"$BATS_TEST_DIRNAME/../../etc/policy.yaml" >"$BATS_TEST_TMPDIR/policy.yaml"
	run -2 shunt lane resume local.codex
	SHUNT_ROUTER_POLICY=$BATS_TEST_TMPDIR/policy.yaml shunt lane resume local.codex
	run -2 --separate-stderr shunt lane resume nope.nope
	[[ $stderr == *'no such lane'*'try: shunt lane ls'* ]]
	run shunt lane ls --json
	refute jq -e '.[] | select(.lane == "nope.nope")' <<<"$output"
	# One that is paused is known, with or without a worker.
	shunt lane pause local.default
	shunt lane resume local.default
}

@test "D11: names that other queues have for a command are understood" {
	local id
	id=$(shunt submit -- 'echo hi')
	shunt wait "$id"
	shunt ps | grep -q "$id"
	shunt list --json | jq -e length
	[ "$(shunt log "$id")" = hi ]
	shunt info "$id" | grep -q succeeded
	shunt inspect "$id" --json | jq -e '.state == "succeeded"'
	for command in kill stop rm; do
		id=$(shunt submit --hold -- true)
		shunt "$command" "$id"
		[ "$(shunt show "$id" --json | jq -r .state)" = cancelled ]
	done
	shunt help ls | grep -q 'also:.*ps, list'
	[ "$(shunt lane list --json)" = "$(shunt lanes --json)" ]
	shunt workers | grep -q alive
	run -2 --separate-stderr shunt lst
	[[ $stderr == *'unknown command, lst: did you mean ls?'* ]]
	run -2 --separate-stderr shunt del
	[[ $stderr == *'unknown command, del: did you mean '* ]]
}

@test "D11: no error speaks in the words of a library" {
	local url
	for url in nats://127.0.0.1:1 nats://no-such-host.invalid:4222; do
		run -7 --separate-stderr env SHUNT_HOME="$BATS_TEST_TMPDIR/none" \
			shunt --nats "$url" ls
		[[ $stderr == *"no broker answers at $url"$'\n'* ]]
	done
	# A password in the address is not printed.
	run -7 --separate-stderr env SHUNT_HOME="$BATS_TEST_TMPDIR/none" \
		shunt --nats nats://me:hunter2@127.0.0.1:1 ls
	[[ $stderr == *'no broker answers at nats://127.0.0.1:1'* ]]
	[[ $stderr != *hunter2* ]]
	url=$(<"$SHUNT_HOME/endpoint")
	run -4 --separate-stderr env SHUNT_HOME="$BATS_TEST_TMPDIR/none" \
		shunt --nats "$url" ls
	[[ $stderr == *"$url refused our credentials: look at user, token"* ]]
	: >"$BATS_TEST_TMPDIR/empty"
	chmod 600 "$BATS_TEST_TMPDIR/empty"
	run env SHUNT_HOME="$BATS_TEST_TMPDIR/none" \
		SHUNT_BUS_CA_FILE="$BATS_TEST_TMPDIR/empty" shunt --nats tls://127.0.0.1:1 ls
	[ "$status" -ne 0 ]
	[[ $output != *.c:* ]]
	[[ $output != *SSL\ routines* ]]
	for file in CERT KEY; do
		export "SHUNT_BUS_${file}_FILE=$BATS_TEST_TMPDIR/empty"
	done
	run env SHUNT_HOME="$BATS_TEST_TMPDIR/none" shunt --nats tls://127.0.0.1:1 ls
	[[ $output == *"certificate $BATS_TEST_TMPDIR/empty"*'is no PEM'* ]]
	unset SHUNT_BUS_CERT_FILE SHUNT_BUS_KEY_FILE
	echo 'not a database, whatever its name says' >"$BATS_TEST_TMPDIR/ledger.db"
	run env SHUNT_REAPER_DATABASE="$BATS_TEST_TMPDIR/ledger.db" \
		SHUNT_BUS_URL="$url" SHUNT_BUS_TOKEN_FILE="$SHUNT_HOME/token" shunt-reaper
	[ "$status" -ne 0 ]
	[[ $output == *"$BATS_TEST_TMPDIR/ledger.db"*'is no database: move it away'* ]]
}
