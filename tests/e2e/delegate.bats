# shunt delegate, called as scripts call it, and the fleet of this machine with
# a worker of the AI platform.
setup_file() {
	load helper
	new_home
	fake=$(cd "${SHUNT_BIN%/bin}" && pwd)/tests/fake/secutools
	mkfifo "$BATS_FILE_TMPDIR/fake.in"
	FAKE_KEY=top-secret-key "$fake" <>"$BATS_FILE_TMPDIR/fake.in" \
		>"$BATS_FILE_TMPDIR/fake.out" 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/fake.pid"
	until_true 20 grep -q port "$BATS_FILE_TMPDIR/fake.out"
	PLATFORM=http://127.0.0.1:$(sed -n 's/^port //p' "$BATS_FILE_TMPDIR/fake.out")
	export PLATFORM
	SHUNT_SECUTOOLS_URL=$PLATFORM SHUNT_SECUTOOLS_POLL_FIRST=20ms \
		SECUTOOLS_API_KEY=top-secret-key shunt up -d --fast --slots 2 \
		2>"$BATS_FILE_TMPDIR/up.err" 3>&-
	until_true 20 served
}

teardown_file() {
	load helper
	stop_fleet
	kill "$(cat "$BATS_FILE_TMPDIR/fake.pid")"
}

setup() {
	load helper
	work_dir
}

# A worker serves the platform's lanes.
served() {
	shunt lane ls --json | jq -e '.[] | select(.lane == "secutools.gpu" and .workers > 0)'
}

@test "up with a key starts the worker, says so, and gives the key to nobody else" {
	grep -q 'SECUTOOLS_API_KEY is set' "$BATS_FILE_TMPDIR/up.err"
	pid_of worker-secutools
	pids=("$(shunt status --json | jq -r .supervisor.pid)")
	for name in broker reaper router worker-local; do
		pids+=("$(pid_of $name)")
	done
	for pid in "${pids[@]}"; do
		refute grep -qF top-secret-key "/proc/$pid/environ"
	done
	refute grep -rqF top-secret-key "$SHUNT_HOME"
	# Nor is it in a task's environment.
	run shunt run -- env
	[ "$status" -eq 0 ]
	[[ $output != *SECUTOOLS_API_KEY* ]]
}

@test "decide follows the delegation front matter, without a broker" {
	export SHUNT_BUS_URL=nats://127.0.0.1:1
	decided() { # decided JQ FLAGS...
		ccl-delegate decide "${@:2}" | jq -e "$1"
	}
	decided '.provider == "claude-code" and (.delegated | not) and .reason == "allow_delegation=false (default)"'
	decided '.provider == "gpu" and .delegated and .reason == "preferred_ai=gpu"' --allow-delegation --provider gpu
	decided '.provider == "auto" and .delegated' --allow-delegation
	decided '.provider == "claude-code" and .reason == "needs_claude_code=true"' --allow-delegation --needs-claude-code --provider gpu
	decided '(.delegated | not) and (.reason | startswith("unknown preferred_ai=gpt"))' --allow-delegation --provider gpt
	printf -- '---\npreferred_ai: Gemini\nallow_delegation: true\n---\nhello\n' >task.md
	decided '.provider == "gemini" and .delegated' task.md
	printf 'just text\n' | ccl-delegate decide - | jq -e '.delegated | not'
}

@test "submit, get and result, as a dispatcher calls them" {
	id=$(ccl-delegate submit --provider gemini -- '[poll=queued,succeeded output=four cost=0.02]' two and two)
	[ "$(ccl-delegate result --timeout 20s "$id")" = four ]
	ccl-delegate get "$id" | jq -e '.state == "succeeded" and .provider == "gemini" and
		.job_id != null and .cost_usd == "0.020000" and .delegated and .schema == "shunt.delegate/1"'
	[ "$(ccl-delegate submit --wait --timeout 20s -- '[output=at-once]')" = at-once ]
	id=$(printf '[poll=failed] x' | ccl-delegate submit --allow-delegation -)
	run ccl-delegate result --timeout 20s "$id"
	[ "$status" -eq 5 ]
	[[ $output == *'the model gave up'* ]]
	id=$(ccl-delegate submit -- '[poll=running]')
	run ccl-delegate result "$id"
	[ "$status" -eq 8 ]
	ccl-delegate status | jq -e --arg id "$id" 'any(.active[]; .id == $id) and .counters.succeeded >= 2 and
		any(.costs[]; .provider == "gemini" and .cost_usd == "0.020000")'
	shunt cancel "$id"
}

@test "a prompt that must stay here is refused and not submitted" {
	printf -- '---\nneeds_claude_code: true\n---\nhello\n' >stay.md
	run ccl-delegate submit stay.md
	[ "$status" -eq 6 ]
	[[ $output == *'needs_claude_code=true'* ]]
	run ccl-delegate submit --provider gpt -- hello
	[ "$status" -eq 6 ]
	run ccl-delegate submit --max-cost lots -- hello
	[ "$status" -eq 2 ]
	run ccl-delegate sbmit
	[ "$status" -eq 2 ]
	[[ $output == *'did you mean submit'* ]]
}

@test "B1: submit and decide agree, whatever the front matter says" {
	local preferred allow needs complexity n=0 decided submitted
	for lane in gpu gemini auto; do shunt lane pause "secutools.$lane"; done
	for preferred in '' auto claude-code gpu ' Gemini ' gpt; do
		for allow in '' true false; do
			for needs in '' true; do
				for complexity in '' low medium high; do
					{
						echo ---
						echo 'title: x'
						[ -z "$preferred" ] || echo "preferred_ai: '$preferred'"
						[ -z "$allow" ] || echo "allow_delegation: $allow"
						[ -z "$needs" ] || echo "needs_claude_code: $needs"
						[ -z "$complexity" ] || echo "complexity_hint: $complexity"
						echo ---
						echo secret
					} >matrix.md
					decided=$(ccl-delegate decide matrix.md | jq .delegated)
					submitted=true
					run ccl-delegate submit matrix.md
					[ "$status" -eq 0 ] || { [ "$status" -eq 6 ] && submitted=false; }
					[ "$decided" = "$submitted" ] || { cat matrix.md; false; }
					n=$((n + 1))
				done
			done
		done
	done
	[ "$n" -eq 144 ]
	shunt cancel --state open
	for lane in gpu gemini auto; do shunt lane resume "secutools.$lane"; done
}

@test "B1: nothing overrides a file that keeps its prompt here" {
	printf -- '---\nallow_delegation: false\n---\nsecret\n' >keep.md
	run -6 ccl-delegate submit --wait keep.md
	run -6 ccl-delegate submit --allow-delegation --provider gpu keep.md
	ccl-delegate decide --allow-delegation --provider gpu keep.md | jq -e '.delegated | not'
	printf -- '---\npreferred_ai: gpu\n---\nsecret\n' >silent.md
	run -6 ccl-delegate submit silent.md
	printf 'no front matter\n' >plain.md
	run -6 ccl-delegate submit plain.md
	ccl-delegate decide plain.md | jq -e '.delegated | not'
	ccl-delegate decide --allow-delegation plain.md | jq -e .delegated
	# Nor does a pin.
	run shunt submit --lane gpu keep.md
	id=${lines[0]}
	run -5 shunt wait --timeout 20s "$id"
	shunt show "$id" --json | jq -e '.state == "rejected" and (.reason | contains("allow_delegation=false"))'
	run -6 shunt decide --backend secutools keep.md
}
