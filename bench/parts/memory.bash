#!/bin/bash
# memory - what each process holds right after its start.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

memory_rows() {
	section 'memory of an idle fleet'
	mode_rows memory_mode_rows
}

memory_mode_rows() {
	row "memory-broker.$1" MB "nats-server, $2"
	row "memory-router.$1" MB "shunt-router, $2" goal='<=8'
	row "memory-reaper.$1" MB "shunt-reaper, $2" goal='<=8'
	row "memory-worker.$1" MB "shunt-worker-local, $2" goal='<=8'
}

memory_round() {
	local mode process pid
	for mode in "${modes[@]}"; do
		fleet_start idle "$mode" local
		fleet_processes idle
		while read -r process pid; do
			[ -z "$pid" ] || sample "memory-$process.$mode" "$(memory "$pid")"
		done <<<"$processes"
		fleet_stop idle
	done
}
