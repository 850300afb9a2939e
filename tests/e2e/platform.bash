# platform - the worker of the AI platform and a fake platform, for the files that
# test them. Load after helper.
# shellcheck shell=bash

start_platform() {
	local fake
	fake=$(cd "${SHUNT_BIN%/bin}" && pwd)/tests/fake/secutools
	mkfifo "$BATS_FILE_TMPDIR/fake.in"
	FAKE_KEY=top-secret-key "$fake" <>"$BATS_FILE_TMPDIR/fake.in" \
		>"$BATS_FILE_TMPDIR/fake.out" 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/fake.pid"
	until_true 20 grep -q port "$BATS_FILE_TMPDIR/fake.out"
	PLATFORM=http://127.0.0.1:$(sed -n 's/^port //p' "$BATS_FILE_TMPDIR/fake.out")
	export PLATFORM
}

# The workers and the platform, then the fleet.
stop_all() {
	for pid in "$BATS_FILE_TMPDIR"/*.pid; do
		kill "$(cat "$pid")" 2>/dev/null || true
	done
	stop_fleet
}

# start_worker NAME [LANES]: with what is exported besides; its log is NAME.log
start_worker() {
	SECUTOOLS_API_KEY=${KEY-top-secret-key} SHUNT_SECUTOOLS_URL=$PLATFORM \
		SHUNT_SECUTOOLS_POLL_FIRST=${POLL:-20ms} SHUNT_SECUTOOLS_POLL_AT_MOST=${POLL:-200ms} \
		SHUNT_SECUTOOLS_LOST_AFTER=300ms SHUNT_SECUTOOLS_OPEN_FOR=100ms \
		SHUNT_SECUTOOLS_OPEN_AT_MOST=1s \
		SHUNT_BUS_URL=$(cat "$SHUNT_HOME/endpoint") \
		SHUNT_BUS_TOKEN_FILE=$SHUNT_HOME/token SHUNT_WORKER_NAME=$1 \
		SHUNT_WORKER_LANES=${2:-auto,gpu,gemini,claude-api} \
		SHUNT_WORKER_STATE_DIR=$BATS_FILE_TMPDIR/$1.state \
		"${WORKER_BIN:-$SHUNT_BIN}/shunt-worker-secutools" \
		>>"$BATS_FILE_TMPDIR/$1.log" 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/$1.pid"
	until_true 20 grep -q worker.ready "$BATS_FILE_TMPDIR/$1.log"
}

# ask_ai PROVIDER PROMPT [FLAGS]: submits, prints the id
ask_ai() {
	jq -n --arg ai "$1" --arg prompt "$2" '{prompt: $prompt,
		delegation: {allow_delegation: true, preferred_ai: $ai}}' |
		shunt submit "${@:3}" -
}

field() { # field ID JQ
	shunt show "$1" --json | jq -r "$2"
}

# has ID JQ WANTED: the field has that value.
has() {
	[ "$(field "$1" "$2")" = "$3" ]
}

# Of the job a task became: how often its key was submitted, and so on.
job() { # job ID JQ
	curl -sf "$PLATFORM/_fake/stats" |
		jq -r --arg id "$1" ".keys[] | select(.key | startswith(\$id + \":\")) | $2"
}

# job_has ID JQ: of the job a task became, that holds.
job_has() {
	[ "$(job "$1" "$2")" = true ]
}

# lane_is LANE STATE: as `shunt lane ls` shows it.
lane_is() {
	shunt lane ls --json | jq -e --arg lane "$1" --arg state "$2" \
		'.[] | select(.lane == $lane and .state == $state)'
}

stop_worker() { # stop_worker NAME
	local pid
	pid=$(cat "$BATS_FILE_TMPDIR/$1.pid")
	kill "$pid"
	until_true 20 ended "$pid" || {
		cat "$BATS_FILE_TMPDIR/$1.log"
		return 1
	}
	rm "$BATS_FILE_TMPDIR/$1.pid"
}
