#!/bin/bash
# lib - what every part of the benchmark uses: rows, samples, and programs that
# are run with a limit of time.
#
# Sourced by bench/run. A part declares rows and adds samples to them; the
# table shows the median of a row's samples.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

say() { printf 'bench: %3d s: %s\n' "$SECONDS" "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# --- rows and samples ----------------------------------------------------

# section TITLE: stands above the rows that follow
section() { section=$1; }

# row NAME UNIT WHAT [limit=ROW] [goal='>=0.8']
# A goal is of the ratio to the limit, without a limit of the row itself. A row
# without a mechanism, NAME~MECHANISM, is held against the row with it.
row() {
	local name=$1 unit=$2 what=$3 limit=- goal=- word
	shift 3
	if [[ $name == *~* ]]; then
		set -- "limit=${name%~*}"
	fi
	for word in "$@"; do
		case $word in
		limit=*) limit=${word#limit=} ;;
		goal=*) goal=${word#goal=} ;;
		*) die "row $name: $word?" ;;
		esac
	done
	printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$part" "$section" "$name" "$unit" \
		"$what" "$limit" "$goal" >>"$rows"
}

# mode_rows FUNCTION: calls it with each mode, and with how the table says it
mode_rows() {
	local mode
	for mode in "${modes[@]}"; do
		"$1" "$mode" "$(mode_words "$mode")"
	done
}

mode_words() {
	local words=durable
	[ "${1%%~*}" = durable ] || words=--fast
	[[ $1 != *~* ]] || words+=" without ${1#*~}"
	echo "$words"
}

# turn_round MODE...: the next round has them in the opposite order
turn_round() {
	local mode
	modes=()
	for mode; do
		modes=("$mode" "${modes[@]}")
	done
}

sample() { printf '%s\t%s\n' "$1" "$2" >>"$samples"; }

# absent NAME WHY: the row says why it has no samples
absent() { printf '%s\t%s\n' "$1" "$2" >>"$notes"; }

# calc EXPRESSION: a number
calc() { awk "BEGIN { printf \"%.9g\", $1 }"; }

# size QUICK USUAL [MODE DURABLE]: how many, of whatever it is
size() {
	if [ -n "$quick" ]; then
		echo "$1"
	elif [[ ${3-} == durable* ]]; then
		echo "$4"
	else
		echo "$2"
	fi
}

# --- running things ------------------------------------------------------

# What one step left unwritten is not to be the next one's cost.
settle() { sync -f "$scratch"; }

# bounded COMMAND...: run with a limit of time, in seconds
limit_s=120
bounded() { timeout --foreground -k 5 "$limit_s" "$@"; }

# output COMMAND...: leaves what it prints in $out
output() {
	settle
	out=$(bounded "$@") || die "failed: $*"
}

# rate NAME COMMAND...: of a program that prints "rate <n>"
rate() {
	local name=$1
	shift
	output "$@"
	sample "$name" "${out#rate }"
}

# times NAME COMMAND...: of one that prints "p50_us <n> p99_us <n> max_us <n>";
# the %s in NAME stands for which
times() {
	local name=$1 p50 p99
	shift
	output "$@"
	read -r _ p50 _ p99 _ <<<"$out"
	sample "${name/\%s/p50}" "$p50"
	sample "${name/\%s/p99}" "$p99"
}

# took COMMAND...: leaves the seconds it took in $took, and those of processor
# time, with its children, in $took_cpu; what it prints goes to $scratch/out
took() {
	local begin user system
	settle
	begin=$EPOCHREALTIME
	TIMEFORMAT='%U %S'
	{ time bounded "$@" >"$scratch/out" 2>&1; } 2>"$scratch/time" || {
		tail -n 5 "$scratch/out" >&2
		die "failed: $*"
	}
	took=$(calc "$EPOCHREALTIME - $begin")
	read -r user system <"$scratch/time"
	took_cpu=$(calc "$user + $system")
}

# until_true COMMAND...: tries for 20 s, until it succeeds
until_true() {
	local deadline=$((SECONDS + 20))
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || return 1
		sleep 0.02
	done
}

# --- processes -----------------------------------------------------------

# Everything that is started and not waited for, in the order of the start.
started=()
# Functions that end processes which are not our children.
closers=()

# stop PID...: asks them to end, and kills what does not
stop() {
	local pid deadline=$((SECONDS + 10))
	kill "$@" 2>/dev/null || true
	for pid; do
		while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do
			sleep 0.02
		done
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	forget "$@"
}

forget() {
	local pid gone=" $* " left=()
	for pid in "${started[@]}"; do
		[[ $gone == *" $pid "* ]] || left+=("$pid")
	done
	started=("${left[@]}")
}

# The last first: who needs another ends before it.
stop_all() {
	local i pids=("${started[@]}")
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		stop "${pids[i]}"
	done
}

# cpu PID: nanoseconds on a processor, of all its threads
cpu() {
	cat /proc/"$1"/task/*/schedstat 2>/dev/null |
		awk '{ ns += $1 } END { printf "%.0f\n", ns }' || true # threads end
}

# cpu_children PID: of the children it has waited for
cpu_children() {
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, "")
		printf "%.0f\n", ($14 + $15) / hz * 1e9 }' "/proc/$1/stat"
}

# memory PID: resident MB
memory() { awk '/^VmRSS:/ { print $2 / 1024 }' "/proc/$1/status"; }

# peak PID: resident MB at most, since peak_begin PID or its start
peak() { awk '/^VmHWM:/ { print $2 / 1024 }' "/proc/$1/status"; }
peak_begin() { echo 5 >"/proc/$1/clear_refs"; }

# bytes PATH...: on the disk; files may vanish meanwhile
bytes() {
	du -sB1 "$@" 2>/dev/null | awk '{ n += $1 } END { printf "%.0f\n", n }' ||
		true
}
