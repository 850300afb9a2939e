# shunt run: what a person sees of one command.
setup_file() { load helper; start_fleet --slots 4; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

long=10$$ # seconds: no run lives that long, and no other run has the same

@test "run prints the output and exits with the command's code" {
	run shunt run -- 'echo hi; exit 42'
	[ "$status" -eq 42 ]
	[ "$output" = hi ]
}

@test "stdout and stderr stay apart" {
	shunt run -- 'echo out; echo err >&2' >out.txt 2>err.txt
	[ "$(cat out.txt)" = out ]
	[ "$(cat err.txt)" = err ]
}

@test "several words are a program and its arguments, exactly" {
	run shunt run -- printf '<%s>' 'a  b' '$HOME' '*' ''
	[ "$status" -eq 0 ]
	[ "$output" = '<a  b><$HOME><*><>' ]
}

@test "the working directory and the environment are the caller's choice" {
	mkdir -p sub
	run shunt run --workdir "$PWD/sub" --env COLOR=blue -- 'pwd; echo "$COLOR"'
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "$PWD/sub" ]
	[ "${lines[1]}" = blue ]
}

@test "a task knows its id, attempt and fence" {
	run shunt run -- 'echo "$SHUNT_TASK_ID/$SHUNT_ATTEMPT/$SHUNT_FENCE"'
	[[ $output =~ ^[a-z0-9]{16}/1/[1-9][0-9]*$ ]]
}

@test "exit codes are a shell's: not found, not executable, killed" {
	run -127 shunt run -- no-such-program --flag
	: >plain.txt
	run shunt run -- ./plain.txt
	[ "$status" -eq 126 ]
	run shunt run -- 'kill -9 $$'
	[ "$status" -eq 137 ]
}

@test "a time limit ends with 124 and leaves no process" {
	run shunt run --timeout 1s -- sleep "${long}1"
	[ "$status" -eq 124 ]
	run pgrep -f "sleep ${long}1"
	[ "$status" -eq 1 ]
}

@test "a grandchild that called setsid does not survive a time limit" {
	run shunt run --timeout 1s -- \
		"setsid sleep ${long}2 </dev/null >/dev/null 2>&1 & sleep ${long}2"
	[ "$status" -eq 124 ]
	run pgrep -f "sleep ${long}2"
	[ "$status" -eq 1 ]
}

@test "what a task leaves in the background ends with the task" {
	run --separate-stderr shunt run -- \
		"(setsid sleep ${long}3 </dev/null >/dev/null 2>&1 &); echo done"
	[ "$status" -eq 0 ]
	[ "$output" = done ]
	until_true 20 gone "sleep ${long}3"
}

@test "an orphan without our environment does not survive either" {
	run shunt run -- \
		"(env -i setsid sleep ${long}4 </dev/null >/dev/null 2>&1 &); echo done"
	[ "$status" -eq 0 ]
	until_true 20 gone "sleep ${long}4"
}

@test "a task that ignores TERM is killed after the grace period" {
	run shunt run --timeout 1s -- "trap '' TERM; while :; do sleep ${long}5; done"
	[ "$status" -eq 124 ]
	run pgrep -f "sleep ${long}5"
	[ "$status" -eq 1 ]
}

@test "silence beyond the idle limit ends a task" {
	run shunt run --idle-timeout 1s -- "echo start; sleep ${long}6"
	[ "$status" -eq 124 ]
	[[ $output == *start* ]]
	[[ $output == *"no output"* ]]
}

@test "a task that keeps talking outlives its idle limit" {
	run shunt run --idle-timeout 2s -- \
		'for i in 1 2 3 4 5 6; do echo $i; read -t 0.5 <> <(:); done; echo end'
	[ "$status" -eq 0 ]
	[[ $output == *end* ]]
}

@test "bytes that are no text come back as they were" {
	printf '\000\001\377\376\300\200text\n\000' >want.bin
	shunt run -- "cat $PWD/want.bin" >got.bin
	cmp want.bin got.bin
}

@test "bytes that are no text are escaped in JSON and in reports" {
	id=$(shunt submit --name binary -- "cat $PWD/want.bin; printf '\\033[31m'")
	shunt wait "$id"
	shunt show "$id" --json | jq -e .output >/dev/null
	report=$(shunt show "$id" --json | jq -er .report)
	[ -s "$report" ]
	run grep -c $'\033' "$report"
	[ "$output" = 0 ]
	grep -q text "$report"
}

@test "a long output streams as it comes and is complete" {
	shunt run -- 'seq 1 200000' >got.txt
	seq 1 200000 | cmp - got.txt
}

@test "a gigabyte of output keeps its head and its tail, and little memory" {
	worker=$(pid_of worker-local)
	shunt run -- 'echo HEAD; head -c 1000000000 /dev/zero | tr "\0" x; echo TAIL' \
		>big.txt 2>big.err
	[ "$(head -c 4 big.txt)" = HEAD ]
	[ "$(tail -c 5 big.txt)" = TAIL ]
	grep -q dropped big.err
	size=$(stat -c %s big.txt)
	[ "$size" -gt 1000000 ]
	[ "$size" -lt 100000000 ]
	if plain_build; then
		peak=$(awk '/VmHWM/ {print $2}' "/proc/$worker/status")
		[ "$peak" -lt 65536 ]
	fi
}

@test "logs shows afterwards what run showed" {
	shunt run --name said -- 'echo one; echo two >&2' >/dev/null 2>&1
	run shunt logs said
	[ "$status" -eq 0 ]
	[[ $output == *one* ]]
	[[ $output == *two* ]]
	shunt run --name many -- 'seq 1 50000' >many.txt
	shunt logs many | cmp - many.txt
}

@test "logs -f follows a running task to its end" {
	id=$(shunt submit -- 'for i in 1 2 3; do echo line $i; read -t 0.3 <> <(:); done')
	run timeout 30 shunt logs -f "$id"
	[ "$status" -eq 0 ]
	[[ $output == *"line 1"*"line 3"* ]]
}

@test "cancel ends a running task and its processes" {
	id=$(shunt submit -- sleep "${long}7")
	until_true 20 pgrep -f "sleep ${long}7"
	shunt cancel "$id"
	run shunt wait --timeout 30s "$id"
	[ "$status" -eq 5 ]
	[ "$(shunt show "$id" --json | jq -r .state)" = cancelled ]
	run pgrep -f "sleep ${long}7"
	[ "$status" -eq 1 ]
}

@test "a task waits for the one it comes after" {
	first=$(shunt submit -- 'read -t 0.5 <> <(:); echo first >>order.txt')
	second=$(shunt submit --after "$first" -- 'echo second >>order.txt')
	shunt wait --timeout 60s "$first" "$second"
	[ "$(cat order.txt)" = $'first\nsecond' ]
}

@test "a failed command is run again as often as asked, and no more" {
	run shunt run --retries 1 -- 'echo x >>tries.txt; exit 9'
	[ "$status" -eq 9 ]
	[ "$(wc -l <tries.txt)" -eq 2 ]
}

@test "retry makes a new task of a finished one" {
	id=$(shunt submit -- 'test -e now-it-works')
	run shunt wait "$id"
	[ "$status" -eq 5 ]
	touch now-it-works
	again=$(shunt retry "$id")
	[ "$again" != "$id" ]
	shunt wait --timeout 30s "$again"
	[ "$(shunt show "$again" --json | jq -r .task.retry_of)" = "$id" ]
}

@test "the definition of done decides, not the exit code alone" {
	run shunt run --dod 'exit_code == 3' -- 'exit 3'
	id=$(shunt ls --limit 1 --json | jq -r '.[0].id')
	[ "$(shunt show "$id" --json | jq -r .state)" = succeeded ]
	run shunt submit --dod 'exit_code = 3' -- true
	[ "$status" -eq 2 ]
	[[ $output == *^* ]]
}

@test "tasks are found by id, prefix, name and last" {
	id=$(shunt submit --name findme -- true)
	shunt wait "$id"
	for sel in "$id" "${id:0:8}" findme last; do
		[ "$(shunt show "$sel" --json | jq -r .id)" = "$id" ]
	done
	run shunt show nothing-of-that-name
	[ "$status" -ne 0 ]
	[[ $output == *nothing-of-that-name* ]]
}

@test "ls lists what ran and filters by state" {
	run shunt run -- false
	[ "$status" -eq 1 ]
	shunt ls --state failed --json --limit 0 | jq -e 'length > 0 and all(.state == "failed")'
	shunt ls --state succeeded --json --limit 2 | jq -e 'length == 2'
}

@test "tasks submitted side by side run once each" {
	for i in $(seq 1 20); do
		printf '%s\n' "$i"
	done | xargs -P 8 -I{} shunt submit -- "echo {} >>each.txt" >ids.txt
	mapfile -t ids <ids.txt
	shunt wait --timeout 120s "${ids[@]}"
	[ "$(sort -n each.txt)" = "$(seq 1 20)" ]
}
