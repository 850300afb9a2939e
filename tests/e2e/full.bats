# Streams that are nearly full are seen, and what runs goes on when they are.
setup() {
	load helper
	new_home
	SHUNT_HOME=$BATS_TEST_TMPDIR/home
}
teardown() { stop_fleet; }

alarms() { shunt status --json | jq -r '.alarms[].name'; }
percent() { shunt status --json | jq --arg s "$1" '.streams[] | select(.name == $s) | .percent'; }
# A held task of 100 kB.
large() {
	jq -nc --arg id "$1" --arg x "$(head -c 100000 /dev/zero | tr '\0' x)" \
		'{id: $id, hold: true, steps: ["echo " + $x]}' >"$1.json"
	publish tasks.in "$1.json"
}

@test "a stream with 70 % of its limit is an alarm, a metric, and a warning of doctor" {
	SHUNT_BUS_MAX_BYTES=1M shunt up -d --fast 3>&-
	for i in 1 2 3 4; do large "few-$i"; done
	until_true 20 eval '[ "$(percent TASKS_IN)" -ge 30 ]'
	refute grep -q stream_full <(alarms)
	for i in 1 2 3 4; do large "more-$i"; done
	until_true 20 eval 'alarms | grep -q stream_full'
	shunt status --json | jq -e '.alarms[] | select(.name == "stream_full").text | contains("TASKS_IN")'
	run shunt doctor
	[[ $output == *'the fullest stream is TASKS_IN'* ]]
	web /metrics | grep -qx 'shunt_stream_max_bytes{stream="TASKS_IN"} 1048576'
	web /metrics | grep -q 'shunt_alarm{name="stream_full"} 1'
	SHUNT_BUS_MAX_BYTES=8M shunt provision --change >/dev/null
	until_true 20 eval '! alarms | grep -q stream_full'
}

@test "what runs goes on when the claims are full, and new work waits until there is room" {
	SHUNT_WORKER_LEASE=3s shunt up -d --fast --slots 2 3>&-
	jq -nc '{name: "KV_claims", subjects: ["$KV.claims.>"], storage: "file", retention: "limits", discard: "new",
		max_bytes: 400000, max_age: 172800000000000, max_msgs_per_subject: 1, num_replicas: 1,
		allow_direct: true, deny_delete: true, deny_purge: true}' >small.json
	publish '$JS.API.STREAM.UPDATE.KV_claims' small.json
	shunt submit --name long -- "until [ -e $PWD/go ]; do sleep .1; done"
	until_true 20 eval '[ "$(shunt show long --json | jq -r .state)" = running ]'
	# Claims keep the end of the output: 4 KB each.
	seq 1 90 | shunt rally --no-wait --each-line 'head -c 6000 /dev/zero | tr "\0" {}' || true
	until_true 60 grep -q claims.full "$SHUNT_HOME/log/worker-local.log"
	until_true 20 eval 'alarms | grep -q stream_full'
	# Longer than its lease: it is renewed all the same.
	began=$SECONDS
	until_true 20 eval '((SECONDS - began >= 5))'
	touch go
	shunt wait --timeout 30s long
	shunt show long --json | jq -e '.state == "succeeded" and .attempts == 1'
	shunt provision >/dev/null
	until_true 60 eval '[ "$(shunt status --json | jq ".counters.succeeded")" -eq 91 ]'
}

@test "a worker that falls silent is an alarm, two of one name are, too" {
	shunt up -d --fast 3>&-
	run shunt status --json
	host=$(jq -r '.workers[0].host' <<<"$output")
	name=$(jq -r '.workers[0].worker' <<<"$output")
	mkdir -p other
	SHUNT_BUS_URL=$(cat "$SHUNT_HOME/endpoint") SHUNT_BUS_TOKEN_FILE=$SHUNT_HOME/token \
		SHUNT_WORKER_NAME=$name SHUNT_WORKER_STATE_DIR=$PWD/other shunt-worker-local >twin.log 2>&1 3>&- &
	twin=$!
	until_true 45 eval 'alarms | grep -q worker_twice'
	shunt status --json | jq -e --arg h "$host" '.alarms[] | select(.name == "worker_twice").text | contains($h)'
	kill "$twin" && wait "$twin" || true
	SHUNT_BUS_URL=$(cat "$SHUNT_HOME/endpoint") SHUNT_BUS_TOKEN_FILE=$SHUNT_HOME/token \
		SHUNT_WORKER_NAME=doomed SHUNT_WORKER_STATE_DIR=$PWD/other shunt-worker-local >doomed.log 2>&1 3>&- &
	doomed=$!
	until_true 20 eval 'shunt worker ls --json | jq -e ".[] | select(.worker == \"doomed\")"'
	kill -9 "$doomed"
	until_true 60 eval 'alarms | grep -q worker_lost'
	shunt status --json | jq -e '.alarms[] | select(.name == "worker_lost").text | contains("doomed")'
}
