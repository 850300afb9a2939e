#!/bin/bash
# beats - what the heartbeats of many idle workers cost those who listen.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

beats_workers=$(size 100 1000)

beats_rows() {
	section "processor time per second with $beats_workers idle workers"
	mode_rows beats_mode_rows
}

beats_mode_rows() {
	local process
	for process in broker router reaper; do
		row "idle-$process.$1" us "$process, no such workers, $2"
		row "beats-$process.$1" us "$process, with their heartbeats, $2"
	done
	row "worker-ls.$1" us "\`shunt worker ls\` with them all, $2"
}

# beats_window FLEET ROW MODE: what its processes do in so many seconds
beats_window() {
	local seconds process
	local -A before after
	seconds=$(size 1 5)
	beats_each "$1" before
	sleep "$seconds" # what is measured is this time itself
	beats_each "$1" after
	for process in broker router reaper; do
		sample "$2-$process.$3" \
			"$(calc "(${after[$process]} - ${before[$process]}) / 1000 / $seconds")"
	done
}

# beats_each FLEET ARRAY: the processor time of each so far
beats_each() {
	local -n into=$2
	into[broker]=$(cpu "${broker_pid[$1]}")
	into[router]=$(cpu "${router_pid[$1]}")
	into[reaper]=$(cpu "${reaper_pid[$1]}")
}

beats_once() {
	local mode words fleet pid
	for mode in "${modes[@]}"; do
		fleet_start beats "$mode" local
		broker_words beats
		beats_window beats idle "$mode"
		"$top/bench/beats" "${words[@]}" -n "$beats_workers" \
			-d "$(size 3 12)" &
		pid=$!
		started+=("$pid")
		until_true workers_heard beats "$beats_workers" ||
			die "$beats_workers workers beat and are not all listed"
		fleet_env beats
		took "${fleet[@]}" shunt worker ls
		sample "worker-ls.$mode" "$(calc "$took * 1e6")"
		beats_window beats beats "$mode"
		kill -0 "$pid" 2>/dev/null || die 'the heartbeats ended too early'
		stop "$pid"
		fleet_stop beats
	done
}
