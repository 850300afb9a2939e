# powercut - what a power cut leaves of a fleet's disk.
#
# The state folder is a file system in a file. While tasks are submitted from
# elsewhere all processes are stopped, and the file is copied without a sync: the
# copy has what the kernel had written back by then, as a disk would after a power
# cut. A new fleet continues with the copy.
# shellcheck shell=bash

cut_after=12 # of submissions before the cut

# powercut durable|fast: with durable nothing may be missing. With fast something
# must be, or this test could not detect a loss.
round_powercut() {
	local mode=$1 flags=() problems=() missing
	kind=powercut-$mode
	begin "power cut, $mode"
	[ "$mode" != fast ] || flags=(--fast)
	image "$D/disk.img" || skip "mount is not allowed here: $(tail -n 1 "$D/mount.err")"
	seconds=0
	fleet_up -- "${flags[@]}" || { verdict "no fleet: $last_words"; return; }
	if [ "$mode" = durable ] &&
		[ "$(jq .durable "$SHUNT_HOME/status.json")" != true ]; then
		skip "this broker on this file system cannot be durable"
	fi
	nap 8 # a stream's own creation is older than what is lost
	cp "$SHUNT_HOME/token" "$D/token"
	submit_for_a_while
	cut_power
	faults=1
	fault_ms=$(now_ms)
	if ! fleet_up -- "${flags[@]}"; then
		[ "$mode" = fast ] || problems+=("no fleet on the copy: $last_words")
		missing=$(wc -l <"$D/acked")
	else
		missing=$(missing_tasks)
		[ "$mode" = fast ] || probe "$fault_ms"
	fi
	say "$missing of $(wc -l <"$D/acked") acknowledged submissions are not in the broker's store"
	if [ "$mode" = fast ]; then
		[ "$missing" != 0 ] ||
			problems+=('nothing was missing with --fast: this test cannot see a loss')
		verdict_of_loss "$missing" "${problems[@]}"
		return
	fi
	[ "$missing" = 0 ] || problems+=("$missing acknowledged submissions are missing")
	settle 180
	verdict "${problems[@]}"
}

# Creates it and mounts it as the state folder.
image() {
	truncate -s 400M "$1"
	mkfs.ext4 -q -F "$1" 2>"$D/mount.err" || return 1
	mount_image "$1" || return 1
	chmod 700 "$SHUNT_HOME"
}

mount_image() {
	mount -o loop "$1" "$SHUNT_HOME" 2>"$D/mount.err" || return 1
	grep -qxF "$SHUNT_HOME" "$D/mounts" || echo "$SHUNT_HOME" >>"$D/mounts"
}

submit_for_a_while() {
	local url until=$((SECONDS + cut_after)) i pids=()
	url=$(cat "$SHUNT_HOME/endpoint")
	for i in 1 2; do
		(
			n=0
			while ((SECONDS < until)); do
				n=$((n + 1))
				submit_one "load-$i-${n}1" SHUNT_HOME="$D/away-$i" \
					SHUNT_BUS_URL="$url" \
					SHUNT_BUS_TOKEN_FILE="$D/token" >/dev/null
			done
		) &
		pids+=($!)
	done
	wait "${pids[@]}"
}

# The broker first: what it has acknowledged until then counts.
cut_power() {
	local pid pids
	kill_process broker STOP
	pids=$(ours)
	for pid in $pids; do
		kill -STOP "$pid" 2>/dev/null
	done
	cp --sparse=always "$D/disk.img" "$D/copy.img"
	for pid in $(ours); do
		kill -KILL "$pid" 2>/dev/null
	done
	wait_for 10 umount "$SHUNT_HOME" || umount -l "$SHUNT_HOME"
	mount_image "$D/copy.img" || say "the copy does not mount"
}

# Acknowledged tasks that are not in the broker's store.
missing_tasks() {
	timeout 60 "$CHAOS_PEEK" "$(cat "$SHUNT_HOME/endpoint")" \
		"$SHUNT_HOME/token" tasks | jq -r .id | sort >"$D/kept"
	sort "$D/acked" | comm -23 - "$D/kept" | wc -l
}

# An expected loss is not an error: it is only counted as missing.
verdict_of_loss() {
	local missing=$1
	shift
	jq -nc --arg kind "$kind" --arg round "$round" --argjson missing "$missing" \
		--argjson n "$(wc -l <"$D/acked")" \
		--argjson more "$(jq -nc '$ARGS.positional' --args -- "$@")" \
		'{kind: $kind, round: $round, faults: 1, submitted: $n,
		  terminal: ($n - $missing), missing: $missing, lost: 0,
		  duplicated: 0, wrong: 0, problems: $more}'
}
