#!/bin/bash
# wire - bare: what JetStream gives to whoever speaks its protocol and does
# nothing else.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

wire_rows() {
	local modes=("${plain_modes[@]}")
	section 'bare JetStream'
	mode_rows wire_mode_rows
}

wire_mode_rows() {
	row "publish.$1" /s "acknowledged publishes, $2"
	row "hop.$1" /s "one hop, $2"
	row "three.$1" /s "publish and three hops, $2"
	row "three-p.$1" /s "the same, 3 processes, message ids, $2"
	row "latency-p50.$1" us "one message, three hops, $2, p50"
	row "latency-p99.$1" us "one message, three hops, $2, p99"
}

wire_open() {
	local mode
	for mode in "${plain_modes[@]}"; do
		broker_start "wire-$mode" "$mode"
	done
}

# wire_single MODE: one message at a time
wire_single() {
	local words
	[[ $1 != *~* ]] || return 0 # held against the mode's own row
	broker_words "wire-$1"
	times "latency-%s.$1" "$top/bench/pipeline" "${words[@]}" \
		-n "$(size 40 250)" -p latency
}

# wire_hop MODE: each message once from a stream to another
wire_hop() {
	local words
	[[ $1 != *~* ]] || return 0
	broker_words "wire-$1"
	rate "hop.$1" "$top/bench/pipeline" "${words[@]}" \
		-n "$(size 2000 80000 "$1" 2400)" hop
}

# A machine drifts within a round: the parts latency and router, where they are
# wanted, measure their limits right beside their own.
wire_round() {
	local mode words n
	for mode in "${plain_modes[@]}"; do
		n=$(size 1000 40000 "$mode" 1200)
		broker_words "wire-$mode"
		words=("$top/bench/pipeline" "${words[@]}")
		rate "publish.$mode" "${words[@]}" -n $((n * 2)) publish
		rate "three.$mode" "${words[@]}" -n "$n" three
		rate "three-p.$mode" "${words[@]}" -n "$n" -i -p three
		[ -n "${wanted[router]-}" ] || wire_hop "$mode"
		[ -n "${wanted[latency]-}" ] || wire_single "$mode"
	done
}
