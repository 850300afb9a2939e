# Messages on tasks.in are untrusted: none of them stops the fleet.
setup_file() { load helper; start_fleet --slots 2; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

dead() { shunt status --json | jq -r '.counters.dead // 0'; }

@test "bad messages go to the dead letters with a reason, the good one runs" {
	: >empty.msg
	head -c 3000 /dev/urandom >noise.msg
	printf '\012\377\377\377\377\017abc' >cut.msg
	printf '{"steps": ["echo hi"' >cut.json
	printf '{"steps": "not a list of steps", "id": 7}' >types.json
	printf '{"id": "no-work"}' >nowork.json
	printf '{"id": "two", "id": "three", "steps": ["true"]}' >twice.json
	{
		printf '{"steps": ["echo '
		head -c 700000 /dev/zero | tr '\0' x
		printf '"]}'
	} >large.json
	for f in empty.msg noise.msg cut.msg cut.json types.json nowork.json twice.json large.json; do
		publish tasks.in $f
	done
	printf '{"id": "the-good-one", "steps": ["echo hi >%s/good.txt"]}' "$PWD" >good.json
	publish tasks.in good.json
	until_true 30 test -s good.txt
	shunt wait --timeout 30s the-good-one
	shunt show no-work --json | jq -e '.state == "rejected" and (.reason | length > 0)'
	grep -c dead "$SHUNT_HOME/log/router.log"
	[ "$(grep -c 'router.dead' "$SHUNT_HOME/log/router.log")" -ge 8 ]
	for name in router reaper worker-local; do
		shunt status --json | jq -e --arg n "$name" '.processes[] | select(.name == $n) | .restarts == 0'
	done
}

@test "the JSON form of a task runs without a library" {
	printf '{"name": "by-hand", "steps": ["echo from json"], "timeout_ms": "10s"}' >hand.json
	publish tasks.in hand.json
	until_true 30 shunt show by-hand
	shunt wait --timeout 30s by-hand
	[ "$(shunt logs by-hand)" = 'from json' ]
}

@test "several tasks fit in one message, and an invalid one affects only itself" {
	jq -n --arg d "$PWD" '{tasks: ([range(100)
		| {id: "many-\(.)", steps: ["echo \(.) >>\($d)/many.txt"]}]
		+ [{id: "many-bad", steps: 7}])}' >many.json
	publish tasks.bulk many.json
	until_true 30 shunt show many-99
	for i in 0 50 99; do shunt wait --timeout 30s "many-$i"; done
	until_true 30 eval '[ "$(wc -l <many.txt)" -eq 100 ]'
	[ "$(sort -n many.txt | uniq | wc -l)" -eq 100 ]
	until_true 30 eval 'shunt show many-bad --json | jq -e ".state == \"rejected\""'
}

@test "the same id twice is one task" {
	printf '{"id": "only-once", "steps": ["echo x >>%s/once.txt"]}' "$PWD" >once.json
	publish tasks.in once.json
	publish tasks.in once.json
	until_true 30 test -s once.txt
	shunt wait --timeout 30s only-once
	shunt run -- true
	[ "$(wc -l <once.txt)" -eq 1 ]
}

@test "junk among results and routed tasks is quarantined" {
	head -c 500 /dev/urandom >noise.msg
	printf '{"stream":"TASKS_IN","seq":7}' >ack.msg
	publish results.local.cli noise.msg
	publish results.local.cli ack.msg
	publish tasks.local.default noise.msg
	publish logs.x noise.msg
	run timeout 60 shunt run -- echo still here
	[ "$status" -eq 0 ]
	[ "$output" = 'still here' ]
}

@test "A9: a task published with an unknown key says so where its outcome is shown" {
	printf '{"id": "odd-key", "steps": [{"script": "true", "retry": 2}], "timeout": "2s"}' >odd.json
	publish tasks.in odd.json
	until_true 10 sh -c "shunt show odd-key --json | jq -e '.state == \"succeeded\"'"
	shunt show odd-key --json | jq -e '.warnings ==
		["steps[0].retry: unknown key, ignored", "timeout: unknown key, ignored"]'
}

@test "B1: a published prompt whose delegation is in the wrong place is refused" {
	local key
	for key in '"allow_delegation": false' '"needsClaudeCode": true' '"hints": {"allow-delegation": false}'; do
		printf '{"id": "kept-%s", "prompt": "secret", "backend": "secutools", "lane": "gpu", %s}' "${#key}" "$key" >kept.json
		publish tasks.in kept.json
		until_true 10 sh -c "shunt show kept-${#key} --json | jq -e '.state == \"rejected\"'"
		shunt show "kept-${#key}" --json | jq -e '.reason | contains("a task has it in delegation")'
	done
}
