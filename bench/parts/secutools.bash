#!/bin/bash
# secutools - prompts that an AI platform does: all at once in flight, against
# the stand-in of the tests.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

secutools_rows() {
	section 'jobs at an AI platform (tests/fake/secutools), 32 connections'
	row curl-multi /s 'bare: libcurl; jobs that are over at once'
	mode_rows secutools_quick_rows
	row curl-multi-wait /s 'bare: jobs of some 8 s, all in flight'
	mode_rows secutools_wait_rows
}

secutools_quick_rows() {
	row "secutools-quick.$1" /s "over at once, submit to ledger, $2" \
		limit=curl-multi
	row "secutools-cpu.$1" us "processor time of the worker per job, $2"
}

secutools_wait_rows() {
	row "secutools-wait.$1" /s "some 8 s, submit to ledger, $2" \
		limit=curl-multi-wait goal='>=0.7'
	row "secutools-memory.$1" MB "shunt-worker-secutools at its largest, $2" \
		goal='<=64'
}

# What the stand-in plays; the looks are 1 s, 1.5 s, 2.3 s and 3.4 s apart.
secutools_quick='add two and two'
secutools_wait='[poll=running,running,running,succeeded] add two and two'

# platform_start: a fresh one, at $platform; it keeps every job it was given
platform_start() {
	mkfifo "$scratch/platform.in"
	exec {platform_in}<>"$scratch/platform.in"
	"$top/tests/fake/secutools" <"$scratch/platform.in" \
		>"$scratch/platform.out" 2>&1 &
	platform_pid=$!
	started+=("$platform_pid")
	until_true grep -q ^port "$scratch/platform.out" ||
		die "no platform: $(cat "$scratch/platform.out")"
	platform=http://127.0.0.1:$(sed -n 's/^port //p' "$scratch/platform.out")
}

platform_stop() {
	exec {platform_in}>&-
	stop "$platform_pid"
	rm "$scratch"/platform.*
}

# secutools_start NAME: serves the platform's lanes; leaves it in $secutools_pid
secutools_start() {
	daemon "$1" env SECUTOOLS_API_KEY=secret shunt-worker-secutools \
		--worker-name platform --secutools-url "$platform" \
		--secutools-poll_first "$secutools_first" \
		--worker-state_dir "$scratch/$1/secutools"
	secutools_pid=$daemon
}

# secutools_fleet MODE ROW FIRST N PROMPT: a fleet of its own does N jobs
secutools_fleet() {
	local words
	platform_start
	secutools_first=$3
	fleet_start secutools "$1" secutools
	broker_words secutools
	secutools_began=$(cpu "$secutools_pid")
	rate "$2.$1" "$top/bench/client" "${words[@]}" -n "$4" -p "$5" run
	secutools_cpu=$(calc "($(cpu "$secutools_pid") - $secutools_began) / 1000 / $4")
	secutools_peak=$(awk '/^VmHWM:/ { print $2 / 1024 }' "/proc/$secutools_pid/status")
	stop "$secutools_pid"
	fleet_stop secutools
	platform_stop
}

# secutools_bare ROW FIRST_MS PROMPT
secutools_bare() {
	platform_start
	SECUTOOLS_API_KEY=secret rate "$1" "$top/bench/curl_multi" \
		-n "$(size 500 10000)" -w "$2" -p "$3" "$platform"
	platform_stop
}

secutools_round() {
	local mode n
	for mode in "${modes[@]}"; do
		n=$(size 500 10000 "$mode" 3000)
		secutools_fleet "$mode" secutools-quick 1ms "$n" "$secutools_quick"
		sample "secutools-cpu.$mode" "$secutools_cpu"
		secutools_fleet "$mode" secutools-wait 1s "$(size 500 10000)" "$secutools_wait"
		sample "secutools-memory.$mode" "$secutools_peak"
	done
	secutools_bare curl-multi 1 "$secutools_quick"
	secutools_bare curl-multi-wait 1000 "$secutools_wait"
}
