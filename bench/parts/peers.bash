#!/bin/bash
# peers - the same /bin/true by programs people use for it, where installed.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

peers_needs='spawn true'

peers_rows() {
	section "/bin/true by others, $slots at a time (none is durable)"
	row xargs /s 'xargs -P' limit=spawn
	row parallel /s 'GNU parallel' limit=spawn
	row tsp /s 'task-spooler' limit=spawn
	row gearman /s 'gearman, in memory' limit=spawn
}

peers_open() {
	peers=()
	peer xargs xargs
	peer parallel parallel
	peer tsp tsp
	peer gearman gearmand gearman gearadmin
	mkdir -p "$scratch/peers"
	if [[ " ${peers[*]} " == *" gearman "* ]]; then
		gearman_start
	fi
}

# peer ROW PROGRAM...
peer() {
	local name=$1 program
	shift
	for program; do
		command -v "$program" >/dev/null || {
			absent "$name" 'not installed'
			return 0
		}
	done
	# Another program of that name, from moreutils.
	if [ "$name" = parallel ] &&
		! parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
		absent "$name" 'not installed'
		return 0
	fi
	peers+=("$name")
}

peers_round() {
	local name
	for name in "${peers[@]}"; do
		"peer_$name"
	done
}

# peer_rate ROW TASKS COMMAND...
peer_rate() {
	local name=$1 n=$2
	shift 2
	seq "$n" >"$scratch/lines"
	took "$@" <"$scratch/lines"
	sample "$name" "$(calc "$n / $took")"
}

peer_xargs() {
	peer_rate xargs "$(size 300 2000)" xargs -n 1 -P "$slots" /bin/true
}

peer_parallel() {
	peer_rate parallel "$(size 30 300)" env HOME="$scratch/peers" \
		PARALLEL_HOME="$scratch/peers" parallel --will-cite -j "$slots" \
		/bin/true '{}'
}

# Its server starts with the first command, and is told to end. The last task
# takes all slots: when it is over, all are.
peer_tsp() {
	export TS_SOCKET=$scratch/peers/tsp TS_MAXFINISHED=100
	closers=(peer_tsp_stop)
	bounded tsp -S "$slots"
	# shellcheck disable=SC2016 # the dollars are the inner shell's
	peer_rate tsp "$(size 50 700)" bash -c '
		while read -r n; do
			tsp -n /bin/true "$n"
		done >/dev/null
		tsp -N "$1" -n /bin/true
		tsp -w' - "$slots"
	peer_tsp_stop
}

peer_tsp_stop() {
	[ ! -S "$scratch/peers/tsp" ] ||
		TS_SOCKET=$scratch/peers/tsp bounded tsp -K || true
	unset TS_SOCKET TS_MAXFINISHED
}

# A port that was free a moment ago: gearmand cannot choose one itself.
gearman_start() {
	local i
	for ((gearman_port = 20000 + RANDOM % 20000; ; gearman_port++)); do
		(exec 3<>"/dev/tcp/127.0.0.1/$gearman_port") 2>/dev/null || break
	done
	gearmand -L 127.0.0.1 -p "$gearman_port" -l "$scratch/peers/gearmand.log" &
	started+=($!)
	until_true gearadmin -h 127.0.0.1 -p "$gearman_port" --server-version ||
		die "gearmand does not answer: $(tail -n 3 "$scratch/peers/gearmand.log")"
	for ((i = 0; i < slots; i++)); do
		gearman -h 127.0.0.1 -p "$gearman_port" -w -f true -- /bin/true \
			>>"$scratch/peers/worker.log" 2>&1 &
		started+=($!)
	done
	until_true gearman_ready || die 'the workers of gearman do not answer'
}

gearman_ready() {
	gearadmin -h 127.0.0.1 -p "$gearman_port" --status |
		awk -v n="$slots" '$1 == "true" && $4 == n { ok = 1 } END { exit !ok }'
}

# One submitter per slot, each with its part of the tasks, one after the other.
peer_gearman() {
	local n
	n=$(size 80 1600)
	# shellcheck disable=SC2016 # the dollars are the inner shell's
	peer_rate gearman "$n" bash -c '
		for ((i = 0; i < $1; i++)); do
			seq "$2" | gearman -h 127.0.0.1 -p "$3" -n -f true &
		done
		wait' - "$slots" $((n / slots)) "$gearman_port"
}
