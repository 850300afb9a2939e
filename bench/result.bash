#!/bin/bash
# result - the samples as JSON (docs/schema/bench.json), and that as a table.
#
# Sourced by bench/run.
# shellcheck disable=SC2154 # shared with bench/run

# facts: what was measured on, and with
facts() {
	jq -n --arg kernel "$(uname -sr)" --argjson cores "$(nproc)" \
		--arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		--argjson memory "$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)" \
		--arg fs "$(df --output=fstype "$scratch" | tail -n 1)" --arg load "$load" \
		--arg shunt "$(shunt version | head -n 1)" \
		--arg commit "$(git describe --always --dirty 2>/dev/null || true)" \
		--arg nats "$nats_version" \
		--arg libnats "$(pkg-config --modversion libnats)" \
		--arg sqlite "$(pkg-config --modversion sqlite3)" \
		--arg gcc "$("${CC:-cc}" --version | head -n 1)" '
{machine: {cores: $cores, cpu: $cpu, kernel: $kernel, memory_bytes: ($memory * 1024),
	file_system: $fs, load_before: ($load | split(" ") | map(tonumber))},
versions: {shunt: $shunt, commit: $commit, "nats-server": $nats,
	"nats.c": $libnats, sqlite: $sqlite, compiler: $gcc}}'
}

# A ratio is the median of the rounds' own ratios where both were measured in
# every round: what disturbs a round disturbs both.
# shellcheck disable=SC2016 # the dollars are jq's
result_program='
def lines: split("\n") | map(select(. != "") | split("\t"));
def median: sort | if length == 0 then null
	elif length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def ratios($limit): . as $s
	| if ($limit | length) == 0 or length == 0 then []
	elif length == ($limit | length) then
		[range(length) | select($limit[.] > 0) | $s[.] / $limit[.]]
	elif ($limit | median) > 0 then [median / ($limit | median)] else [] end;
def goal($text; $limit): if $text == "-" then null else
	{of: (if $limit == null then "median" else "ratio" end), op: $text[:2],
	value: ($text[2:] | tonumber)} end;
def met($x): if $x == null then null
	elif .op == ">=" then $x >= .value else $x <= .value end;
(reduce ($samples | lines)[] as $s ({}; .[$s[0]] += [$s[1] | tonumber]))
	as $by
| (reduce ($notes | lines)[] as $n ({}; .[$n[0]] = $n[1])) as $note
| {schema: "shunt.bench/1", at: $at, took_s: $took, rounds: $rounds,
	quick: ($quick == 1), parts: ($parts | split(" ")),
	modes: ($modes | split(" "))} + $facts
+ {rows: [$rows | lines[] | {part: .[0], section: .[1], name: .[2],
	unit: .[3], what: .[4], samples: ($by[.[2]] // []),
	limit: (if .[5] == "-" then null else .[5] end), goal: .[6]}
	| .note = $note[.name]
	| .median = (.samples | median)
	| .min = (.samples | min) | .max = (.samples | max)
	| .limit as $limit
	| (.samples | ratios(if $limit then $by[$limit] // [] else [] end))
		as $ratios
	| .ratio = ($ratios | median)
	| .ratio_min = ($ratios | min) | .ratio_max = ($ratios | max)
	| .goal = goal(.goal; .limit)
	| if .goal then .goal.met = (if .goal.of == "ratio" then .ratio
		else .median end) as $x | (.goal | met($x)) else . end]}'

# write_result FILE
write_result() {
	jq -n --rawfile rows "$rows" --rawfile samples "$samples" \
		--rawfile notes "$notes" --arg at "$at" --argjson took "$SECONDS" \
		--argjson rounds "$rounds" --argjson quick "${quick:-0}" \
		--arg parts "${parts[*]}" --arg modes "${plain_modes[*]}" \
		--argjson facts "$(facts)" "$result_program" >"$1.tmp"
	mv "$1.tmp" "$1"
}

# print_result FILE
# shellcheck disable=SC2016 # the dollars are jq's
print_result() {
	local section='' shown what median spread unit ratio limit goal
	jq -r '.machine as $m | .versions as $v |
"\($m.cores) cores, \($m.cpu), \($m.memory_bytes / 1073741824 | floor) GB, " +
"\($m.kernel), \($m.file_system), load before \($m.load_before | join(" "))",
"\($v.shunt) \($v.commit), nats-server \($v["nats-server"]), nats.c " +
"\($v["nats.c"]), sqlite \($v.sqlite), \($v.compiler)",
(if .quick then "one small round: a smoke run, the numbers mean little"
else "\(.rounds) rounds, \(.took_s) s" end)' "$1"
	jq -r 'def short: if . >= 100 then round else (. * 10 | round) / 10 end;
def two: (. * 100 | round) / 100;
.rows[] | [.section, .what]
+ (if .median == null then [.note // "not measured", "", "", "-", "", ""]
else [(.median | short), "\(.min | short) - \(.max | short)", .unit,
	(if .ratio == null then "-" else (.ratio | two) end),
	(if .ratio == null then "" else "of \(.limit)" end),
	(.goal | if . == null or .met == null then "" else
		"goal \(.op) \(.value): \(if .met then "met" else "missed" end)" end)]
end) | map(if . == "" then " " else . end) | @tsv' "$1" |
		while IFS=$'\t' read -r shown what median spread unit ratio limit goal; do
			if [ "$shown" != "$section" ]; then
				section=$shown
				printf '\n%-62s %9s %19s %-3s %6s\n' "$section" median \
					'min - max' '' ratio
			fi
			printf '  %-60s %9s %19s %-3s %6s  %-30s %s\n' "$what" "$median" \
				"$spread" "$unit" "$ratio" "$limit" "$goal"
		done | sed 's/ *$//'
	printf '\n%s\n' "$1"
}
