#!/bin/bash
# true - tasks of /bin/true from the command line to the ledger.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

true_needs='spawn wire'

true_rows() {
	section "tasks of /bin/true, $slots slots"
	mode_rows true_mode_rows
}

true_mode_rows() {
	local goal='>=0.80'
	[ "$1" = fast ] || goal='>=0.70'
	row "tasks.$1" /s "tasks, $2" limit=spawn goal="$goal"
	row "rally.$1" /s "the whole rally command, $2" limit=spawn
	costs_rows "true.$1" "task, $2" worker children
	row "run-p50.$1" us "\`shunt run -- true\`, $2, p50" "limit=latency-p50.$1"
	row "run-p99.$1" us "\`shunt run -- true\`, $2, p99" "limit=latency-p99.$1"
}

true_open() { need_fleets; }

# Rate of the tasks' ends in the ledger, the first tenth left out as start-up:
# the command's own start and the first tasks on their way.
# shellcheck disable=SC2016 # the dollars are jq's
true_steady='
def seconds: capture("^(?<s>[^.Z]+)(?<f>\\.[0-9]+)?Z$")
	| (.s + "Z" | fromdateiso8601) + ("0" + (.f // "") | tonumber);
map(select(.batch != null and .state == "succeeded"))
| if length != $n then error("\(length) of \($n) tasks succeeded") else . end
| map(.finished_at | seconds) | sort | .[(($n / 10) | floor):]
| (length - 1) / ([.[-1] - .[0], 0.001] | max)'

# rally_of NAME COMMAND TASKS ROW RALLY_ROW: a task for each of $scratch/lines;
# the last may be "" for none
rally_of() {
	local name=$1 command=$2 n=$3 fleet
	fleet_env "$name"
	took "${fleet[@]}" shunt rally --lane exec --each-line "$command" \
		<"$scratch/lines"
	[ -z "$5" ] || sample "$5" "$(calc "$n / $took")"
	output "${fleet[@]}" shunt ls --json --limit "$n"
	sample "$4" "$(jq --argjson n "$n" "$true_steady" <<<"$out")"
}

true_round() {
	local mode fleet n
	for mode in "${modes[@]}"; do
		n=$(size 100 2500 "$mode" 1000)
		seq "$n" >"$scratch/lines"
		costs_begin "fleet-$mode"
		rally_of "fleet-$mode" '/bin/true {}' "$n" "tasks.$mode" "rally.$mode"
		costs_end "fleet-$mode" "$n" "true.$mode" worker "$took_cpu"
		fleet_env "fleet-$mode"
		times "run-%s.$mode" "${fleet[@]}" "$top/bench/spawn" -t \
			-n "$(size 5 40)" -s 1 "$top/bin/shunt" run --lane exec -- true
	done
}
