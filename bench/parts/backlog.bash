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
	section "a bare store of $(backlog_size) claims"
	row backlog-bare-start /s 'made and set to an outcome, the first fifth'
	row backlog-bare-end /s 'the last fifth' limit=backlog-bare-start
	row backlog-bare-kept % 'what the last has of the first'
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
	row "backlog-kept.$1" % 'what the last has of the first' \
		limit=backlog-bare-kept
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
	backlog_bare "$(backlog_size)"
	for mode in "${modes[@]}"; do
		backlog_mode "$mode" "$(backlog_size)"
	done
}

# backlog_bare CLAIMS: on a broker that holds nothing else. No store of claims is
# written through: syncing is done by the fsync server.
backlog_bare() {
	local words first last
	broker_start backlog-bare kept
	broker_words backlog-bare
	output "$top/bench/claims" "${words[@]}" -n "$1" -b "$(backlog_few "$1")"
	read -r _ first _ last <<<"$out"
	sample backlog-bare-start "$first"
	sample backlog-bare-end "$last"
	sample backlog-bare-kept "$(calc "100 * $last / $first")"
	stop "${broker_pid[backlog-bare]}"
	rm -rf "${scratch:?}/backlog-bare"
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
	sample "backlog-kept.$mode" "$(backlog_kept "$mode")"
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

# backlog_kept MODE: how much of the first fifth's rate the last has, in this
# round
backlog_kept() {
	awk -F '\t' -v mode="$1" '
		$1 == "backlog-start." mode { start = $2 }
		$1 == "backlog-end." mode { end = $2 }
		END { print (start > 0 ? 100 * end / start : 0) }' "$samples"
}
