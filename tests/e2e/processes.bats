# Processes of tasks: what becomes of those that are left behind or killed.
setup_file() { load helper; start_fleet --slots 4; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

long=20$$ # seconds: no run lives that long, and no other run has the same

@test "D14: what a task leaves behind is ended and named" {
	local told='ended 3 processes left behind: sleep (2), tail' id
	run shunt run --name leaves -- \
		"sleep ${long}1 & sleep ${long}1 & setsid -f tail -f /dev/null; echo hi"
	[ "$status" -eq 0 ]
	[[ $output == *"warning: $told"* ]]
	run pgrep -f "sleep ${long}1"
	[ "$status" -eq 1 ]
	id=$(shunt ls --json | jq -r '.[] | select(.name == "leaves") | .id')
	shunt show "$id" | grep -F "warning     $told"
	shunt show "$id" --json | jq -e --arg told "$told" '.warnings == [$told]'
	until_true 10 test -e "$SHUNT_HOME/reports/jobs/leaves.md"
	grep -F "| Warning | $told |" "$SHUNT_HOME/reports/jobs/leaves.md"
	# Nobody is told of a task that leaves nothing behind.
	run shunt run -- 'sleep 0.01 & wait; echo hi'
	[ "$output" = hi ]
}

@test "D14: SHUNT_KEEP=1 in its environment lets a process live on" {
	local pid
	run shunt run -- "SHUNT_KEEP=1 setsid -f sleep ${long}2 >/dev/null 2>&1"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	pid=$(pgrep -f "sleep ${long}2")
	# Neither another task's end nor that of the worker is its own.
	shunt run -- 'exit 0'
	kill -9 "$(pid_of worker-local)"
	shunt run -- 'exit 0'
	kill -0 "$pid"
	kill "$pid"
}

@test "D14: a fleet that a task starts and keeps is not expendable as the task is" {
	local own other=$BATS_FILE_TMPDIR/other name pid
	own=$(cat "/proc/$(pid_of worker-local)/oom_score_adj")
	mkdir other
	shunt run --workdir "$PWD/other" -- \
		"SHUNT_HOME=$other SHUNT_KEEP=1 shunt up -d --fast >/dev/null 2>&1"
	for name in broker reaper worker-local; do
		pid=$(SHUNT_HOME=$other pid_of $name)
		[ "$(cat "/proc/$pid/oom_score_adj")" = "$own" ]
	done
	SHUNT_HOME=$other shunt down --timeout 30s
}

@test "D14: memory: a task goes before the fleet, and the reason says so" {
	local own group=/sys/fs/cgroup/memory/shunt-test-$$ pid
	own=$(cat "/proc/$(pid_of worker-local)/oom_score_adj")
	run shunt run -- cat /proc/self/oom_score_adj
	[ "$output" -gt "$own" ] || [ "$own" -eq 1000 ]
	for name in broker reaper router; do
		[ "$(cat "/proc/$(pid_of $name)/oom_score_adj")" = "$own" ]
	done
	# We end it, and nothing is said of memory.
	run shunt run -- 'kill -9 $$'
	[ "$status" -eq 137 ]
	[[ $output == *'killed by signal 9 (Killed)' ]]

	command -v python3 && grep -q '^oom_kill ' /proc/vmstat &&
		mkdir "$group" && echo 30M >"$group/memory.limit_in_bytes" ||
		skip "needs python3 and a memory cgroup (v1) that we may create"
	run shunt run --name hungry -- "echo \$\$ >$group/cgroup.procs
		exec python3 -c 'x = bytearray(300 << 20)'"
	rmdir "$group"
	[ "$status" -eq 137 ]
	[[ $output == *'killed by signal 9 (Killed), likely out of memory' ]]
	run shunt run -- 'kill -9 $$'
	[[ $output == *'killed by signal 9 (Killed)' ]]
}
