#!/bin/bash
# secutools - prompts that an AI platform does: all at once in flight, against
# the stand-in of the tests.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

secutools_rows() {
	section 'jobs at an AI platform (tests/fake/secutools), 32 connections'
	row curl-multi /s 'bare: libcurl, submit, one look and the result of each'
	mode_rows secutools_mode_rows
}

secutools_mode_rows() {
	row "secutools.$1" /s "submit to ledger, $2" limit=curl-multi goal='>=0.7'
	row "secutools-cpu.$1" us "processor time of the worker per job, $2"
	row "secutools-memory.$1" MB "shunt-worker-secutools at its largest, $2" \
		goal='<=64'
}

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
		--secutools-poll_first 1ms \
		--worker-state_dir "$scratch/$1/secutools"
	secutools_pid=$daemon
}

secutools_round() {
	local mode words n
	for mode in "${modes[@]}"; do
		n=$(size 500 10000 "$mode" 3000)
		platform_start
		fleet_start secutools "$mode" secutools
		broker_words secutools
		spent[secutools]=$(cpu "$secutools_pid")
		rate "secutools.$mode" "$top/bench/client" "${words[@]}" -n "$n" \
			-p 'add two and two' run
		sample "secutools-cpu.$mode" \
			"$(calc "($(cpu "$secutools_pid") - ${spent[secutools]}) / 1000 / $n")"
		sample "secutools-memory.$mode" \
			"$(awk '/^VmHWM:/ { print $2 / 1024 }' "/proc/$secutools_pid/status")"
		stop "$secutools_pid"
		fleet_stop secutools
		platform_stop
	done
	platform_start
	SECUTOOLS_API_KEY=secret rate curl-multi "$top/bench/curl_multi" \
		-n "$(size 500 10000)" -p 'add two and two' "$platform"
	platform_stop
}
