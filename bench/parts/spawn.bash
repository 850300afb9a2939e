#!/bin/bash
# spawn - bare: what the kernel gives to whoever starts programs.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

spawn_rows() {
	section 'bare posix_spawn'
	row spawn /s "/bin/true, $slots at a time"
	row spawn-p50 us 'one alone, p50'
	row spawn-p99 us 'one alone, p99'
}

spawn_round() {
	local n
	n=$(size 300 3000)
	# With an argument, as the tasks and all peers have one: with exactly one
	# it reads its locale first.
	rate spawn "$top/bench/spawn" -n "$n" -s "$slots" /bin/true 1
	times spawn-%s "$top/bench/spawn" -t -n $((n / 10)) -s 1 /bin/true 1
}
