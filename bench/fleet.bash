#!/bin/bash
# fleet - brokers and fleets that belong to the benchmark alone.
#
# Sourced by bench/run. Brokers are configured as `shunt up` does it
# (fleet/embedded_broker.c), on free ports of 127.0.0.1, and let their counters be read.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

nats=${SHUNT_NATS_SERVER:-nats-server}
declare -A broker_pid router_pid reaper_pid noop_pid local_pid fsync_pid
declare -A fleet_mode # fast or durable, perhaps with ~MECHANISM

# Whether the broker writes through by itself: since 2.10.
nats_version=
has_sync_interval=
know_nats() {
	local major minor
	nats_version=$("$nats" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+')
	IFS=. read -r major minor _ <<<"$nats_version"
	if ((major > 2 || minor >= 10)); then
		has_sync_interval=1
	fi
}

# can_write_through: whether the scratch folder's file system does
can_write_through() {
	mkdir -p "$scratch/probe" && chattr +S "$scratch/probe" 2>/dev/null
}

# can_be_durable: whether a store in the scratch folder is
can_be_durable() { [ -n "$has_sync_interval" ] || can_write_through; }

write_broker_conf() {
	local dir=$1 mode=$2
	printf 'host: 127.0.0.1\nport: -1\nhttp: "127.0.0.1:-1"\n'
	printf 'ports_file_dir: "%s"\n' "$dir/ports"
	printf 'max_payload: 1MB\nping_interval: "10s"\n'
	printf 'authorization { token: "%s" }\n' "$(cat "$scratch/token")"
	printf 'jetstream {\n  store_dir: "%s"\n' "$dir/nats"
	printf '  max_mem: 64MB\n  max_file: 1TB\n'
	if [ "$mode" = durable ] && [ -n "$has_sync_interval" ]; then
		printf '  sync_interval: always\n'
	fi
	printf '}\n'
}

broker_answers() {
	local ports
	ports=$(cat "$1/ports/"*.ports 2>/dev/null) || return 1
	jq -er '.nats[0] | sub("nats://"; "")' <<<"$ports" >"$1/address" &&
		jq -er '.monitoring[0] | sub("http://"; "")' <<<"$ports" >"$1/monitor" &&
		grep -q 'Server is ready' "$1/log"
}

# As fleet/embedded_broker.c has it, for the bare limits' brokers, too.
half=$(($(nproc) / 2))
broker_env=(GOMAXPROCS="${GOMAXPROCS:-$((half > 1 ? half : 1))}"
	GOGC="${GOGC:-200}" GOMEMLIMIT="${GOMEMLIMIT:-$(awk '/^MemTotal:/ {
		n = int($2 / 1024 / 8); print (n > 1024 ? n : 1024) "MiB" }' /proc/meminfo)}")
broker_timer_slack_ns=1000000

# broker_start NAME fast|durable|kept: its files are below $scratch/NAME.
# durable: the broker itself writes all through; kept: a fsync server syncs it
broker_start() {
	local dir=$scratch/$1 mode=${2%%~*}
	mkdir -p "$dir/nats" "$dir/ports"
	if [ "$mode" = durable ] && [ -z "$has_sync_interval" ]; then
		chattr +S "$dir/nats"
	fi
	write_broker_conf "$dir" "$mode" >"$dir/nats-server.conf"
	(
		echo "$broker_timer_slack_ns" >/proc/self/timerslack_ns
		exec env "${broker_env[@]}" "$nats" -c "$dir/nats-server.conf"
	) >"$dir/log" 2>&1 &
	started+=($!)
	broker_pid[$1]=$!
	until_true broker_answers "$dir" ||
		die "nats-server did not start: $(tail -n 5 "$dir/log")"
}

# broker_words NAME: leaves the options that lead to it in $words
broker_words() {
	words=(-u "$(cat "$scratch/$1/address")" -t "$scratch/token")
}

# broker_wire NAME: bytes that went in and out so far
broker_wire() {
	local address answer
	address=$(cat "$scratch/$1/monitor")
	exec {answer}<>"/dev/tcp/${address%:*}/${address##*:}"
	printf 'GET /varz HTTP/1.0\r\n\r\n' >&"$answer"
	sed '1,/^\r*$/d' <&"$answer" | jq '.in_bytes + .out_bytes'
	exec {answer}>&-
}

# fleet_env NAME: leaves in $fleet the words that lead a program to its broker
fleet_env() {
	local dir=$scratch/$1
	fleet=(env "SHUNT_BUS_URL=nats://$(cat "$dir/address")"
		"SHUNT_BUS_TOKEN_FILE=$scratch/token" "SHUNT_HOME=$dir/home"
		"XDG_STATE_HOME=$dir/state" "SHUNT_CONFIG=$scratch/config.yaml"
		SHUNT_BUS_LANES=local.exec)
	[ -z "${fsync_pid[$1]-}" ] || fleet+=(SHUNT_BUS_CONFIRM=true)
	[[ ${fleet_mode[$1]-} != fast* ]] || fleet+=(SHUNT_REAPER_SYNC=false)
	[[ ${fleet_mode[$1]-} != *~* ]] ||
		fleet+=("SHUNT_WITHOUT=$(tr + , <<<"${fleet_mode[$1]#*~}")")
}

# with_fleet NAME COMMAND...
with_fleet() {
	local fleet
	fleet_env "$1"
	"${fleet[@]}" "${@:2}"
}

# daemon NAME PROGRAM ARG...: leaves its process in $daemon
daemon() {
	local fleet
	fleet_env "$1"
	"${fleet[@]}" "${@:2}" >>"$scratch/$1/${2##*/}.log" 2>&1 &
	daemon=$!
	started+=("$daemon")
}

# provision NAME: streams without a limit, or a long backlog would meet it
provision() {
	with_fleet "$1" env SHUNT_BUS_MAX_BYTES=-1 timeout -k 5 60 \
		shunt provision --quiet >"$scratch/$1/provision.log" 2>&1 ||
		die "provision: $(tail -n 3 "$scratch/$1/provision.log")"
}

# fsync_start NAME: what fleet/embedded_broker.c and fleet/supervisor.c start
fsync_start() {
	local streams=$scratch/$1/nats/jetstream/\$G/streams
	chattr -R +S "$streams"/{TASKS_IN,KV_control}/msgs
	daemon "$1" "$top/bench/fsync_server" --fsync-store "$scratch/$1/nats"
	until_true grep -q ready "$scratch/$1/fsync_server.log" ||
		die "no fsync server: $(tail -n 3 "$scratch/$1/fsync_server.log")"
	fsync_pid[$1]=$daemon
}

router_start() {
	daemon "$1" shunt-router
	router_pid[$1]=$daemon
}

# noop_start NAME: serves the lane that tasks go to by themselves
noop_start() {
	daemon "$1" "$top/bench/worker_noop" --worker-name noop \
		--worker-slots 512 --worker-state_dir "$scratch/$1/noop"
	noop_pid[$1]=$daemon
}

# local_start NAME: serves the lane exec
local_start() {
	daemon "$1" shunt-worker-local --worker-name local --worker-lanes exec \
		--worker-slots "$slots" --worker-state_dir "$scratch/$1/local"
	local_pid[$1]=$daemon
}

workers_heard() {
	local n
	n=$(with_fleet "$1" shunt worker ls --json | jq length) && ((n >= $2))
}

# fleet_start NAME fast|durable [WORKER...]: with the ledger first, so that it
# hears the others' first words; workers: noop, local
fleet_start() {
	local name=$1 mode=$2 worker
	shift 2
	fleet_mode[$name]=$mode
	if [[ $mode == durable* && $mode != *fsync* ]] && can_write_through; then
		broker_start "$name" kept
		provision "$name"
		fsync_start "$name"
	else
		broker_start "$name" "$mode"
		provision "$name"
	fi
	daemon "$name" shunt-reaper
	reaper_pid[$name]=$daemon
	until_true with_fleet "$name" shunt ls ||
		die "the ledger does not answer: $(fleet_words "$name")"
	router_start "$name"
	for worker in "$@"; do
		"${worker}_start" "$name"
	done
	until_true workers_heard "$name" $# ||
		die "the workers are not heard: $(fleet_words "$name")"
}

# fleet_words NAME: the last of what its daemons said
fleet_words() { tail -q -n 3 "$scratch/$1"/{shunt-*,worker_noop}.log 2>/dev/null; }

# fleet_stop NAME: with all its files
fleet_stop() {
	local pid
	for pid in "${noop_pid[$1]-}" "${local_pid[$1]-}" "${router_pid[$1]-}" \
		"${reaper_pid[$1]-}" "${fsync_pid[$1]-}" "${broker_pid[$1]-}"; do
		[ -z "$pid" ] || stop "$pid"
	done
	unset "noop_pid[$1]" "local_pid[$1]" "router_pid[$1]" "reaper_pid[$1]" \
		"fsync_pid[$1]" "broker_pid[$1]"
	rm -rf "${scratch:?}/$1"
}

# need_fleets: one per mode, called like it; started when first needed
need_fleets() {
	local mode
	for mode in "${modes[@]}"; do
		[ -n "${broker_pid[fleet-$mode]-}" ] ||
			fleet_start "fleet-$mode" "$mode" noop local
	done
}

# --- what a run costs ----------------------------------------------------

# worker_of NAME: the local worker, whose guard was started
worker_of() {
	[ -z "${local_pid[$1]-}" ] || pgrep -P "${local_pid[$1]}" -x shunt-worker-lo
}

# fleet_processes NAME: leaves "process pid" lines in $processes
fleet_processes() {
	processes="broker ${broker_pid[$1]}
fsync ${fsync_pid[$1]-}
router ${router_pid[$1]}
reaper ${reaper_pid[$1]}
noop ${noop_pid[$1]-}
worker $(worker_of "$1")"
}

declare -A spent
# costs_begin NAME
costs_begin() {
	local process pid
	fleet_processes "$1"
	while read -r process pid; do
		[ -n "$pid" ] || continue
		spent[$process]=$(cpu "$pid")
	done <<<"$processes"
	spent[children]=$(cpu_children "$(worker_of "$1")")
	spent[wire]=$(broker_wire "$1")
	spent[disk]=$(bytes "$scratch/$1/nats" "$scratch/$1/state")
}

# costs_end NAME TASKS ROW WORKER [SUBMITTER_S]: samples per task, as
# cpu-<process>-ROW in microseconds, wire-ROW and disk-ROW in bytes
costs_end() {
	local name=$1 n=$2 row=$3 worker=$4 submitter=${5-} process pid now
	fleet_processes "$name"
	while read -r process pid; do
		case $process in
		noop | worker) [ "$process" = "$worker" ] || continue ;;
		esac
		[ -n "$pid" ] || continue
		now=$(cpu "$pid")
		sample "cpu-$process-$row" \
			"$(calc "($now - ${spent[$process]}) / 1000 / $n")"
	done <<<"$processes"
	if [ "$worker" = worker ]; then
		now=$(cpu_children "$(worker_of "$name")")
		sample "cpu-children-$row" \
			"$(calc "($now - ${spent[children]}) / 1000 / $n")"
	fi
	[ -z "$submitter" ] ||
		sample "cpu-submitter-$row" "$(calc "$submitter * 1e6 / $n")"
	now=$(broker_wire "$name")
	sample "wire-$row" "$(calc "($now - ${spent[wire]}) / $n")"
	now=$(bytes "$scratch/$name/nats" "$scratch/$name/state")
	sample "disk-$row" "$(calc "($now - ${spent[disk]}) / $n")"
}

# costs_rows ROW WHAT WORKER [CHILDREN]
costs_rows() {
	local row=$1 what=$2 worker=$3 children=${4-} process fsync=
	[[ $row != *durable* || $row == *fsync* ]] || ! can_write_through ||
		fsync=fsync
	for process in broker $fsync router reaper "$worker" ${children:+children} submitter; do
		row "cpu-$process-$row" us "processor time of $process per $what"
	done
	row "wire-$row" B "bytes through the broker per $what"
	row "disk-$row" B "growth of store and ledger per $what"
}
