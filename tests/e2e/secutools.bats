# The worker of the AI platform, against a fake platform.
setup_file() {
	load helper
	load platform
	export QUEUE=$BATS_FILE_TMPDIR/agent-queue
	mkdir -p "$QUEUE"
	export SHUNT_FOLDER_FOLDERS="$QUEUE style=agent-queue" SHUNT_FOLDER_SETTLE=100ms
	start_fleet
	start_platform
	start_worker s1
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
}

@test "a prompt is submitted and polled, and its result arrives with provider and cost" {
	id=$(ask_ai gemini 'add [poll=queued,running,succeeded output=four cost=0.0123]')
	run shunt wait --timeout 20s "$id"
	[ "$status" -eq 0 ]
	[ "$(shunt logs "$id")" = four ]
	[ "$(field "$id" '.backend + "." + .lane')" = secutools.gemini ]
	[ "$(field "$id" .provider)" = gemini ]
	[ "$(field "$id" .cost_usd)" = 0.012300 ]
	[ "$(job "$id" .posts)" = 1 ]
}

marker_says() { # marker_says FILE JQ: as true
	jq -e "$2" "$QUEUE/running/$1.delegated"
}

@test "a Markdown task in an agent queue has a sidecar while it is delegated, and gets its footer" {
	printf -- '---\npreferred_ai: gpu\nallow_delegation: true\n---\n\n# Sum\n\n%s\n' \
		"[poll=$(printf 'running,%.0s' {1..20})succeeded output=page cost=0.0123]" >"$QUEUE/.sum.tmp"
	mv "$QUEUE/.sum.tmp" "$QUEUE/sum.md"
	until_true 30 marker_says sum.md '.state == "delegated_to_secutools" and .key == .task + ":0"'
	until_true 60 test -e "$QUEUE/done/sum.md"
	[ ! -e "$QUEUE/running/sum.md.delegated" ]
	sed -n '/^provider:/,$p' "$QUEUE/done/sum.md" >footer
	cat footer
	grep -q '^provider: gpu' footer
	grep -q '^cost_usd: 0.012300' footer
	grep -q '^state: succeeded' footer
}

@test "the sidecar shows intent, then job, even after a kill of the gateway" {
	shunt lane pause secutools.gpu
	printf -- '---\npreferred_ai: gpu\nallow_delegation: true\n---\n\n%s\n' \
		'[submit=500,ok poll=running]' >"$QUEUE/.plan.tmp"
	mv "$QUEUE/.plan.tmp" "$QUEUE/plan.md"
	until_true 30 marker_says plan.md '.state == "delegation_intended" and (has("key") | not)'
	id=$(jq -r .task "$QUEUE/running/plan.md.delegated")
	until_true 30 has "$id" .state routed
	[ -z "$(job "$id" .posts)" ]
	shunt lane resume secutools.gpu
	until_true 30 marker_says plan.md '.state == "delegated_to_secutools" and .job_id != null'
	marker_says plan.md '.key == .task + ":0" and .worker == "s1"'
	rm "$QUEUE/running/plan.md.delegated"
	kill -9 "$(shunt status --json | jq '.processes[] | select(.name == "gateway-folder") | .pid')"
	until_true 30 marker_says plan.md '.state == "delegated_to_secutools" and .job_id != null'
	[ "$(job "$id" .posts)" -ge 1 ]
	shunt cancel "$id"
	until_true 60 test -e "$QUEUE/failed/plan.md"
	[ ! -e "$QUEUE/running/plan.md.delegated" ]
}

@test "a delegated Markdown task that fails ends in failed/ with the reason" {
	printf -- '---\npreferred_ai: gpu\nallow_delegation: true\n---\n\nTry [poll=failed]\n' >"$QUEUE/.try.tmp"
	mv "$QUEUE/.try.tmp" "$QUEUE/try.md"
	until_true 60 test -e "$QUEUE/failed/try.md"
	grep -q 'the model gave up' "$QUEUE/failed/try.md"
}

@test "a running job's id at the platform is shown, even by a reaper that has just started" {
	id=$(ask_ai gpu '[poll=running]')
	until_true 20 job_has "$id" '.polls > 0'
	active_has() {
		web /api/delegated/status |
			jq -e --arg id "$id" --arg job "$(job "$id" .id)" \
				'.active[] | select(.id == $id) | .job_id == $job and .state == "running"'
	}
	until_true 20 active_has
	[ "$(field "$id" .job_id)" = "$(job "$id" .id)" ]
	kill -9 "$(pid_of reaper)"
	until_true 60 active_has
	shunt cancel "$id"
}

@test "without an opt-in nothing is delegated" {
	id=$(jq -n '{prompt: "[output=never]"}' | shunt submit -)
	until_true 20 has "$id" .state routed
	[ "$(field "$id" '.backend + "." + .lane')" = local.claude-code ]
	shunt cancel "$id" >/dev/null
}

@test "temporary failures of the platform end in exactly one job" {
	ids=()
	for play in submit=503,429@0,500,ok submit=reset,ok submit=stored,ok \
		submit=cut,ok submit=nonsense,ok poll=500,reset,cut,succeeded \
		poll=nonsense,wrong,slow,succeeded poll=404,succeeded \
		poll=daydreaming,succeeded result=409,425,503,200 \
		result=reset,cut,nonsense,200; do
		ids+=("$(ask_ai gpu "[$play output=fine]")")
	done
	run shunt wait --timeout 60s "${ids[@]}"
	echo "$output"
	[ "$status" -eq 0 ]
	for id in "${ids[@]}"; do
		[ "$(shunt logs "$id")" = fine ]
	done
	[ "$(curl -sf "$PLATFORM/_fake/stats" |
		jq '[.keys[] | select(.stored)] | group_by(.key) | map(length) | max')" = 1 ]
}

@test "a permanent refusal of the platform fails the task at once, with the reason" {
	for status in 400 413 422 409; do
		id=$(ask_ai gpu "[submit=$status]" --retries 3)
		run shunt wait --timeout 20s "$id"
		[ "$status" -eq 5 ]
		[[ $(field "$id" .reason) == "HTTP "* ]]
		[ "$(job "$id" .posts)" = 1 ]
	done
	id=$(ask_ai gpu '[poll=failed cost=0.5]')
	run shunt wait --timeout 20s "$id"
	[ "$status" -eq 5 ]
	[ "$(field "$id" .reason)" = 'failed: the model gave up (model_error)' ]
	[ "$(field "$id" .cost_usd)" = 0.500000 ]
	id=$(ask_ai gpu '[result=410]')
	run shunt wait --timeout 20s "$id"
	[[ $(field "$id" .reason) == *expired* ]]
	id=$(ask_ai gpu '[poll=404]')
	run shunt wait --timeout 20s "$id"
	[[ $(field "$id" .reason) == *'does not know the job'* ]]
}

@test "a failed attempt that is retried is another job" {
	id=$(ask_ai gpu '[poll=failed]' --retries 1)
	run shunt wait --timeout 30s "$id"
	[ "$status" -eq 5 ]
	[ "$(curl -sf "$PLATFORM/_fake/stats" | jq --arg id "$id" \
		'[.keys[] | select(.key | startswith($id + ":")) | .key] | sort == [$id + ":0", $id + ":1"]')" = true ]
}

@test "a cancel is sent to the platform" {
	id=$(ask_ai gpu '[poll=running]')
	until_true 20 job_has "$id" '.polls > 0'
	run shunt cancel "$id"
	[ "$status" -eq 0 ]
	[ "$(field "$id" .state)" = cancelled ]
	[ "$(job "$id" .cancels)" = 1 ]
}

@test "a cancel that the platform first refuses is sent again" {
	stop_worker s1
	SHUNT_WORKER_GRACE=200ms start_worker s3
	id=$(ask_ai gpu '[poll=running cancel=503@1,reset,503,ok]')
	until_true 20 job_has "$id" '.polls > 0'
	shunt cancel "$id"
	until_true 20 has "$id" .state cancelled
	until_true 30 job_has "$id" '.cancelled'
	stop_worker s3
	start_worker s1
}

@test "a deadline ends a job that never ends" {
	id=$(ask_ai gpu '[poll=running]' --timeout 1s)
	run shunt wait --timeout 30s "$id"
	[ "$(field "$id" .state)" = timed_out ]
	[ "$(job "$id" .cancels)" = 1 ]
}

@test "an exhausted budget pauses the lane with the reason, and the task continues when it is resumed" {
	curl -sf -d 402@7200 "$PLATFORM/_fake/submit" >/dev/null
	id=$(ask_ai claude-api '[output=later]')
	until_true 20 lane_is secutools.claude-api paused
	lane=$(shunt lane ls --json | jq -c '.[] | select(.lane == "secutools.claude-api")')
	[[ $(jq -r .reason <<<"$lane") == 'HTTP 402: the budget is used up (budget_exceeded)' ]]
	[ "$(jq -r .until <<<"$lane")" != null ]
	[ "$(field "$id" .state)" != failed ]
	until_true 20 has "$id" .waits.for lane-paused
	[[ $(field "$id" .waits.text) == 'lane secutools.claude-api is paused until '*': HTTP 402'* ]]
	web /watchdog/status | jq -e '.lanes_paused[] | select(.lane == "claude-api") |
		(.reason | startswith("HTTP 402")) and .by == "s1" and .until != null and .since != null'
	# Others do not wait for it.
	other=$(ask_ai gpu '[output=meanwhile]')
	run shunt wait --timeout 20s "$other"
	[ "$status" -eq 0 ]
	shunt lane resume secutools.claude-api
	run shunt wait --timeout 60s "$id"
	[ "$status" -eq 0 ]
	[ "$(shunt logs "$id")" = later ]
}

@test "the platform's key is in no log, report, message or argument" {
	id=$(ask_ai gpu '[submit=500,reset,ok output=quiet]')
	run shunt wait --timeout 20s "$id"
	[ "$status" -eq 0 ]
	refute grep -rqF top-secret-key "$SHUNT_HOME" "$BATS_FILE_TMPDIR"/*.log
	pid=$(cat "$BATS_FILE_TMPDIR/s1.pid")
	refute grep -qF top-secret-key "/proc/$pid/cmdline"
}

@test "a worker that dies leaves no core with the key in it" {
	mkdir cores
	cd cores
	# Other processes do here, or this test would prove nothing.
	(ulimit -c unlimited && exec bash -c 'kill -SEGV $$') || true
	compgen -G 'core*' || skip 'no program leaves a core here'
	rm core*
	echo top-secret-key >key
	chmod 600 key
	for from in environment file; do
		[ $from = environment ] || export KEY='' SHUNT_SECUTOOLS_KEY_FILE=$PWD/key
		(ulimit -c unlimited && start_worker "s9-$from" gpu)
		pid=$(cat "$BATS_FILE_TMPDIR/s9-$from.pid")
		kill -SEGV "$pid"
		until_true 20 eval "! kill -0 $pid"
		refute compgen -G 'core*'
	done
	refute grep -qF top-secret-key "/proc/$(cat "$BATS_FILE_TMPDIR/s1.pid")/environ"
}

@test "a rejected key pauses the lane until a person resumes it" {
	export KEY=an-old-key
	stop_worker s1
	start_worker s2 gemini
	id=$(ask_ai gemini '[output=corrected]')
	until_true 20 lane_is secutools.gemini paused
	[ "$(shunt lane ls --json | jq '.[] | select(.lane == "secutools.gemini") | .until')" = null ]
	until_true 20 eval "shunt status --json | jq -e '.alarms[] | select(.name == \"lane_held\")'"
	stop_worker s2
	unset KEY
	start_worker s1
	shunt lane resume secutools.gemini
	run shunt wait --timeout 60s "$id"
	[ "$status" -eq 0 ]
}

@test "a worker that stops hands its jobs back, and they are not submitted again" {
	id=$(ask_ai gpu '[poll=running,running,running,running,running,running,running,running,running,running,succeeded output=resumed]')
	until_true 20 job_has "$id" '.polls > 0'
	stop_worker s1
	start_worker s1
	run shunt wait --timeout 40s "$id"
	[ "$status" -eq 0 ]
	[ "$(shunt logs "$id")" = resumed ]
	[ "$(job "$id" .posts)" = 1 ]
	[ "$(job "$id" .cancels)" = 0 ]
}

@test "A1: a job that outlived its worker is cancelled by the next one" {
	id=$(ask_ai gpu '[poll=running]')
	until_true 20 job_has "$id" '.polls > 0'
	stop_worker s1
	run shunt cancel --timeout 1s "$id"
	[ "$status" -eq 8 ] # it still runs
	[[ $output == *'1 not ended yet' ]]
	start_worker s1
	until_true 30 has "$id" .state cancelled
	[ "$(job "$id" .cancels)" = 1 ]
	[ "$(job "$id" .posts)" = 1 ]
}

@test "killed between any two steps it ends in one job at the platform" {
	[ -x "${SHUNT_DEBUG_BIN:-}/shunt-worker-secutools" ] ||
		skip "no debug build at ${SHUNT_DEBUG_BIN:-}: make debug"
	stop_worker s1
	points=(secutools.after_intent secutools.after_post secutools.after_id worker.after_outcome)
	lanes=(auto gpu gemini claude-api)
	ids=()
	for i in 0 1 2 3; do
		WORKER_BIN=$SHUNT_DEBUG_BIN SHUNT_WORKER_LEASE=3s \
			SHUNT_CRASH_AT=${points[i]} SHUNT_CRASH_HOW=kill start_worker "c$i" "${lanes[i]}"
		ids+=("$(ask_ai "${lanes[i]}" '[output=once]')")
	done
	for i in 0 1 2 3; do
		until_true 20 ended "$(cat "$BATS_FILE_TMPDIR/c$i.pid")"
	done
	start_worker s1
	run shunt wait --timeout 120s "${ids[@]}"
	echo "$output"
	[ "$status" -eq 0 ]
	for id in "${ids[@]}"; do
		[ "$(shunt logs "$id")" = once ]
		[ "$(curl -sf "$PLATFORM/_fake/stats" | jq --arg id "$id" \
			'[.keys[] | select(.stored and (.key | startswith($id + ":")))] | length')" = 1 ]
	done
}

@test "without a key the worker does not start and names what is missing" {
	run env -u SECUTOOLS_API_KEY shunt-worker-secutools
	[ "$status" -eq 78 ]
	[[ $output == *'SECUTOOLS_API_KEY is not set'* ]]
	: >empty.key
	chmod 600 empty.key
	run env -u SECUTOOLS_API_KEY SHUNT_SECUTOOLS_KEY_FILE=empty.key shunt-worker-secutools
	[ "$status" -eq 78 ]
	[[ $output == *'file empty.key: no secutools key in it'* ]]
}
