# Cost limits of the AI platform: per day and per task.
setup_file() {
	load helper
	load platform
	start_fleet
	start_platform
}

teardown_file() {
	load helper
	load platform
	stop_all
}

setup() {
	load helper
	load platform
	work_dir
	# Costs before midnight do not count after it.
	((10#$(date -u +%H%M) < 2355)) || skip "the day (UTC) is about to end"
}

# ask_dear PROVIDER MOST PROMPT: a task with a maximum cost.
ask_dear() {
	jq -n --arg ai "$1" --arg most "$2" --arg prompt "$3" '{prompt: $prompt, delegation:
		{allow_delegation: true, preferred_ai: $ai, max_cost_usd: $most}}' | shunt submit -
}

# start_limited NAME DOLLARS [LANES]
start_limited() {
	SHUNT_SECUTOOLS_MAX_COST_PER_DAY=$2 start_worker "$1" "${3:-auto,gpu,gemini,claude-api}"
}

@test "a worker that starts knows today's costs, and the limit pauses the lane" {
	start_worker b0
	id=$(ask_ai gpu '[cost=0.75]')
	run shunt wait --timeout 20s "$id"
	[ "$status" -eq 0 ]
	stop_worker b0
	SHUNT_SECUTOOLS_MAX_COST_PER_DAY=0.70 start_worker b1
	id=$(ask_ai gpu '[output=tomorrow]')
	until_true 20 lane_is secutools.gpu paused
	[[ $(shunt lane ls --json | jq -r '.[] | select(.lane == "secutools.gpu") | .reason') == 'the budget of 0.70 dollars for today is used up' ]]
	[ -z "$(job "$id" .posts)" ]
	# Resumed without a larger limit it pauses again; with one it continues.
	shunt lane resume secutools.gpu
	until_true 20 lane_is secutools.gpu paused
	stop_worker b1
	SHUNT_SECUTOOLS_MAX_COST_PER_DAY=100 start_worker b1
	shunt lane resume secutools.gpu
	run shunt wait --timeout 60s "$id"
	[ "$status" -eq 0 ]
	stop_worker b1
}

@test "a job at the platform is polled whatever is left, and its maximum cost is reserved" {
	start_limited b2 1.70 # 0.75 of it are spent
	id=$(ask_dear gpu 0.80 "[poll=$(printf 'running,%.0s' {1..25})succeeded output=paid cost=0.90]")
	until_true 20 job_has "$id" '.polls > 0'
	stop_worker b2
	start_limited b2 1.70
	other=$(ask_dear gpu 0.50 '[output=second]')
	until_true 20 has "$other" .waits.for refused
	[[ $(field "$other" .waits.text) == 'waits until '*' with the running jobs it may cost more than is left of today'* ]]
	run shunt wait --timeout 60s "$id"
	[ "$status" -eq 0 ]
	[ "$(job "$id" .posts)" = 1 ]
	[ "$(job "$id" .cancels)" = 0 ]
	shunt delegate status | jq -e '[.costs[] | .cost_usd | tonumber] | add * 100 | round == 165'
	# Its cost counts, and the other continues to wait.
	[ -z "$(job "$other" .posts)" ]
	stop_worker b2
	start_limited b2 100
	run shunt wait --timeout 60s "$other"
	[ "$status" -eq 0 ]
	stop_worker b2
}

@test "a task that exceeds the budget waits without another attempt, and explain says why" {
	start_limited b3 5
	id=$(ask_dear gpu 200 '[output=dear]')
	until_true 20 has "$id" .waits.for refused
	field "$id" .waits.text
	[[ $(field "$id" .waits.text) == 'waits until '*'T00:00:'*" at the latest: it may cost more than a whole day's 5 dollars" ]]
	shunt explain "$id" | grep -q "more than a whole day's 5 dollars"
	# Others continue, and a worker that starts checks it again.
	other=$(ask_ai gpu '[output=cheap]')
	run shunt wait --timeout 20s "$other"
	[ "$status" -eq 0 ]
	stop_worker b3
	SHUNT_LOG=debug start_limited b3 5
	until_true 30 grep -q "task.refused.*task=$id" "$BATS_FILE_TMPDIR/b3.log"
	[ "$(field "$id" '.attempt_list | length')" = 1 ]
	[ -z "$(job "$id" .posts)" ]
	stop_worker b3
	start_limited b3 1000
	run shunt wait --timeout 60s "$id"
	[ "$status" -eq 0 ]
	[ "$(field "$id" '.attempt_list | length')" = 2 ]
	stop_worker b3
}

@test "an intent that may not have been submitted is checked before the submission" {
	[ -x "${SHUNT_DEBUG_BIN:-}/shunt-worker-secutools" ] ||
		skip "no debug build at ${SHUNT_DEBUG_BIN:-}: make debug"
	WORKER_BIN=$SHUNT_DEBUG_BIN SHUNT_WORKER_LEASE=3s SHUNT_CRASH_AT=secutools.after_intent \
		SHUNT_CRASH_HOW=kill start_worker b4 gemini
	id=$(ask_ai gemini '[output=late]')
	until_true 20 ended "$(cat "$BATS_FILE_TMPDIR/b4.pid")"
	start_limited b5 0.10 gemini
	until_true 60 lane_is secutools.gemini paused
	[ -z "$(job "$id" .posts)" ]
	stop_worker b5
	start_limited b5 100 gemini
	shunt lane resume secutools.gemini
	run shunt wait --timeout 60s "$id"
	[ "$status" -eq 0 ]
	[ "$(job "$id" .posts)" = 1 ]
	stop_worker b5
}
