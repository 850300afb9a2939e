#!/bin/bash
# output - tasks that print 10 KB each.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

output_needs=true

output_rows() {
	section "tasks that print 10 KB, $slots slots"
	row spawn-output /s "bare: posix_spawn of cat, $slots at a time"
	mode_rows output_mode_rows
}

output_mode_rows() {
	row "output.$1" /s "tasks, $2" limit=spawn-output
	costs_rows "output.$1" "task, $2" worker children
}

output_open() {
	need_fleets
	awk 'BEGIN { while (i++ < 256)
		print "a line of output, as many tools print.." }' >"$scratch/10k"
}

output_round() {
	local mode n
	n=$(size 60 800)
	rate spawn-output "$top/bench/spawn" -n "$n" -s "$slots" /bin/cat \
		"$scratch/10k"
	awk -v n="$n" -v file="$scratch/10k" \
		'BEGIN { while (n-- > 0) print file }' >"$scratch/lines"
	for mode in "${modes[@]}"; do
		costs_begin "fleet-$mode"
		rally_of "fleet-$mode" '/bin/cat {}' "$n" "output.$mode" ''
		costs_end "fleet-$mode" "$n" "output.$mode" worker "$took_cpu"
	done
}
