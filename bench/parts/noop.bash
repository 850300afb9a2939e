#!/bin/bash
# noop - tasks that are over at once: all that is left is shunt.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

noop_needs='wire sqlite'

noop_rows() {
	section 'tasks without a child process (bench/worker_noop)'
	mode_rows noop_mode_rows
}

noop_mode_rows() {
	row "noop.$1" /s "submit to ledger, $2" "limit=three.$1" goal='>=0.43'
	row "noop-p.$1" /s "the same, hops of 3 processes, $2" "limit=three-p.$1" \
		goal='>=0.43'
	row "noop-submit.$1" /s "submission alone, $2" "limit=publish.$1"
	costs_rows "noop.$1" "task, $2" noop
}

noop_open() { need_fleets; }

noop_round() {
	local mode words n
	for mode in "${modes[@]}"; do
		n=$(size 500 100000 "$mode" 20000)
		broker_words "fleet-$mode"
		costs_begin "fleet-$mode"
		took "$top/bench/client" "${words[@]}" -n "$n" run
		costs_end "fleet-$mode" "$n" "noop.$mode" noop "$took_cpu"
		out=$(cat "$scratch/out")
		sample "noop.$mode" "${out#rate }"
		sample "noop-p.$mode" "${out#rate }"
		noop_submit "$mode" "$n"
	done
}

# To a broker of its own, where nobody takes what is submitted.
noop_submit() {
	local words
	broker_start submit "$1"
	provision submit
	broker_words submit
	rate "noop-submit.$1" "$top/bench/client" "${words[@]}" -n "$2" submit
	fleet_stop submit
}
