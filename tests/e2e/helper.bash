# helper - a separate fleet for each file, and functions shared by the tests.
# shellcheck shell=bash

bats_require_minimum_version 1.5.0
: "${SHUNT_BIN:?run these through tests/run}"
PATH=$SHUNT_BIN:$PATH
unset NATS_URL NATS_CREDS SHUNT_CONFIG SHUNT_BUS_URL SHUNT_BUS_TOKEN_FILE
export NO_COLOR=1 LC_ALL=C.UTF-8 XDG_CONFIG_HOME=$BATS_FILE_TMPDIR/config

# A folder per file: no .shunt.yaml of the checkout is found from there.
new_home() {
	export SHUNT_HOME=$BATS_FILE_TMPDIR/home
	mkdir -p "$BATS_FILE_TMPDIR/work"
	cd "$BATS_FILE_TMPDIR/work" || return 1
}

start_fleet() {
	new_home
	# Descriptor 3 is bats' own: a daemon that held it would keep bats waiting.
	shunt up -d --fast "$@" 3>&-
}

stop_fleet() {
	[ -n "${SHUNT_HOME:-}" ] || return 0
	if ! shunt down --timeout 30s 3>&-; then
		tail -n 20 "$SHUNT_HOME"/log/*.log
		return 1
	fi
}

work_dir() {
	cd "$BATS_FILE_TMPDIR/work" || return 1
}

# refute COMMAND...: it fails. A bare "!" fails no test but in the last line.
refute() { ! "$@"; }

# until_true SECONDS COMMAND... - repeats it until it succeeds or time is up.
until_true() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS >= deadline)); then
			echo "never became true: $*"
			return 1
		fi
		pause
	done
}

# Gives the processor away for a moment.
pause() {
	read -r -t 0.05 <> <(:) || true
}

# The pid of a daemon; of worker-local that of the worker, not of its guard.
pid_of() {
	local pid
	pid=$(shunt status --json | jq -er --arg name "$1" \
		'.processes[] | select(.name == $name) | .pid') || return
	if [ "$1" = worker-local ]; then
		pgrep -P "$pid" -x shunt-worker-lo
	else
		echo "$pid"
	fi
}

# No process has such a command line.
gone() {
	! pgrep -f -- "$1"
}

# The process is gone, or waits only for a parent that does not care.
ended() {
	! grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status" 2>/dev/null
}

# publish SUBJECT FILE [REPLY] - the file's bytes as one core message; an answer
# goes to REPLY.
publish() {
	local url token host port size reply
	url=$(cat "$SHUNT_HOME/endpoint")
	token=$(cat "$SHUNT_HOME/token")
	host=${url#nats://}
	port=${host##*:}
	host=${host%:*}
	size=$(stat -c %s "$2")
	exec 7<>"/dev/tcp/$host/$port" || return 1
	{
		printf 'CONNECT {"verbose":false,"auth_token":"%s"}\r\n' "$token"
		printf 'PUB %s %s %s\r\n' "$1" "${3:-}" "$size"
		cat "$2"
		printf '\r\nPING\r\n'
	} >&7
	while read -r -t 5 reply <&7; do
		case $reply in
		PONG*) break ;;
		-ERR*) echo "$reply" && break ;;
		esac
	done
	exec 7>&-
	[[ $reply == PONG* ]]
}

# web PATH [CURL ARGUMENT...] - asks the HTTP interface of the fleet.
web() {
	curl -sSf --max-time 10 --unix-socket "$SHUNT_HOME/http.sock" "${@:2}" "http://localhost$1"
}

# Sanitizers need additional memory and time.
plain_build() {
	[[ $SHUNT_BIN != */flavor-*[ds]* || $SHUNT_BIN == */flavor-clang/* ]]
}
