# The fleet of `shunt up`: start, supervision, isolation, stop.
setup() {
	load helper
	unset SHUNT_HOME
	cd "$BATS_TEST_TMPDIR" || return 1
	export SHUNT_HOME=$BATS_TEST_TMPDIR/home
}
teardown() {
	for home in "$BATS_TEST_TMPDIR"/home*; do
		[ -d "$home" ] && SHUNT_HOME=$home shunt down --timeout 30s 3>&-
	done
	true
}

up() { shunt up -d --fast --slots 2 "$@" 3>&-; }

@test "status shows each process with pid and uptime" {
	up
	shunt status --json | jq -e '
		(.processes | map(.name) | contains(["broker", "reaper", "router", "worker-local"]))
		and all(.processes[]; .pid > 0 and .uptime_s >= 0 and .restarts == 0)
		and .supervisor.pid > 0'
	shunt submit --quiet --hold -- true
	shunt run -- true
	shunt status | grep -E '^tasks +2, 1 held, 1 succeeded$'
	run shunt status
	[ "$status" -eq 0 ]
	[[ $output == *router* ]]
}

@test "a second start of the same home is refused and names the first" {
	up
	pid=$(shunt status --json | jq .supervisor.pid)
	run shunt up -d 3>&-
	[ "$status" -ne 0 ]
	[[ $output == *"$pid"* ]]
	run shunt up 3>&-
	[ "$status" -ne 0 ]
}

@test "two homes live side by side and do not see each other" {
	up
	SHUNT_HOME=$BATS_TEST_TMPDIR/home2
	up
	[ "$(cat "$BATS_TEST_TMPDIR/home/endpoint")" != "$(cat "$SHUNT_HOME/endpoint")" ]
	shunt run --name only-here -- true
	SHUNT_HOME=$BATS_TEST_TMPDIR/home
	run shunt show only-here
	[ "$status" -ne 0 ]
	[ "$(shunt run -- echo first)" = first ]
}

@test "the broker listens on loopback only and wants the token" {
	up
	url=$(cat "$SHUNT_HOME/endpoint")
	[[ $url == nats://127.0.0.1:* ]]
	[ "$(stat -c %a "$SHUNT_HOME/token")" = 600 ]
	printf 'wrong' >"$BATS_TEST_TMPDIR/wrong"
	chmod 600 "$BATS_TEST_TMPDIR/wrong"
	SHUNT_BUS_URL=$url SHUNT_BUS_TOKEN_FILE=$BATS_TEST_TMPDIR/wrong run shunt ls
	[ "$status" -eq 4 ]
	run grep -rlFf "$SHUNT_HOME/token" "$SHUNT_HOME/log"
	[ -z "$output" ]
	run grep -slFf "$SHUNT_HOME/token" /proc/[0-9]*/cmdline
	[ -z "$output" ]
}

@test "a killed daemon is started again and the work goes on" {
	up
	for name in router reaper worker-local broker; do
		kill -9 "$(pid_of $name)"
		until_true 30 bash -c \
			"shunt status --json | jq -e '.processes[] | select(.name == \"$name\") | .restarts == 1 and .pid > 0'"
		run timeout 60 shunt run -- echo "after $name"
		[ "$status" -eq 0 ]
		[[ $output == *"after $name"* ]]
	done
}

@test "down leaves nothing running" {
	up
	mapfile -t pids < <(shunt status --json | jq '.processes[].pid, .supervisor.pid')
	shunt down
	for pid in "${pids[@]}"; do
		ended "$pid"
	done
	run shunt status
	[ "$status" -eq 7 ]
	run shunt down
	[ "$status" -eq 0 ]
}

@test "a supervisor killed with -9 takes its daemons along, and up works again" {
	up
	mapfile -t pids < <(shunt status --json | jq '.processes[].pid')
	kill -9 "$(shunt status --json | jq .supervisor.pid)"
	for pid in "${pids[@]}"; do
		until_true 10 ended "$pid"
	done
	up
	[ "$(shunt run -- echo again)" = again ]
}

@test "a task that runs when the fleet stops is run again by the next" {
	up
	id=$(shunt submit -- 'echo x >>starts.txt; test -e go-on || exec tail -f /dev/null')
	until_true 20 test -s starts.txt
	kill -TERM "$(pid_of worker-local)"
	kill -TERM "$(pid_of worker-local)"
	touch go-on
	shunt wait --timeout 60s "$id"
	shunt show "$id" --json | jq -e '.state == "succeeded"'
}

@test "the broker leaves the tasks their share, and the user the last word" {
	GOGC=150 up
	tr '\0' '\n' <"/proc/$(pid_of broker)/environ" >broker.env
	grep -qx 'GOGC=150' broker.env
	share=$(awk '/^MemTotal:/ { print int($2 / 1024 / 8) }' /proc/meminfo)
	grep -qx "GOMEMLIMIT=$((share > 1024 ? share : 1024))MiB" broker.env
	half=$(($(nproc) / 2))
	grep -qx "GOMAXPROCS=$((half > 1 ? half : 1))" broker.env
}

@test "the timers of the broker may be late, and nobody else's" {
	# Only its own may be read without privileges.
	cat >slack-of-broker <<-BROKER
		#!/bin/sh
		[ "\$1" = --version ] || cat /proc/self/timerslack_ns >'$PWD/slack'
		exec '${SHUNT_NATS_SERVER:-$(PATH=$PATH:/usr/sbin command -v nats-server)}' "\$@"
	BROKER
	chmod +x slack-of-broker
	SHUNT_NATS_SERVER=$PWD/slack-of-broker up
	[ "$(cat slack)" = 1000000 ]
	[ "$(shunt run -- cat /proc/self/timerslack_ns)" = "$(cat /proc/self/timerslack_ns)" ]
}

@test "the ledger yields to those who run tasks, and to nobody if it is told so" {
	niceness() { ps -o ni= -p "$(pid_of "$1")" | tr -d ' '; }
	up
	own=$(ps -o ni= -p $$ | tr -d ' ')
	[ "$(niceness reaper)" = $((own + 5 < 19 ? own + 5 : 19)) ]
	[ "$(niceness router)" = "$own" ]
	[ "$(shunt run -- nice)" = "$own" ]
	shunt down
	SHUNT_REAPER_NICE=0 up
	[ "$(niceness reaper)" = "$own" ]
}

@test "idle daemons are small and do nothing" {
	plain_build || skip "a sanitizer's memory is not ours"
	up
	shunt run -- true
	ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
	for name in router reaper worker-local; do
		pid=$(pid_of $name)
		rss=$(awk '/VmRSS/ {print $2}' "/proc/$pid/status")
		echo "$name $rss kB"
		[ "$rss" -le 8192 ]
	done
	supervisor=$(shunt status --json | jq .supervisor.pid)
	before=$(for name in router reaper worker-local; do ticks "$(pid_of $name)"; done; ticks "$supervisor")
	read -r -t 4 <> <(:) || true
	after=$(for name in router reaper worker-local; do ticks "$(pid_of $name)"; done; ticks "$supervisor")
	# Hundredths of a second of processor time in four seconds.
	paste <(echo "$before") <(echo "$after") | awk '$2 - $1 > 4 {exit 1}'
}

@test "doctor finds a healthy fleet healthy" {
	up
	run shunt doctor
	echo "$output"
	[ "$status" -eq 0 ]
	shunt doctor --json | jq -e .checks
}

@test "daemons live and end without a leak" {
	plain_build || skip "the sanitizer looks for leaks itself"
	command -v valgrind >/dev/null || skip "no valgrind"
	mkdir bin
	cp "$SHUNT_BIN/shunt" bin/
	for name in router worker-local reaper; do
		printf '#!/bin/sh\nexec valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9 --log-file=%s/valgrind-%s.%%p %s/shunt-%s "$@"\n' \
			"$BATS_TEST_TMPDIR" "$name" "$SHUNT_BIN" "$name" >"bin/shunt-$name"
		chmod +x "bin/shunt-$name"
	done
	PATH=$BATS_TEST_TMPDIR/bin:$PATH
	up
	run timeout 120 shunt run -- 'echo hi; exit 42'
	[ "$status" -eq 42 ]
	run bash -c "seq 1 20 | timeout 120 shunt rally --each-line 'echo {}'"
	[ "$status" -eq 0 ]
	shunt down --timeout 60s 3>&-
	run cat "$BATS_TEST_TMPDIR"/valgrind-*
	echo "$output"
	[[ $output != *"definitely lost"* ]]
	[[ $output != *"Invalid"* ]]
}
