# The reaper's HTTP interface, as curl sees it.
setup_file() {
	load helper
	start_fleet --slots 2
}
teardown_file() {
	load helper
	stop_fleet
}
setup() {
	load helper
	work_dir
	url=$(shunt status --json | jq -er .http.url)
}

# code ARGUMENT... - the status alone.
code() { curl -s -o /dev/null -w '%{http_code}' --max-time 10 "$@"; }
get() { curl -sS --fail --max-time 10 "$url$1"; }

@test "status names the address, on loopback" {
	[[ $url == http://127.0.0.1:* ]]
	run shunt status
	[[ $output == *"$url"* ]]
}

@test "probes are answered" {
	[ "$(get /healthz | jq -r .status)" = ok ]
	get /readyz | jq -e '.status == "ready" and .bus and .database'
}

@test "a task is there by id, name and last, with its output" {
	id=$(shunt submit --name over-http -- 'echo hello; exit 3')
	shunt wait "$id" || true
	for selector in "$id" over-http last; do
		get "/api/v1/tasks/$selector" | jq -e --arg id "$id" '
			.task | .id == $id and .state == "failed" and .exit_code == 3
			and .decision.backend == "local" and (.output | length) == 1'
	done
	get '/api/v1/tasks?state=failed' | jq -e --arg id "$id" '
		any(.tasks[]; .id == $id) and all(.tasks[]; .state == "failed")'
	[ "$(code "$url/api/v1/tasks/no-such-task")" = 404 ]
}

@test "the pages of the list have each task once" {
	seq 1 25 | shunt rally --each-line 'true {}' >/dev/null
	before=0
	: >seen
	while :; do
		page=$(get "/api/v1/tasks?limit=10&before=$before")
		jq -r '.tasks[].id' <<<"$page" >>seen
		[ "$(jq '.tasks | length' <<<"$page")" -le 10 ]
		before=$(jq .next <<<"$page")
		[ "$before" != 0 ] || break
	done
	[ "$(wc -l <seen)" -ge 25 ]
	[ "$(sort seen | uniq -d)" = "" ]
	[ "$(wc -l <seen)" = "$(shunt ls --limit 0 --json | jq length)" ]
}

@test "metrics follow what happens" {
	shunt run -- true
	metric() { get /metrics | grep -qFx "$1"; }
	until_true 10 metric 'shunt_tasks{state="running"} 0'
	get /metrics | grep -qFx 'shunt_ready 1'
	get /metrics | grep -qFx 'shunt_lane_workers{backend="local",lane="default"} 1'
	# Each line is a comment or a sample, and the last one ends.
	get /metrics | awk '!/^#/ && !/^[a-z_]+({[^ ]*})? -?[0-9.]+$/ {exit 1}'
	[ "$(get /metrics | tail -c 1 | od -An -tx1 | tr -d ' ')" = 0a ]
	id=$(shunt submit -- 'tail -f /dev/null')
	until_true 20 metric 'shunt_tasks{state="running"} 1'
	get /api/v1/workers | jq -e '.workers[0].backend == "local"'
	shunt cancel "$id"
}

@test "the watchdog names a lane with tasks and without a worker" {
	watch() { get /watchdog/status | jq -e "$1"; }
	until_true 10 watch '.ok and .counts.stale == 0'
	id=$(shunt submit --backend secutools --lane gpu -- true) ||
		skip "no such lane here"
	if get "/api/v1/tasks/$id" | jq -e '.task.backend == "secutools"'; then
		until_true 10 watch '(.ok | not) and .counts.delegated_to_secutools == 1
			and .lanes_without_worker[0].lane == "gpu"'
		get /api/delegated/status | jq -e --arg id "$id" '
			.counters.waiting == 1 and .providers.gpu.submitted == 1
			and .active[0].id == $id and .active[0].provider == "gpu"'
	fi
	shunt cancel "$id"
}

@test "HEAD is GET without a body" {
	for path in /healthz /metrics /api/v1/tasks /nothing; do
		[ "$(code -I "$url$path")" = "$(code "$url$path")" ]
		[ "$(curl -sI "$url$path" | grep -ci '^content-length:')" = 1 ]
	done
}

@test "errors are JSON" {
	refused() {
		local want=$1
		shift
		run curl -s --max-time 10 -w '\n%{http_code}' "$@"
		echo "$output"
		[ "${lines[-1]}" = "$want" ]
		jq -e '.error.code and .error.message' <<<"${lines[0]}"
	}
	refused 404 "$url/"
	refused 405 -X POST -d x=1 "$url/api/v1/tasks"
	refused 405 -X DELETE "$url/api/v1/tasks/last"
	refused 413 -X GET -d x=1 "$url/healthz"
	refused 403 -H 'Host: evil.example' "$url/healthz"
	refused 400 "$url/api/v1/tasks?limit=many"
	refused 400 "$url/api/v1/tasks?nonsense=1"
	refused 414 "$url/$(head -c 9000 /dev/zero | tr '\0' a)"
}

@test "clients that send nothing delay nobody" {
	port=${url##*:}
	for fd in 20 21 22 23; do
		eval "exec $fd<>/dev/tcp/127.0.0.1/$port"
	done
	printf 'GET /healthz HT' >&20
	[ "$(get /healthz | jq -r .status)" = ok ]
	[ "$(shunt run -- echo works)" = works ]
	for fd in 20 21 22 23; do eval "exec $fd>&-"; done
}

@test "the address stays the same when the reaper restarts" {
	kill -9 "$(pid_of reaper)"
	until_true 30 get /readyz
}

@test "with a token only probes are answered without it" {
	printf 'a-token-of-some-length\n' >token
	export SHUNT_REAPER_HTTP_TOKEN_FILE=$PWD/token
	SHUNT_HOME=$BATS_TEST_TMPDIR/home
	shunt up -d --fast 3>&-
	other=$(shunt status --json | jq -er .http.url)
	run code "$other/metrics"
	first=$output
	run code -H 'Authorization: Bearer wrong' "$other/metrics"
	second=$output
	run code -H 'Authorization: Bearer a-token-of-some-length' "$other/metrics"
	third=$output
	run code "$other/healthz"
	fourth=$output
	run grep -r a-token-of-some-length "$SHUNT_HOME/log"
	shunt down --timeout 30s 3>&-
	[ "$first $second $third $fourth" = '401 401 200 200' ]
	[ "$output" = "" ]
	[ "$other" != "$url" ]
}

@test "HTTP can be off, and beyond loopback it requires a token" {
	SHUNT_HOME=$BATS_TEST_TMPDIR/home
	SHUNT_REAPER_HTTP=off shunt up -d --fast 3>&-
	shunt status --json | jq -e '.http == null'
	refute grep -q http.up "$SHUNT_HOME/log/reaper.log"
	shunt down --timeout 30s 3>&-
	SHUNT_REAPER_HTTP=0.0.0.0:0 run shunt up -d --fast 3>&-
	[ "$status" -ne 0 ]
	[[ $output == *http_token_file* ]]
}
