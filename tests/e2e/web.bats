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

# As the user of the fleet: with its token.
curl() { command curl -H "Authorization: Bearer $(cat "$SHUNT_HOME/http-token")" "$@"; }

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
	refused 403 -H 'Host: evil.example' --unix-socket "$SHUNT_HOME/http.sock" http://localhost/healthz
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
	run --separate-stderr env SHUNT_REAPER_HTTP_TOKEN_FILE=$PWD/token SHUNT_HOME=$BATS_TEST_TMPDIR/open shunt up -d --fast 3>&-
	[ "$status" -ne 0 ]
	[[ $stderr == *'open to all users'*'chmod 600'* ]]
	chmod 600 token
	export SHUNT_REAPER_HTTP_TOKEN_FILE=$PWD/token
	SHUNT_HOME=$BATS_TEST_TMPDIR/home
	shunt up -d --fast 3>&-
	other=$(shunt status --json | jq -er .http.url)
	curl() { command curl "$@"; }
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

@test "HTTP can be off, and requires a token on any address" {
	SHUNT_HOME=$BATS_TEST_TMPDIR/home
	SHUNT_REAPER_HTTP=off shunt up -d --fast 3>&-
	shunt status --json | jq -e '.http == null'
	refute grep -q http.up "$SHUNT_HOME/log/reaper.log"
	shunt down --timeout 30s 3>&-
	port=$((20000 + RANDOM % 10000))
	SHUNT_REAPER_HTTP=0.0.0.0:$port shunt up -d --fast 3>&-
	run command curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/metrics"
	shunt down --timeout 30s 3>&-
	[ "$output" = 401 ]
}

@test "nobody but the user of the fleet is answered" {
	local other=()
	[ "$(stat -c %a "$SHUNT_HOME/http.sock")" = 600 ]
	[ "$(stat -c %a "$SHUNT_HOME/http-token")" = 600 ]
	for path in /metrics /api/v1/tasks /api/v1/tasks/last /watchdog/status; do
		[ "$(command curl -s -o /dev/null -w '%{http_code}' "$url$path")" = 401 ]
		[ "$(command curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat "$SHUNT_HOME/token")" "$url$path")" = 401 ]
		web "$path" >/dev/null
	done
	[ "$(id -u)" = 0 ] || return 0
	other=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	chmod 711 "$BATS_FILE_TMPDIR" "$SHUNT_HOME" # as if only the modes of the files were left
	run "${other[@]}" curl -s --unix-socket "$SHUNT_HOME/http.sock" http://localhost/api/v1/tasks
	chmod 700 "$SHUNT_HOME"
	[ "$status" -ne 0 ]
	[ -z "$output" ]
}

@test "the socket is answered while half requests hold the port" {
	local port=${url##*:} fds=() i fd
	for i in $(seq 80); do
		exec {fd}<>"/dev/tcp/127.0.0.1/$port"
		printf 'GET /healthz HTTP/1.1\r\n' >&"$fd"
		fds+=("$fd")
	done
	web /healthz --max-time 2 | jq -e '.status == "ok"'
	for fd in "${fds[@]}"; do exec {fd}>&-; done
}

@test "all keys of the reaper work under up" {
	cat >all.yaml <<-YAML
		reaper:
		  database: $PWD/elsewhere/rows.db
		  nice: 3
		  sync: true
		  report_root: $PWD/reports-of-all
		  report_in_workdir: false
		  report_workdirs: [$PWD]
		  after_unknown: 5m
		  http: 127.0.0.1:0
		  http_socket: $PWD/s
		  http_token_file: $PWD/token
	YAML
	mkdir -p elsewhere
	printf 'another-token-of-mine\n' >token
	chmod 600 token
	SHUNT_HOME=$BATS_TEST_TMPDIR/home SHUNT_CONFIG=$PWD/all.yaml shunt up -d --fast 3>&-
	SHUNT_HOME=$BATS_TEST_TMPDIR/home shunt run --report of-all.md -- true
	run command curl -sf --unix-socket "$PWD/s" http://localhost/healthz
	SHUNT_HOME=$BATS_TEST_TMPDIR/home shunt down --timeout 30s 3>&-
	[ "$status" -eq 0 ]
	[ -s elsewhere/rows.db ]
	[ -s reports-of-all/of-all.md ]
	[ ! -e of-all.md ]
}
