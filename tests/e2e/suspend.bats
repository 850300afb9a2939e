# A closed lid: every process of the fleet and of its tasks stops, and goes on.
setup_file() { load helper; SHUNT_WORKER_LEASE=4500ms start_fleet --slots 4; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

# Time goes by, which is what these tests are about.
pass() {
	read -r -t "$1" <> <(:) || true
}

supervisor() {
	shunt status --json | jq -er .supervisor.pid
}

# suspend ID FIRST... - stops all for longer than a worker may be silent; those
# named wake first, one after the other.
suspend() {
	local task pids name
	declare -A pid
	task=$(cat "pid-$1")
	shift
	for name in broker router worker-local reaper; do
		pid[$name]=$(pid_of $name)
	done
	pids="$(supervisor) ${pid[*]}"
	# shellcheck disable=SC2086
	kill -STOP $pids "-$task"
	pass 4.2
	for name in "$@"; do
		kill -CONT "${pid[$name]}"
		pass 0.5
	done
	# shellcheck disable=SC2086
	kill -CONT $pids "-$task"
}

# outlives ORDER FIRST... - a task that runs meanwhile is neither started again
# nor out of time.
outlives() {
	local name=$1 id
	shift
	id=$(shunt submit --name "$name" --timeout 4s -- \
		"echo x >>runs-$name; echo \$\$ >new; mv new pid-$name
		until [ -e go-$name ]; do sleep 0.05; done")
	until_true 10 test -e "pid-$name"
	suspend "$name" "$@"
	until_true 10 grep -q worker.suspended "$SHUNT_HOME/log/worker-local.log"
	: >"go-$name"
	shunt wait "$id" --timeout 30s
	[ "$(wc -l <"runs-$name")" -eq 1 ]
	shunt show "$id" --json | jq -e '.state == "succeeded" and .attempts == 1'
	refute grep -q "task.fenced.*$id" "$SHUNT_HOME/log/worker-local.log"
}

@test "A6: a task goes on after a suspension, the ledger first, the broker last" {
	outlives ledger reaper worker-local router
}

@test "A6: a task goes on after a suspension, the broker first, the worker last" {
	outlives broker broker reaper router
}

@test "A6: what fails after a suspension names it" {
	local id
	id=$(shunt submit --name late --timeout 2s -- \
		'echo $$ >new; mv new pid-late; sleep 1000')
	until_true 10 test -e pid-late
	suspend late
	run shunt wait "$id" --timeout 30s
	[ "$status" -eq 5 ]
	shunt show "$id" --json | jq -e '.state == "timed_out" and .exit_code == 124
		and (.reason | test("ran longer than 2s; the machine or the fleet was suspended for [4-7]"))'
}
