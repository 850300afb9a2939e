#!/bin/bash
# startup - from the start of a program to its exit.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

startup_programs=(shunt shunt-router shunt-worker-local shunt-reaper)

startup_rows() {
	local program
	section 'start of a program, p50'
	for program in "${startup_programs[@]}"; do
		row "start-$program" us "$program --version"
	done
	mode_rows startup_mode_rows
}

startup_mode_rows() {
	row "ls.$1" us "shunt ls, which asks the ledger, $2" goal='<=15000'
}

startup_open() { need_fleets; }

startup_round() {
	local mode program fleet n
	n=$(size 3 40)
	for program in "${startup_programs[@]}"; do
		output "$top/bench/spawn" -t -n "$n" -s 1 "$top/bin/$program" --version
		startup_sample "start-$program"
	done
	for mode in "${modes[@]}"; do
		fleet_env "fleet-$mode"
		output "${fleet[@]}" "$top/bench/spawn" -t -n "$n" -s 1 \
			"$top/bin/shunt" ls
		startup_sample "ls.$mode"
	done
}

startup_sample() {
	local p50
	read -r _ p50 _ <<<"$out"
	sample "$1" "$p50"
}
