# many - thousands of short tasks, several to a message, while processes die.
# shellcheck shell=bash

# Errors seen in the round itself, one line each.
many_problems() {
	local n=$1 rc=$2 tasks messages
	[ "$rc" = 0 ] || echo "the rally ended with $rc: $(tail -n 1 "$D/many.err")"
	IFS='|' read -r tasks messages < <(ledger 'SELECT count(*),
		count(DISTINCT routed_seq) FROM tasks')
	[ "${tasks:-0}" = "$n" ] || echo "${tasks:-no} tasks of $n are in the ledger"
	((${messages:-0} < n / 2)) || echo "$tasks tasks were $messages messages"
}

# rally_of NAME TASKS: to its end
rally_of() {
	seq "$2" | timeout -k 5 300 shunt rally --name "$1" --workdir "$D" \
		--each-line "$here/task $D $seconds ok {}" >"$D/$1.out" 2>"$D/$1.err"
}

# many KILLS: kills one of the processes so many times. One slot: runs that share
# a processor would not be short. The router knows they are after the first
# hundred.
round_many() {
	local kills=$1 n=2000 first=100 i rally rc problems slots=1
	local victims=(worker-local router broker reaper)
	kind=many
	begin "many, $kills kills"
	seconds=0
	fleet_up || { verdict "no fleet: $last_words"; return; }
	rally_of first "$first"
	rally_of many "$n" &
	rally=$!
	for ((i = 0; i < kills; i++)); do
		between 3 12
		kill_process "${victims[i % ${#victims[@]}]}" && faults=$((faults + 1))
	done
	fault_ms=$(now_ms)
	wait "$rally"
	rc=$?
	settle 120
	ledger 'SELECT id FROM tasks' >>"$D/acked"
	mapfile -t problems < <(many_problems $((first + n)) "$rc")
	verdict "${problems[@]}"
}
