# The AI platform calls back.
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
}

@test "a callback of the platform only makes the next poll earlier and is not trusted" {
	port=$((20000 + RANDOM % 10000))
	export SHUNT_SECUTOOLS_CALLBACK_LISTEN=127.0.0.1:$port
	export SHUNT_SECUTOOLS_CALLBACK_URL=http://127.0.0.1:$port/hooks POLL=10m
	start_worker hinted claude-api
	id=$(ask_ai claude-api '[poll=running,succeeded output=hinted]')
	until_true 30 eval '[ "$(job "$id" .stored)" = true ]'
	url=$(job "$id" .callback)
	[ "$url" = "http://127.0.0.1:$port/hooks/$id:0" ]
	hint() { curl -sS -o hint.txt -w '%{http_code}' "$@"; }
	# A key of no job, another method, a body without end: no effect.
	[ "$(hint -d '{"status": "succeeded"}' "${url%:0}:1")" = 204 ]
	[ "$(hint "$url")" = 405 ]
	head -c 10000000 /dev/zero | hint --data-binary @- "$url" || true
	[ "$(job "$id" .polls)" = 0 ]
	# The first poll finds it running: the callback is not trusted.
	until_true 30 eval 'hint -d "{\"status\": \"succeeded\"}" "$url" && [ "$(job "$id" .polls)" -ge 1 ]'
	has "$id" .state running
	until_true 30 eval 'hint -d "" "$url" && has "$id" .state succeeded'
	[ "$(shunt logs "$id")" = hinted ]
}

@test "the address to listen on and the callback URL require each other" {
	run env SHUNT_SECUTOOLS_CALLBACK_LISTEN=127.0.0.1:0 SECUTOOLS_API_KEY=k SHUNT_SECUTOOLS_URL=http://x \
		SHUNT_BUS_URL="$(cat "$SHUNT_HOME/endpoint")" SHUNT_BUS_TOKEN_FILE="$SHUNT_HOME/token" \
		SHUNT_WORKER_STATE_DIR="$PWD/half.state" shunt-worker-secutools
	[ "$status" -eq 1 ]
	[[ $output == *'callback_listen and secutools.callback_url require each other'* ]]
}
