#!/bin/bash
# backlog - many tasks wait for a worker, then one takes them all: whether it
# gets slower, and what every process holds meanwhile.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

# backlog_size: how many tasks
backlog_size() {
	if [ -n "${BENCH_BACKLOG-}" ]; then
		echo $((10#$BENCH_BACKLOG))
	elif [ -n "$full" ]; then
		size 500 1000000
	else
		size 500 100000
	fi
}

# backlog_few TASKS: how many of them are few, but fill every window and cache
backlog_few() {
	local few=$(($1 / 10))
	((few >= 50000)) || few=$(($1 > 100000 ? 50000 : $1 / 2))
	echo "$few"
}

backlog_rows() {
	mode_rows backlog_mode_rows
}

backlog_mode_rows() {
	local process goal
	section "$(backlog_size) tasks wait, then a worker comes, $2"
	row "backlog-in.$1" /s 'submitted'
	row "backlog-start.$1" /s 'ended, the first fifth'
	row "backlog-middle.$1" /s 'ended, the middle fifth'
	row "backlog-end.$1" /s 'ended, the last fifth' "limit=backlog-start.$1" \
		goal='>=0.9'
	# The broker is the store: it has an entry for each message that it holds.
	for process in broker router reaper noop; do
		goal=()
		[ "$process" = broker ] || goal=("goal=<=1.1")
		row "backlog-few-$process.$1" MB "peak of $process, a few of them wait and end"
		if [ "$process" != noop ]; then
			row "backlog-full-$process.$1" MB "peak of $process, until all wait" \
				"limit=backlog-few-$process.$1" "${goal[@]}"
		fi
		row "backlog-after-$process.$1" MB "peak of $process, until all have ended" \
			"limit=backlog-few-$process.$1" "${goal[@]}"
	done
}

# backlog_memory WHEN MODE: the most that each process held since the last time
backlog_memory() {
	local process pid
	fleet_processes backlog
	while read -r process pid; do
		[ -n "$pid" ] || continue
		sample "backlog-$1-$process.$2" "$(peak "$pid")"
		peak_begin "$pid"
	done <<<"$processes"
}

backlog_round() {
	local mode
	for mode in "${modes[@]}"; do
		backlog_mode "$mode" "$(backlog_size)"
	done
}

# A few wait and are dealt with first, in the same way: so every process has
# done all it does before its memory is compared.
backlog_mode() {
	local mode=$1 n=$2 few words client limit_s=7200
	few=$(backlog_few "$n")
	fleet_start backlog "$mode"
	broker_words backlog
	client=("$top/bench/client" "${words[@]}")
	output "${client[@]}" -n "$few" -b few submit
	backlog_drain few "$few"
	backlog_quiet
	backlog_memory few "$mode"
	stop "${noop_pid[backlog]}"
	unset 'noop_pid[backlog]'
	rate "backlog-in.$mode" "${client[@]}" -n "$n" -b all submit
	output "${client[@]}" -n "$n" filled
	backlog_memory full "$mode"
	backlog_drain all "$n"
	backlog_part start "$n" 0 "$mode"
	backlog_part middle "$n" 0.4 "$mode"
	backlog_part end "$n" 0.8 "$mode"
	backlog_memory after "$mode"
	fleet_stop backlog
}

# backlog_quiet: the ledger has written its reports, or a minute has passed
backlog_quiet() {
	local before=none now='' tries=60
	until [ "$now" = "$before" ] || ((tries-- == 0)); do
		before=$now
		sleep 1
		now=$(cpu "${reaper_pid[backlog]}")
	done
}

# backlog_drain BATCH TASKS: they are routed, then a worker takes them
backlog_drain() {
	output "${client[@]}" -n "$2" filled
	noop_start backlog
	bounded "${client[@]}" -n "$2" -b "$1" watch >"$scratch/drained" ||
		die 'the backlog was not dealt with'
}

# backlog_part WHICH TASKS FROM MODE: the rate of the fifth from there on
backlog_part() {
	sample "backlog-$1.$4" "$(awk -v n="$2" -v from="$3" '
		$2 > n * from && !first { first = $1; had = $2 }
		$2 >= n * (from + 0.2) && !last { last = $1; has = $2 }
		END { print (has - had) / (last - first > 0.001 ? last - first : 0.001) }
		' "$scratch/drained")"
}
