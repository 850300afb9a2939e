#!/usr/bin/env bats
# A cancel is final: whatever it meets, nothing of the task starts afterwards.

load helper

setup_file() { start_fleet --slots 1; }
teardown_file() { stop_fleet; }
setup() { work_dir; }

state() { shunt show "$1" --json | jq -r .state; }
is() { [ "$(state "$1")" = "$2" ]; }

@test "A1: a task that waits behind another is cancelled, too, twenty times" {
	for i in {1..20}; do
		a=$(shunt submit -- 'sleep 5')
		b=$(shunt submit -- "echo RAN >ran-$i")
		until_true 10 is "$a" running
		run shunt cancel "$a" "$b"
		[ "$status" -eq 0 ]
		[ "$output" = "2 cancelled" ]
		[ "$(state "$b")" = cancelled ]
	done
	shunt run -- true # whatever was to start has started
	refute compgen -G 'ran-*'
}

@test "A1: a cancel right behind the submission is carried out" {
	for i in {1..20}; do
		id=$(shunt submit -- "sleep 0.0$((i % 5)); touch end-$i; sleep 5")
		run shunt cancel "$id"
		[ "$status" -eq 0 ]
		is "$id" cancelled
	done
	shunt run -- true
}

@test "A1: a quick task was either cancelled, or its end is told" {
	local early=0 late=0
	for i in {1..40}; do
		id=$(shunt submit -- "sleep 0.0$((i % 4)); touch quick-$i")
		run shunt cancel "$id"
		[ -e "quick-$i" ] && there=yes || there=no
		case $status/$(state "$id") in
		0/cancelled) early=$((early + 1)) ;;
		0/succeeded)
			[[ $output == *'1 had already finished'* ]]
			late=$((late + 1))
			;;
		5/succeeded)
			[[ $output == *"$id ended before it could be cancelled: succeeded"* ]]
			[[ $output == *'1 ended first'* ]]
			late=$((late + 1))
			;;
		*) false ;;
		esac
		echo "$there" >"was-$i"
	done
	shunt run -- true
	# What was not there when the cancel returned never came.
	for i in {1..40}; do
		[ -e "quick-$i" ] && there=yes || there=no
		[ "$(cat "was-$i")" = "$there" ]
	done
	echo "$early cancelled, $late ended first"
}

@test "A1: a cancel reaches a task whose router was stopped" {
	pid=$(pid_of router)
	kill -STOP "$pid"
	id=$(shunt submit -- 'touch routed')
	run shunt cancel --no-wait "$id"
	kill -CONT "$pid"
	[ "$status" -eq 0 ]
	[ "$output" = "1 requested" ]
	until_true 20 is "$id" cancelled
	shunt show "$id" --json | jq -e 'has("decision") | not'
	[ ! -e routed ]
}

@test "A1: a task that is cancelled before the router sees it is not routed" {
	id=early-0123456789
	printf '\x0a\x10%s\x12\x06cancel\x22\x07me@here' "$id" >request # a Control
	publish "\$KV.control.cancel.$id" request
	printf '{"id":"%s","steps":["touch early"]}' "$id" >task
	publish tasks.in task
	until_true 20 is "$id" cancelled
	shunt show "$id" --json | jq -e '.reason == "cancelled by me@here" and .attempts == 0 and (has("decision") | not)'
	[ ! -e early ]
}

@test "A1: a cancel reaches a task whose worker was stopped" {
	pid=$(pid_of worker-local)
	kill -STOP "$pid"
	id=$(shunt submit -- 'touch delivered')
	run shunt cancel "$id"
	kill -CONT "$pid"
	[ "$status" -eq 0 ]
	shunt run -- true
	is "$id" cancelled
	[ ! -e delivered ]
}

@test "A1: a cancel needs no reaper to stop a task" {
	pid=$(pid_of reaper)
	shunt run -- true
	kill -STOP "$pid"
	id=$(shunt submit -- 'touch began; sleep 60; touch unread')
	until_true 10 test -e began
	shunt cancel --timeout 20s "$id" >out 2>&1 3>&- &
	canceller=$!
	until_true 10 gone 'sleep 60; touch unread'
	kill -CONT "$pid"
	wait "$canceller"
	grep -q 'the reaper does not answer' out
	grep -qx '1 cancelled' out
	is "$id" cancelled
	[ ! -e unread ]
}

@test "A1: held, blocked and waiting for a retry: none goes on" {
	held=$(shunt submit --hold -- 'touch held')
	blocked=$(shunt submit --after "$held" -- 'touch blocked')
	again=$(shunt submit --retries 3 -- 'echo x >>tries; exit 1')
	until_true 10 is "$held" held
	until_true 10 is "$blocked" blocked
	until_true 10 is "$again" retry_wait
	run shunt cancel "$held" "$blocked" "$again" "$held"
	[ "$status" -eq 0 ]
	[ "$output" = "3 cancelled" ]
	run shunt cancel "$held" "$again"
	[ "$status" -eq 0 ]
	[[ $output == *'2 had already finished' ]]
	[ "$(wc -l <tries)" -eq 1 ]
	[ ! -e held ] && [ ! -e blocked ]
}

@test "A1: a batch is stopped while it runs" {
	seq 100 | shunt rally --no-wait --name many --each-line 'sleep 0.1; touch batch-{}'
	until_true 20 test -e batch-2
	run shunt cancel many many
	[ "$status" -eq 0 ] || [ "$status" -eq 5 ]
	n=$(compgen -G 'batch-*' | wc -l)
	[[ $output =~ ([0-9]+)\ cancelled,\ ([0-9]+)\ had\ already\ finished(,\ ([0-9]+)\ ended\ first)?$ ]]
	[ $((BASH_REMATCH[1] + BASH_REMATCH[2] + ${BASH_REMATCH[4]:-0})) -eq 100 ]
	[ "$status" -eq $((${BASH_REMATCH[4]:-0} ? 5 : 0)) ]
	shunt run -- true
	[ "$(compgen -G 'batch-*' | wc -l)" -eq "$n" ]
}

@test "A1: tasks are selected by state, by name, or all" {
	a=$(shunt submit --hold --name nightly-1 -- true)
	b=$(shunt submit --hold --name nightly-2 -- true)
	c=$(shunt submit --name daily -- 'sleep 60')
	until_true 10 is "$c" running
	until_true 10 is "$b" held
	run shunt cancel --name 'nightly-[2-9]'
	[ "$output" = "1 cancelled" ]
	is "$b" cancelled
	is "$a" held
	run shunt cancel --state held --name 'daily'
	[ "$status" -eq 0 ]
	[[ $output == '0 cancelled'* ]]
	run shunt cancel --state held
	[ "$output" = "1 cancelled" ]
	run --separate-stderr shunt cancel --all --json
	[ "$status" -eq 0 ]
	jq -e --arg id "$c" 'length == 1 and .[0].id == $id and .[0].state == "cancelled" and
		.[0].cancel == "cancelled" and .[0].schema == "shunt.task/1"' <<<"$output"
	run shunt cancel --state succeeded
	[ "$status" -eq 2 ]
	run shunt cancel --all "$c"
	[ "$status" -eq 2 ]
	run shunt cancel
	[ "$status" -eq 2 ]
}
