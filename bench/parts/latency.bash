#!/bin/bash
# latency - one no-op task at a time through an idle fleet, by a client that
# stays connected.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

latency_needs=wire

latency_rows() {
	section 'one no-op task on an idle fleet, submit to stored result'
	mode_rows latency_mode_rows
}

latency_mode_rows() {
	row "task-p50.$1" us "$2, p50" "limit=latency-p50.$1" goal='<=2.5'
	row "task-p99.$1" us "$2, p99" "limit=task-p50.$1" goal='<=3'
}

latency_open() { need_fleets; }

latency_round() {
	local mode words
	for mode in "${modes[@]}"; do
		wire_single "$mode"
		broker_words "fleet-$mode"
		times "task-%s.$mode" "$top/bench/client" "${words[@]}" \
			-n "$(size 40 250)" latency
	done
}
