# faults - one function per kind of fault on one machine: a fleet, tasks, the fault
# at a random moment, its removal, and the verdict on stdout.
# shellcheck shell=bash

# crash POINT kill|exit [NTH]: a process ends itself at a named place.
round_crash() {
	local point=$1 how=$2 nth=${3:-2} n=20 env
	kind=crash-${point%%.*}
	begin "$point $how #$nth"
	[ "$point" != worker.mid_run ] || { seconds=14 n=6; }
	env=("SHUNT_CRASH_AT=$point#$nth" "SHUNT_CRASH_HOW=$how"
		"SHUNT_CRASH_ONCE=$D/crashed")
	if [ "$kind" = crash-submit ]; then
		fleet_up || { verdict "no fleet: $last_words"; return; }
		round_crash_submit "$point" "$how"
		return
	fi
	fleet_up "${env[@]}" || { verdict "no fleet: $last_words"; return; }
	load "$n" 0.02
	wait_for 60 test -e "$D/crashed" || {
		settle 30
		verdict "$point was not passed $nth times"
		return
	}
	fault_ms=$(stat -c %.3Y "$D/crashed" | tr -d .)
	faults=1
	probe "$fault_ms"
	settle 180
	verdict
}

# Each third submission dies; the supervisor publishes what it left.
round_crash_submit() {
	local i env=("SHUNT_CRASH_AT=$1" "SHUNT_CRASH_HOW=$2")
	fault_ms=$(now_ms)
	for ((i = 1; i <= 18; i++)); do
		if ((i % 3)); then
			submit_one "load-$i" >/dev/null
		else
			! submit_one "load-$i" "${env[@]}" >/dev/null &&
				faults=$((faults + 1))
		fi
	done
	probe "$(now_ms)"
	settle 60
	if [ $faults = 6 ]; then
		verdict
	else
		verdict "$1 was passed $faults times of 6"
	fi
}

# wait_for SECONDS COMMAND...
wait_for() {
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < until)) || return 1
		nap 0.05
	done
}

# between LOW HIGH: a pause of so many tenths of a second, by the seed.
between() { nap "$(printf '%d.%d' $((($1 + RANDOM % ($2 - $1 + 1)) / 10)) $((RANDOM % 10)))"; }

# kill NAME: kill -9, three times, at random moments.
round_kill() {
	local who=$1 i
	kind=kill-$who
	begin "kill -9 $who"
	fleet_up || { verdict "no fleet: $last_words"; return; }
	load 60 0.1
	for i in 1 2 3; do
		between 5 25
		kill_process "$who" || continue
		faults=$((faults + 1))
		fault_ms=$(now_ms)
		probe "$fault_ms"
	done
	settle 180
	verdict
}

# The supervisor is killed: all die with it, and a new fleet continues.
round_kill_fleet() {
	kind=kill-fleet
	begin 'kill -9 of the whole fleet'
	fleet_up || { verdict "no fleet: $last_words"; return; }
	load 60 0.1
	between 10 30
	kill -KILL "$(jq -r .pid "$SHUNT_HOME/status.json")"
	faults=1
	fault_ms=$(now_ms)
	nap 1
	fleet_up || { verdict "no fleet after it: $last_words"; return; }
	probe "$fault_ms"
	settle 180
	verdict
}

effect() { grep -q "^$1 " "$D/effects"; }

# The first to have started a task, of two: its log names it.
holder_of() {
	grep -lE "task\.started.*task=$1 attempt=1" "$D"/log/w?.log |
		sed 's,.*/\(w.\)\.log$,\1,'
}

# A worker says that a task runs once it has run for a moment.
is_held() { [ -n "$(holder_of "$1")" ]; }

# A worker is stopped for longer than its lease and continued: a task of its that
# ended meanwhile must not win, one that still runs must be killed.
round_stop() {
	local running holder id i stale=() problems=()
	kind=stop-worker
	begin 'SIGSTOP of a worker beyond its lease'
	# The fleet's own worker serves another lane: the two are alone.
	fleet_up SHUNT_WORKER_LANES=claude-code ||
		{ verdict "no fleet: $last_words"; return; }
	second_worker w1 SHUNT_WORKER_LANES=default
	second_worker w2 SHUNT_WORKER_LANES=default
	running=$(seconds=300 submit_one "long-1")
	wait_for 60 is_held "$running" || {
		settle 5
		verdict "nobody holds the long task"
		return
	}
	holder=$(holder_of "$running")
	for i in 1 2 3 4 6 7; do
		id=$(seconds=15 submit_one "short-$i")
		wait_for 30 is_held "$id" ||
			problems+=("short task $i was not started")
		[ "$(holder_of "$id")" != "$holder" ] || stale+=("$id")
	done
	[ ${#stale[@]} != 0 ] ||
		problems+=("no short task is on the worker to be stopped")
	kill -STOP "$(kept "$holder")"
	faults=1
	fault_ms=$(now_ms)
	for id in "${stale[@]}"; do
		wait_for 40 effect "end $id 1" ||
			problems+=("$id did not end while its worker was stopped")
	done
	wait_for 150 effect "start $running 2" ||
		problems+=("a lost task was not started again in 150 s")
	say "another worker took over after $(($(now_ms) - fault_ms)) ms"
	for id in "${stale[@]}"; do
		wait_for 60 effect "start $id 2" ||
			problems+=("$id was not started again: no stale result competes")
	done
	kill -CONT "$(kept "$holder")"
	probe "$(now_ms)"
	wait_for 30 task_gone "$running" 1 ||
		problems+=("the stale worker's task still runs 30 s after SIGCONT")
	! effect "end $running 1" ||
		problems+=("the stale worker's long task came to its end")
	settle 150
	for id in "${stale[@]}"; do
		[ "$(ledger "SELECT result_attempt FROM tasks WHERE id = '$id'")" != 1 ] ||
			problems+=("$id: the stale attempt won")
	done
	verdict "${problems[@]}"
}

# No process of that attempt is left.
task_gone() {
	local pid
	pid=$(awk -v id="$1" -v n="$2" \
		'$1 == "start" && $2 == id && $3 == n {print $5}' "$D/effects")
	[ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null
}

# The broker is down while all others start, and starts after 30 s.
round_absent_start() {
	kind=absent-start
	begin 'broker absent for 30 s at start'
	fleet_up || { verdict "no fleet: $last_words"; return; }
	probe "$(now_ms)"
	: >"$D/recoveries"
	timeout 60 shunt down --timeout 40s >/dev/null 2>&1
	hand_start
	load 20 0.5
	nap 30
	faults=1
	keep broker "$real_nats" -c "$SHUNT_HOME/nats-server.conf"
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 120
	verdict
}

# The daemons without the supervisor, for the broker that $SHUNT_HOME names.
hand_start() {
	export SHUNT_BUS_URL
	SHUNT_BUS_URL=${1:-$(cat "$SHUNT_HOME/endpoint")}
	export SHUNT_REAPER_DATABASE=$SHUNT_HOME/ledger.db \
		SHUNT_REAPER_REPORT_ROOT=$SHUNT_HOME/reports SHUNT_WORKER_SLOTS=$slots
	[ ! -e "$SHUNT_HOME/token" ] ||
		export SHUNT_BUS_TOKEN_FILE=$SHUNT_HOME/token
	keep reaper shunt-reaper
	keep router shunt-router
	[ -n "${2:-}" ] || keep w1 env SHUNT_WORKER_NAME=w1 SHUNT_WORKER_STATE_DIR="$D/state-w1" \
		shunt-worker-local
}

# The broker dies and stays down for 30 s.
round_absent_middle() {
	kind=absent-middle
	begin 'broker absent for 30 s'
	fleet_up || { verdict "no fleet: $last_words"; return; }
	load 60 0.5
	between 10 30
	: >"$D/away"
	kill_process broker
	faults=1
	nap 30
	rm "$D/away"
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 180
	verdict
}

# The broker freezes; the supervisor notices and restarts it.
round_freeze() {
	local problems=()
	kind=freeze-broker
	begin 'broker frozen'
	fleet_up || { verdict "no fleet: $last_words"; return; }
	load 60 0.3
	between 10 30
	kill_process broker STOP
	faults=1
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 180
	grep -q 'broker.hangs' "$SHUNT_HOME/log/supervisor.log" ||
		problems+=('the supervisor did not notice')
	verdict "${problems[@]}"
}

# The broker returns with an empty store: accepted tasks are open in the ledger;
# the reaper raises an alarm and dispatches them again.
round_emptied() {
	local problems=() open
	kind=emptied-store
	emptied=emptied
	begin 'broker with an emptied store'
	fleet_up || { verdict "no fleet: $last_words"; return; }
	seconds=3
	load 40 0.02
	wait "$load_pid"
	load_pid=
	wait_for 30 all_known
	open=$(open_tasks)
	((open >= 10)) || problems+=("only $open tasks were open: nothing to dispatch again")
	: >"$D/away"
	kill_process broker
	nap 1
	rm -rf "$SHUNT_HOME/nats/jetstream"
	rm "$D/away"
	faults=1
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 240
	shunt status --json | jq -e '.alarms | any(.name == "store_lost")' >/dev/null ||
		problems+=("the ledger did not alarm: store_lost")
	verdict "${problems[@]}"
}

all_known() {
	[ "$(ledger 'SELECT count(*) FROM tasks')" -ge "$(wc -l <"$D/acked")" ]
}

# --- disks -----------------------------------------------------------------------

round_disk_broker() {
	local problems=()
	kind=disk-broker
	begin "disk of the broker's store full"
	small_disk "$SHUNT_HOME/nats" 8m
	fleet_up || { verdict "no fleet: $last_words"; return; }
	load 60 0.3
	between 10 30
	fill "$SHUNT_HOME/nats"
	faults=1
	wait_for 15 spooled ||
		problems+=('the broker went on accepting: its disk was not full')
	nap 15
	rm "$SHUNT_HOME/nats/filler"
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 240
	verdict "${problems[@]}"
}

# A submission that cannot be made durable is refused, and says so.
round_disk_spool() {
	local problems=()
	kind=disk-spool
	begin 'disk of the spool full'
	small_disk "$SHUNT_HOME/spool" 64k
	fleet_up || { verdict "no fleet: $last_words"; return; }
	load 20 0.3
	between 10 20
	fill "$SHUNT_HOME/spool"
	faults=1
	nap 3
	[ -s "$D/refused" ] ||
		problems+=("submit exited 0 with no room for its spool")
	rm "$SHUNT_HOME/spool/filler"
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 60
	verdict "${problems[@]}"
}

round_disk_ledger() {
	local problems=()
	kind=disk-ledger
	begin "disk of the ledger's database full"
	small_disk "$D/disk" 16m # room for a write-ahead log of its usual 4 MB
	ln -s "$D/disk/ledger.db" "$SHUNT_HOME/ledger.db"
	fleet_up || { verdict "no fleet: $last_words"; return; }
	load 60 0.3
	between 10 30
	fill "$D/disk"
	faults=1
	nap 12
	rm "$D/disk/filler"
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 120
	grep -q 'reaper.store' "$SHUNT_HOME/log/reaper.log" ||
		problems+=("the ledger did not notice its full disk")
	verdict "${problems[@]}"
}

# --- everything at once ------------------------------------------------------------

# Starts the fleet again when the supervisor is dead.
watch_fleet() {
	while [ ! -e "$D/calm" ] && [ ! -e "$D/stop" ]; do
		# The lock is the supervisor's while it lives.
		if flock -n "$SHUNT_HOME/lock" true 2>/dev/null; then
			fleet_up "$@" || say "up: $last_words"
		fi
		nap 1
	done
}

one_fault() {
	case $((RANDOM % 12)) in
	0 | 1) kill_process router ;;
	2 | 3) kill_process worker-local ;;
	4) kill -KILL "$(kept w2)" ;;
	5 | 6) kill_process reaper ;;
	7) kill_process broker ;;
	8) kill_process broker STOP ;;
	9)
		kill -STOP "$(kept w2)" || return 1
		(
			pid=$(kept w2)
			nap 50
			kill -CONT "$pid"
		) &
		;;
	10) kill_process worker-local STOP && (
		pid=$(pid_of worker-local)
		nap 45
		kill -CONT "$pid" 2>/dev/null
	) & ;;
	11) kill -KILL "$(jq -r .pid "$SHUNT_HOME/status.json")" ;;
	esac 2>/dev/null
}

# random SECONDS SEED: crash points at random, and any of the above.
round_random() {
	local duration=$1 seed=$2 env watcher pid
	kind=random
	RANDOM=$seed
	begin "random, $duration s, seed $seed"
	limit=5 # the one end in order hands back what runs, which does not count
	env=('SHUNT_CRASH_AT=*' "SHUNT_CRASH_SEED=$seed" 'SHUNT_CRASH_RATE=30')
	fleet_up || { verdict "no fleet: $last_words"; return; }
	shunt down --timeout 30s >/dev/null 2>&1
	watch_fleet "${env[@]}" &
	watcher=$!
	wait_for 30 pid_of worker-local
	second_worker w2 "${env[@]}"
	load $((duration * 3)) 0.3 "${env[@]}"
	SECONDS=0
	while ((SECONDS < duration)); do
		between 30 120
		one_fault && faults=$((faults + 1))
	done
	# Without faults: the same fleet without crash points.
	: >"$D/calm"
	wait "$watcher"
	kill "$load_pid" 2>/dev/null
	wait "$load_pid" 2>/dev/null
	load_pid=
	faults=$((faults + $(cat "$SHUNT_HOME"/log/*.log "$D"/log/*.log \
		"$D/submit.err" 2>/dev/null | grep -c ' crash at=')))
	: >"$D/stop.w2"
	for pid in $(ours); do
		kill -CONT "$pid" 2>/dev/null
	done
	kill -KILL "$(kept w2)" 2>/dev/null
	timeout -k 5 60 shunt down --timeout 50s >/dev/null 2>&1
	fault_ms=$(now_ms)
	fleet_up || { verdict "no fleet after it: $last_words"; return; }
	probe "$fault_ms"
	settle 300
	verdict
}
