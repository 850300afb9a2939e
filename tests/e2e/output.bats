# What becomes of a task's output on its way to who reads it.
setup_file() {
	load helper
	export WORKER_KEY=w0rker-value-in-env
	API_TOKEN=$WORKER_KEY start_fleet --slots 4
}
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

token=ghp_0123456789abcdefghijABCDEFGHIJ456789

# Everything that is said of a task.
all_of() {
	shunt logs "$1" 2>&1
	shunt logs --json "$1"
	shunt show "$1"
	shunt show --json "$1"
	shunt show --json "$1" | jq -r '.output[].data | @base64d'
	shunt ls --json
	shunt explain "$1"
}

@test "C5: values of variables that hold secrets are nowhere in the output" {
	run shunt run --env "TOK=$token" --env DB_PASSWORD='it is hunter2!' --report r.md -- \
		'set -x; echo "Authorization: Bearer $TOK"; echo "$DB_PASSWORD"; exit 3'
	[ "$status" -eq 3 ]
	[[ $output == *'Authorization: Bearer ***'* ]]
	[[ $output == *"+ echo '***'"* ]]
	until_true 10 test -e r.md
	grep -q 'Bearer' r.md
	{
		echo "$output"
		cat r.md
		all_of last
	} >said.txt
	refute grep -E "$token|hunter2" said.txt
	[ "$(shunt show --json last | jq -c .task.secret_env)" = '["TOK","DB_PASSWORD"]' ]
}

@test "C5: a value that is written in two pieces is hidden, and so is the worker's" {
	run shunt run --env DB_PASSWORD=first-half/second-half -- \
		"printf first-half; sleep 0.3; echo /second-half; printenv API_TOKEN"
	[ "$output" = $'***\n***' ]
	run shunt run -- "printf ghp_; sleep 0.3; echo ${token#ghp_}; printf 'still here: '; echo 1"
	[ "$output" = $'***\nstill here: 1' ]
}

@test "C5: a secret in the command itself is not shown" {
	shunt run -- "true 'Authorization: Bearer $token' https://me:s3cret@example.org; API_KEY=abcd1234 true" &&
		all_of last >said.txt
	grep -q 'Bearer' said.txt
	grep -q 'me:\*\*\*@example.org' said.txt
	refute grep -E "$token|s3cret|abcd1234" said.txt
}

@test "C5: a task that is tried again has its secrets" {
	shunt run --env "TOK=$token" -- 'test ${#TOK} -eq 40'
	again=$(shunt retry last)
	shunt wait "$again"
	shunt run --env DB_PASSWORD=hunter2hunter --retries 1 -- \
		'[ "$SHUNT_ATTEMPT" = 2 ] && [ "${#DB_PASSWORD}" = 13 ]'
}

@test "C5: a reason does not quote a secret" {
	run -127 shunt run -- "./$token"
	run shunt show last
	[[ $output == *reason* ]]
	refute grep "$token" <<<"$output"
}

@test "D2: a character is never split, and other bytes are flagged" {
	shunt run -- 'for i in $(seq 30000); do printf 日本語; done; printf "\377\0"' >bytes.txt
	shunt logs --json last >log.json
	jq -s -e 'length > 5 and all(.[:-1][]; .text | test("^(日|本|語)+$"))' log.json
	[ "$(jq -rs '[.[] | select(.encoding)] | length' log.json)" -eq 1 ]
	jq -rs 'last | .encoding + " " + .data' log.json | {
		read -r encoding data
		[ "$encoding" = base64 ]
		[ "$(base64 -d <<<"$data" | tail -c 2 | od -An -tx1)" = ' ff 00' ]
	}
	[ "$(wc -c <bytes.txt)" -eq 270002 ]
	shunt logs last | cmp - bytes.txt
	shunt show --json last | jq -r '.output[0].data' | base64 -d | head -c -2 |
		iconv -f UTF-8 -t UTF-8 >/dev/null
}

# on_terminal COMMAND - what the command writes on a terminal.
on_terminal() {
	env -u NO_COLOR TERM=xterm script -qec "$1" /dev/null </dev/null | tr -d '\r'
}

evil='printf "\033]52;c;cm0=\007\033[2J\033[31mred\033]0;t\n\302\2332J\342\200\256end"; printf "\033]52;c" >&2'

@test "C4: on a terminal a task's output is text and colours" {
	shunt run -- "$evil" >raw.txt 2>&1
	printf '\033[31mred\nend\033[0m' >wanted.txt
	on_terminal 'shunt logs last' >seen.txt
	cmp seen.txt wanted.txt
	on_terminal "shunt run -- '$evil'" >seen.txt
	cmp seen.txt wanted.txt
	on_terminal 'shunt logs --raw last' >seen.txt
	grep -q 52 seen.txt
	grep -q $'\033\\[2J' seen.txt
	shunt logs last 2>/dev/null | grep -q $'\033\\]52;c;cm0='
}

@test "C4: names and reasons carry neither controls nor marks that reorder" {
	local command
	name=$'evil\u202ename\u200b'
	run shunt run --name "$name" --dod "log_contains(\"x\u2066y\")" -- true
	[ "$status" -ne 0 ]
	id=$(shunt ls --json --limit 1 | jq -r '.[0].id')
	for command in ls "show $id" "explain $id" "wait $id" "logs $id" status doctor \
		"show $name" "cancel $id" "lint '$name'" "logs '$name-none'"; do
		on_terminal "shunt $command" >seen.txt 2>&1 || true
		refute grep -qP '\x{202e}|\x{200b}|\x{2066}' seen.txt
		refute grep -qP '\xe2\x80\xae' seen.txt
	done
	shunt show "$id" | grep -F 'evil\u202ename\u200b'
}

@test "D1: both streams come in the order in which they were written" {
	local script
	for script in \
		'for i in $(seq 50); do echo o$i; echo e$i >&2; done' \
		'seq 8000; echo MID >&2; seq 2000; echo END >&2' \
		'printf a; printf b >&2; printf c; sleep 0.05; printf d >&2; echo e'; do
		sh -c "$script" >wanted.txt 2>&1
		shunt run -- "$script" >seen.txt 2>&1
		cmp seen.txt wanted.txt
		shunt logs last >seen.txt 2>&1
		cmp seen.txt wanted.txt
	done
	shunt run -- 'for i in 1 2 3; do echo o$i; echo e$i >&2; done' 2>/dev/null >seen.txt
	[ "$(tr '\n' ' ' <seen.txt)" = 'o1 o2 o3 ' ]
	shunt logs last 2>&1 >/dev/null | tr '\n' ' ' | grep -x 'e1 e2 e3 '
}

@test "D1: both streams of a task are pipes" {
	run shunt run -- '[ -p /dev/stdout ] && [ -p /dev/stderr ] &&
		echo a | tee /dev/stderr; echo b >/dev/stdout; echo c >/dev/stderr'
	[ "$status" -eq 0 ]
	[ "$(sort <<<"$output" | tr '\n' ' ')" = 'a a b c ' ]
}

@test "D1: a report keeps lines of both streams apart" {
	shunt run --report apart.txt -- 'printf out; echo err >&2; echo rest'
	until_true 10 test -e apart.txt
	grep -x err apart.txt
	grep -x out apart.txt
}
