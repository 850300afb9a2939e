#!/bin/bash
# router - the router alone: a broker full of tasks, and nobody else there.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

router_needs=wire

router_rows() {
	section 'the router alone'
	mode_rows router_mode_rows
}

router_mode_rows() {
	row "router.$1" /s "tasks routed, $2" "limit=hop.$1" goal='>=0.7'
	row "router-cpu.$1" us "processor time of the router per task, $2"
}

# A fresh broker each time: the rate is that between the first and the last
# message that the broker stored for a lane.
router_round() {
	local mode words n
	for mode in "${modes[@]}"; do
		n=$(size 500 100000 "$mode" 4000)
		wire_hop "$mode"
		fleet_mode[router]=$mode
		broker_start router "$mode"
		provision router
		broker_words router
		output "$top/bench/client" "${words[@]}" -n "$n" submit
		router_start router
		rate "router.$mode" "$top/bench/client" "${words[@]}" -n "$n" routed
		sample "router-cpu.$mode" \
			"$(calc "$(cpu "${router_pid[router]}") / 1000 / $n")"
		fleet_stop router
	done
}
