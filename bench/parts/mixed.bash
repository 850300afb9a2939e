#!/bin/bash
# mixed - two lanes at once: every other task runs /bin/true, the rest nothing.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

mixed_needs=spawn

mixed_rows() {
	section "two lanes at once, half no-op, half /bin/true in $slots slots"
	mode_rows mixed_mode_rows
}

mixed_mode_rows() {
	row "mixed.$1" /s "tasks of both lanes, $2" limit=spawn
}

mixed_open() { need_fleets; }

mixed_round() {
	local mode words n
	for mode in "${modes[@]}"; do
		n=$(size 100 3000 "$mode" 1000)
		broker_words "fleet-$mode"
		rate "mixed.$mode" "$top/bench/client" "${words[@]}" -n "$n" \
			-l default -l exec -c /bin/true run
	done
}
