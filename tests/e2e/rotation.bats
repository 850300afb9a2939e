# A key that is replaced while tasks run: nothing dies of it.
setup() {
	load helper
	new_home
	cd "$BATS_TEST_TMPDIR" || return 1
	export SHUNT_HOME=$PWD/home
	port=$((20000 + RANDOM % 20000))
	broker_conf old
	nats-server -c broker.conf >broker.log 2>&1 3>&- &
	broker=$!
	printf 'token-of-old\n' >token && chmod 600 token
	export SHUNT_BUS_URL=nats://127.0.0.1:$port SHUNT_BUS_TOKEN_FILE=$PWD/token
	until_true 10 shunt provision
	for program in reaper router worker-local; do
		SHUNT_REAPER_DATABASE=$PWD/ledger.db SHUNT_WORKER_STATE_DIR=$PWD/worker SHUNT_WORKER_LEASE=6s \
			shunt-$program >$program.log 2>&1 3>&- &
		pids+=($!)
	done
	until_true 20 shunt run -- true
}
teardown() {
	kill "${pids[@]}" "$broker" 2>/dev/null
	wait
}
broker_conf() {
	printf 'listen: "127.0.0.1:%s"\njetstream { store_dir: "%s/nats" }\nauthorization { token: "token-of-%s" }\n' \
		"$port" "$PWD" "$1" >broker.conf
}

@test "a token is rotated while a task runs, and the task does not notice" {
	shunt submit --name through -- "until [ -e $PWD/go ]; do sleep .1; done"
	until_true 20 eval '[ "$(shunt show through --json | jq -r .state)" = running ]'
	broker_conf new
	kill -HUP "$broker" # the old token is refused from now on
	printf 'token-of-new\n' >token.new && chmod 600 token.new && mv token.new token
	until_true 30 shunt run -- true
	touch go
	shunt wait --timeout 30s through
	shunt show through --json | jq -e '.state == "succeeded" and .attempts == 1'
	for pid in "${pids[@]}"; do kill -0 "$pid"; done
}

@test "a token that is refused for longer than a lease ends no program" {
	broker_conf new
	kill -HUP "$broker"
	until_true 30 grep -q bus.denied worker-local.log
	until_true 30 grep -q denied router.log
	for pid in "${pids[@]}"; do kill -0 "$pid"; done
	printf 'token-of-new\n' >token.new && chmod 600 token.new && mv token.new token
	until_true 60 shunt run -- true
	for pid in "${pids[@]}"; do kill -0 "$pid"; done
}
