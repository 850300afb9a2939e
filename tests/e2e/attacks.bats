# What somebody may do who can publish, and chooses the subject of the answer.
# The broker and the ledger answer with their own rights.
setup_file() {
	load helper
	start_fleet --slots 2
}
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

STREAMS='TASKS_IN TASKS RESULTS LOGS INPUT KV_claims KV_control'

state() { shunt show "$1" --json | jq -r .state; }
worker() { shunt worker ls --json | jq -er '.[0].worker'; }

# task ID COMMAND [more] - a submission in the file ID.json.
task() {
	jq -nc --arg id "$1" --arg c "$2" --argjson more "${3:-{\}}" \
		'{id: $id, name: $id, steps: [$c]} + $more' >"$1.json"
}

# submit_with_reply ID REPLY - a submission that is valid, and whose
# acknowledgement goes to REPLY.
submit_with_reply() {
	task "$1" true
	publish tasks.in "$1.json" "$2"
}

@test "an acknowledgement purges no stream" {
	local router reaper i n=0
	router=$(pid_of router) reaper=$(pid_of reaper)
	kill -STOP "$router" "$reaper"
	for i in 1 2 3 4 5; do shunt submit --name "kept-$i" -- true; done
	for stream in $STREAMS; do
		for api in "STREAM.PURGE.$stream" "STREAM.MSG.DELETE.$stream" "STREAM.DELETE.$stream"; do
			n=$((n + 1))
			submit_with_reply "ack-$n" "\$JS.API.$api"
		done
	done
	kill -CONT "$router" "$reaper"
	for i in 1 2 3 4 5; do shunt wait --timeout 60s "kept-$i"; done
	for i in $(seq $n); do until_true 30 eval "[ \"\$(state ack-$i)\" = succeeded ]"; done
	shunt status --json | jq -e '[.alarms[].name] | index("messages_lost", "store_lost") == null'
}

@test "an acknowledgement over the claim of a running task stops nothing" {
	task victim "until [ -e $PWD/go ]; do sleep .1; done"
	publish tasks.in victim.json
	until_true 30 eval '[ "$(state victim)" = running ]'
	for i in 1 2 3; do submit_with_reply "over-$i" '$KV.claims.local.victim'; done
	touch go
	shunt wait --timeout 60s victim
	shunt show victim --json | jq -e '.state == "succeeded" and .attempts == 1'
}

@test "an acknowledgement on a control subject neither drains nor cancels" {
	local w
	w=$(worker)
	submit_with_reply drain "ctl.local.$w"
	submit_with_reply roll roll
	task uncancelled true '{"hold": true}'
	publish tasks.in uncancelled.json
	submit_with_reply cancels '$KV.control.cancel.uncancelled'
	submit_with_reply pauses '$KV.control.lane.local.default'
	shunt run --name after-all -- true
	[ "$(worker)" = "$w" ]
	shunt worker ls --json | jq -e '.[0].draining | not'
	[ "$(state uncancelled)" = held ]
	shunt cancel uncancelled
}

@test "the ledger answers only to inboxes" {
	task observed true '{"hold": true}'
	publish tasks.in observed.json
	until_true 30 eval '[ "$(state observed)" = held ]'
	echo '{}' >empty.json
	for reply in tasks.bulk tasks.in '$JS.API.STREAM.PURGE.RESULTS' 'results.local.cli' "ctl.local.$(worker)"; do
		publish ask.ledger.list empty.json "$reply"
		publish ask.ledger.status empty.json "$reply"
	done
	until_true 30 eval '[ "$(grep -c bus.reply_refused "$SHUNT_HOME/log/reaper.log")" -eq 10 ]'
	[ "$(state observed)" = held ]
	shunt run -- true
}

@test "another configuration changes nothing of the fleet by accident" {
	shunt provision
	run --separate-stderr env SHUNT_BUS_MAX_BYTES=1M shunt provision
	[ "$status" -eq 2 ]
	[[ $stderr == *bus.max_bytes*2147483648*1048576*--allow-shrink* ]]
	run --separate-stderr env SHUNT_BUS_REPLICAS=3 shunt provision
	[ "$status" -eq 2 ]
	[[ $stderr == *bus.replicas*--change* ]]
	SHUNT_BUS_MAX_BYTES=1M shunt provision --allow-shrink --dry-run | grep -P 'to update\tRESULTS\t.*max_bytes: 2147483648 -> 1048576'
	[ "$(shunt provision | grep -vc '^ok')" -eq 0 ]
	SHUNT_BUS_MAX_BYTES=3G shunt provision --change --json | jq -e '.objects[] | select(.name == "TASKS") | .what == "updated" and (.changes | contains("max_bytes"))'
	shunt provision # as the fleet has it now
	shunt run -- true
}

@test "a second ledger waits, and the first goes on" {
	local url pid
	url=$(cat "$SHUNT_HOME/endpoint")
	SHUNT_BUS_URL=$url SHUNT_BUS_TOKEN_FILE=$SHUNT_HOME/token SHUNT_REAPER_DATABASE=$PWD/second/ledger.db \
		shunt-reaper >second.log 2>&1 3>&- &
	pid=$!
	until_true 20 grep -q 'reaper.standby host=' second.log
	seq 1 20 | shunt rally --each-line 'true {}'
	kill "$pid"
	wait "$pid" || true
	refute grep -q 'reaper.start url' second.log
	grep -c reaper.lease_lost "$SHUNT_HOME/log/reaper.log" && return 1
	shunt run -- true
}

@test "a mistake in one folder does not keep the others from being watched" {
	mkdir -p "$BATS_TEST_TMPDIR/good/jobs/queue" "$BATS_TEST_TMPDIR/no-checkout/jobs/queue"
	SHUNT_BUS_URL=$(cat "$SHUNT_HOME/endpoint") SHUNT_BUS_TOKEN_FILE=$SHUNT_HOME/token SHUNT_FOLDER_SETTLE=100ms SHUNT_FOLDER_PROJECT='' SHUNT_FOLDER_ADDED='' \
		SHUNT_FOLDER_FOLDERS="$BATS_TEST_TMPDIR/bad style=nonsense,$BATS_TEST_TMPDIR/no-checkout/jobs/queue style=jobs git=pull,$BATS_TEST_TMPDIR/good/jobs/queue style=jobs" \
		shunt-gateway-folder >"$BATS_TEST_TMPDIR/gateway.log" 2>&1 3>&- &
	gateway=$!
	until_true 20 grep -q 'folder.watching.*good' "$BATS_TEST_TMPDIR/gateway.log"
	printf '{"id": "among-bad", "kind": "run_shell", "script": ["true"]}' >"$BATS_TEST_TMPDIR/good/jobs/queue/among-bad.json"
	until_true 30 test -e "$BATS_TEST_TMPDIR/good/jobs/done/among-bad.json"
	until_true 20 eval 'shunt status --json | jq -e "[.folders[].problems[]?] | (map(select(contains(\"nonsense\"))) | length) == 1 and (map(select(contains(\"no-checkout\"))) | length) == 1"'
	kill "$gateway" && wait "$gateway" || true
}
