# cancel - tasks are cancelled while processes die.
# shellcheck shell=bash

starts_of() { grep -c "^start $1 " "$D/effects"; }

# cancel_some ID...: notes those that were cancelled, with the attempts that had
# started by then.
cancel_some() {
	local rc id
	timeout -k 5 120 shunt cancel --timeout 90s "$@" \
		>>"$D/cancel.out" 2>>"$D/cancel.err"
	rc=$?
	# 5: some had come to another end first, and so they are shown.
	[ $rc = 0 ] || [ $rc = 5 ] || {
		echo "the cancel of $* ended with $rc" >>"$D/cancel.problems"
		return
	}
	for id in "$@"; do
		echo "$id $(starts_of "$id")" >>"$D/cancelled"
	done
}

# What started after its cancel was acknowledged, one line each.
cancel_problems() {
	local id n
	cat "$D/cancel.problems" 2>/dev/null
	while read -r id n; do
		[ "$(starts_of "$id")" = "$n" ] ||
			echo "wrong $id: started after its cancel"
	done <"$D/cancelled"
}

# cancel [KILLS]: each of the processes in turn, amid the cancels of a third of the
# tasks, of which some are queued, some run and some wait for a retry.
round_cancel() {
	local kills=${1:-8} i k ids victims=(worker-local router broker reaper) problems=()
	kind=cancel
	begin "cancel, $kills kills"
	seconds=0.4
	: >"$D/cancelled"
	# A dead worker's tasks can be cancelled when its lease has run out.
	fleet_up SHUNT_WORKER_LEASE=5s || { verdict "no fleet: $last_words"; return; }
	for ((k = 0; k < kills; k++)); do
		ids=()
		for i in 1 2 3 4 5 6 7 8 9; do
			ids+=("$(submit_one "load-$k$i")")
		done
		cancel_some "${ids[0]}" "${ids[4]}" "${ids[8]}" &
		kill_process "${victims[k % ${#victims[@]}]}" && faults=$((faults + 1))
		wait $!
	done
	fault_ms=$(now_ms)
	settle 120
	[ "$(wc -l <"$D/cancelled")" != 0 ] || problems=("nothing was cancelled")
	mapfile -t -O "${#problems[@]}" problems < <(cancel_problems)
	verdict "${problems[@]}"
}
