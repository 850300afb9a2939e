# lib - shared by the rounds: a fleet in its own folder, tasks for it, faults and
# the verdict.
# shellcheck shell=bash

: "${SHUNT_DEBUG_BIN:?the folder of a debug build}"
: "${CHAOS_PEEK:?the program tests/chaos/peek}"
PATH=$SHUNT_DEBUG_BIN:$PATH
unset NATS_URL NATS_CREDS SHUNT_CONFIG SHUNT_BUS_URL SHUNT_BUS_TOKEN_FILE
unset "${!SHUNT_CRASH_@}"
export NO_COLOR=1 LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
real_nats=${SHUNT_NATS_SERVER:-$(command -v nats-server || echo /usr/sbin/nats-server)}
slots=4     # of each worker
seconds=0.2 # a task's work
limit=4     # attempts: three lost ones, and one that failed
emptied=
faults=0
round=
last_words=

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
say() { printf 'chaos: %s: %s\n' "${round:-?}" "$*" >&2; }
nap() { read -r -t "$1" <> <(:) || true; }

# --- a round's folder ---------------------------------------------------------

# begin NAME: everything of the round is in $D, the fleet in $SHUNT_HOME.
begin() {
	round=$1
	D=$(mktemp -d "${CHAOS_TMP:-/tmp}/shunt-chaos.XXXXXX")
	mkdir "$D/home" "$D/once" "$D/config" "$D/log"
	chmod 700 "$D/home"
	: >"$D/acked"
	: >"$D/refused"
	: >"$D/effects"
	: >"$D/mounts"
	: >"$D/recoveries"
	export SHUNT_HOME=$D/home XDG_CONFIG_HOME=$D/config
	# The broker is started through a script, so that it can be kept down.
	cat >"$D/nats-server" <<-BROKER
		#!/bin/sh
		if [ -e '$D/away' ] && [ "\$1" != --version ]; then
			sleep 0.2
			exit 1
		fi
		exec '$real_nats' "\$@"
	BROKER
	chmod +x "$D/nats-server"
	export SHUNT_NATS_SERVER=$D/nats-server
	trap end EXIT
	trap 'exit 130' INT TERM
	cd "$D" || exit 1
}

# In any case nothing of the round remains, unless it is to be inspected.
end() {
	local status=$? pid i
	trap '' INT TERM
	set +e
	: >"$D/stop"
	rm -f "$D/away"
	for pid in $(jobs -p); do
		kill "$pid" 2>/dev/null
	done
	for pid in $(ours); do
		kill -CONT "$pid" 2>/dev/null
	done
	for pid in "$D"/pid.*; do
		[ -e "$pid" ] && kill "$(cat "$pid")" 2>/dev/null
	done
	timeout -k 5 40 shunt down --timeout 20s >/dev/null 2>&1 ||
		timeout -k 5 40 shunt down --timeout 20s >/dev/null 2>&1
	# What is left carries the folder in its command line or environment.
	for i in 1 2 3; do
		left=$(ours)
		[ -n "$left" ] || break
		# shellcheck disable=SC2086 # a list
		kill -KILL $left 2>/dev/null
		nap 0.1
	done
	[ -n "${netns:-}" ] && ip netns del "$netns" 2>/dev/null
	[ -n "${veth:-}" ] && ip link del "$veth" 2>/dev/null
	cd /
	tac "$D/mounts" | while read -r i; do
		umount "$i" 2>/dev/null || umount -l "$i"
	done
	if [ -n "${CHAOS_KEEP:-}" ] || [ -e "$D/failed" ]; then
		say "its folder is left in $D"
	else
		rm -rf "$D"
	fi
	exit "$status"
}

# Processes of this round that are not this shell.
ours() {
	local p pid
	for p in /proc/[0-9]*; do
		pid=${p#/proc/}
		[ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] || continue
		if grep -qzxF "SHUNT_HOME=$D/home" "$p/environ" &&
			[ "$(cut -d' ' -f4 "$p/stat")" != $$ ]; then
			echo "$pid"
		fi
	done 2>/dev/null
}

skip() {
	jq -nc --arg kind "$kind" --arg round "$round" --arg why "$*" \
		'{kind: $kind, round: $round, skipped: $why}'
	exit 0
}

# --- the fleet ------------------------------------------------------------------

# fleet_up [NAME=VALUE...] [-- FLAGS]: with these in its environment.
fleet_up() {
	local env=()
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		env+=("$1")
		shift
	done
	[ "${1:-}" != -- ] || shift
	env "${env[@]}" timeout -k 5 90 shunt up -d --slots "$slots" "$@" \
		>"$D/up.out" 2>&1 </dev/null || {
		last_words=$(tail -n 3 "$D/up.out")
		return 1
	}
}

pid_of() { # a process of the fleet; of worker-local the worker, not its guard
	local pid
	pid=$(jq -er --arg name "$1" \
		'.processes[] | select(.name == $name) | .pid // empty' \
		"$SHUNT_HOME/status.json" 2>/dev/null) || return
	if [ "$1" = worker-local ]; then
		pgrep -P "$pid" -x shunt-worker-lo
	else
		echo "$pid"
	fi
}

# kill_process NAME [SIGNAL]
kill_process() {
	local pid
	pid=$(pid_of "$1") || return 1
	kill "-${2:-KILL}" "$pid" 2>/dev/null
}

# keep NAME COMMAND...: runs it and starts it again when it ends, as a service
# manager would. Its pid is in $D/pid.NAME.
keep() {
	local name=$1
	shift
	(
		while [ ! -e "$D/stop" ] && [ ! -e "$D/stop.$name" ]; do
			"$@" >>"$D/log/$name.log" 2>&1 </dev/null &
			echo $! >"$D/pid.$name"
			wait $!
			nap 0.5
		done
	) 2>/dev/null & # where bash tells of every kill
}

kept() { cat "$D/pid.$1"; }

# second_worker NAME [NAME=VALUE...]: beside that of the fleet.
second_worker() {
	keep "$1" env SHUNT_BUS_URL="$(cat "$SHUNT_HOME/endpoint")" \
		SHUNT_BUS_TOKEN_FILE="$SHUNT_HOME/token" \
		SHUNT_WORKER_NAME="$1" SHUNT_WORKER_SLOTS="$slots" \
		SHUNT_WORKER_STATE_DIR="$D/state-$1" "${@:2}" \
		shunt-worker-local
}

# --- tasks ------------------------------------------------------------------------

# submit_one NAME [NAME=VALUE...]: one task, noted as acknowledged if it was.
submit_one() {
	local name=$1 how=ok retries=0 id
	shift
	if [[ $name == *[05] ]]; then
		how=fail retries=1
	fi
	if id=$(env "$@" timeout -k 5 60 shunt submit --name "$name" \
		--workdir "$D" --retries "$retries" -- \
		"$here/task" "$D" "$seconds" "$how" 2>>"$D/submit.err"); then
		echo "$id" >>"$D/acked"
		echo "$id"
	else
		echo "$name" >>"$D/refused"
		return 1
	fi
}

# load COUNT PAUSE [NAME=VALUE...]: in the background, for settle to wait for.
load() {
	local count=$1 pause=$2
	shift 2
	(
		for ((i = 1; i <= count; i++)); do
			submit_one "load-$i" "$@" >/dev/null
			nap "$pause"
		done
	) &
	load_pid=$!
}

ledger() {
	sqlite3 -readonly -cmd '.timeout 2000' "$SHUNT_HOME/ledger.db" "$@" \
		2>/dev/null
}

# probe SINCE_MS [SECONDS]: how long from then until a task that is submitted
# now has its outcome in the ledger. It passes through every process.
probe() {
	local since=$1 until=$((SECONDS + ${2:-120})) id state
	until id=$(seconds=0 submit_one "probe-$since-1"); do
		((SECONDS < until)) || return 1
		nap 0.2
	done
	while ((SECONDS < until)); do
		state=$(ledger "SELECT state FROM tasks WHERE id = '$id'")
		if [ "${state:-0}" -ge 8 ]; then
			echo $(($(now_ms) - since)) >>"$D/recoveries"
			return 0
		fi
		nap 0.05
	done
	return 1
}

spooled() { find "$SHUNT_HOME/spool/" -maxdepth 1 -name '*.task' 2>/dev/null | grep -q .; }

open_tasks() {
	local n total acked
	acked=$(sort -u "$D/acked" | wc -l)
	IFS='|' read -r n total < <(ledger \
		'SELECT count(*) FILTER (WHERE state < 8), count(*) FROM tasks')
	[ -n "${n:-}" ] || { echo all; return; }
	((total >= acked)) && echo "$n" || echo $((n + acked - total))
}

# settle SECONDS: waits until all submitted tasks have finished. The checker finds
# those that have not.
settle() {
	local until=$((SECONDS + $1)) open
	[ -z "${load_pid:-}" ] || wait "$load_pid"
	load_pid=
	while open=$(open_tasks); [ "$open" != 0 ] || spooled; do
		if ((SECONDS >= until)); then
			say "after $1 s still open: $open"
			return 0
		fi
		# Without a supervisor the next command publishes the spool.
		if spooled && [ ! -e "$SHUNT_HOME/status.json" ]; then
			timeout -k 5 20 shunt ls --limit 1 >/dev/null 2>&1
		fi
		nap 0.2
	done
	[ -z "${fault_ms:-}" ] || settled_ms=$(($(now_ms) - fault_ms))
}

# --- the verdict --------------------------------------------------------------------

# Reads everything through the broker and the command line, then checks.
verdict() {
	local url token=$SHUNT_HOME/token what verdict
	local problems=("$@")
	url=${SHUNT_BUS_URL:-$(cat "$SHUNT_HOME/endpoint" 2>/dev/null)}
	[ -e "$token" ] || token=
	for what in claims results; do
		timeout -k 5 60 "$CHAOS_PEEK" "$url" "$token" "$what" >"$D/$what" || {
			problems+=("the broker did not show its $what")
			emptied=unseen # one problem, not one per task
		}
	done
	timeout -k 5 60 shunt ls --limit 0 --json 2>"$D/ls.err" |
		jq -c '.[]' >"$D/tasks" ||
		problems+=("shunt ls: $(tail -n 1 "$D/ls.err")")
	[ "$SHUNT_HOME/ledger.db" -ef "$D/ledger.db" ] ||
		sqlite3 -readonly "$SHUNT_HOME/ledger.db" ".backup '$D/ledger.db'" ||
		problems+=("the ledger cannot be read")
	verdict=$("$here/check" "$D" "$limit" "$emptied") ||
		problems+=("the checker failed")
	[ -n "$verdict" ] || verdict='{"problems": []}'
	jq -nc --argjson v "$verdict" --arg kind "$kind" --arg round "$round" \
		--argjson faults "$faults" --argjson refused "$(wc -l <"$D/refused")" \
		--argjson recovery "$(jq -sc . "$D/recoveries")" \
		--argjson settled "${settled_ms:-null}" \
		--argjson more "$(jq -nc '$ARGS.positional' --args -- "${problems[@]}")" \
		'{kind: $kind, round: $round, faults: $faults, refused: $refused,
		  recovery_ms: $recovery, settled_ms: $settled} + $v
		 | .problems += $more' >"$D/verdict"
	jq -e '.problems == []' "$D/verdict" >/dev/null || : >"$D/failed"
	cat "$D/verdict"
}

# --- permissions --------------------------------------------------------------------

# small_disk FOLDER SIZE: a file system that is soon full.
small_disk() {
	mkdir -p "$1"
	chmod 700 "$1"
	mount -t tmpfs -o "size=$2,mode=700" shunt-chaos "$1" 2>"$D/mount.err" ||
		skip "mount is not allowed here: $(tail -n 1 "$D/mount.err")"
	echo "$1" >>"$D/mounts"
}

# Nothing more fits on the disk of that folder.
fill() {
	local free
	cat /dev/zero >"$1/filler" 2>/dev/null
	free=$(stat -f -c '%a' "$1")
	[ "$free" = 0 ] || say "$1 has $free blocks left"
}

free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 10000))
		(: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
}
