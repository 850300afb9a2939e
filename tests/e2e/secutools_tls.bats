# The AI platform behind TLS: HTTP/2 where it is offered, and no request to a
# server without a trusted certificate.
setup_file() {
	load helper
	load platform
	start_fleet
	start_platform
	cd "$BATS_FILE_TMPDIR" || return 1
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost -keyout tls.key -out tls.crt
}
teardown_file() {
	load helper
	load platform
	stop_all
}
setup() {
	load helper
	load platform
	PATH=$PATH:/usr/sbin
	command -v nghttpx || skip 'nghttpx is missing: make deps'
	front=$BATS_FILE_TMPDIR/$BATS_TEST_NUMBER
}
teardown() {
	local pid
	for pid in "$front".*.pid; do
		kill "$(cat "$pid")" || true
	done
}

# start_front FLAG...: TLS before the platform, whose address is in $PLATFORM
# afterwards. Requests are logged in $front.access.
start_front() {
	local port back=${PLATFORM#http://}
	for _ in {1..20}; do
		port=$((20000 + RANDOM % 10000))
		nghttpx --conf=/dev/null --workers=1 --no-ocsp -f "127.0.0.1,$port" \
			-b "${back%:*},${back#*:}" --accesslog-file="$front.access" \
			--accesslog-format='$remote_port $alpn $method $path $status' \
			"$@" "$BATS_FILE_TMPDIR/tls.key" "$BATS_FILE_TMPDIR/tls.crt" \
			>"$front.log" 2>&1 3>&- &
		echo $! >"$front.proxy.pid"
		PLATFORM=https://localhost:$port
		until curl -sf --cacert "$BATS_FILE_TMPDIR/tls.crt" -o /dev/null \
			"$PLATFORM/_fake/stats"; do
			kill -0 "$(cat "$front.proxy.pid")" || continue 2
			pause
		done
		: >"$front.access"
		return
	done
	return 1
}

# worker NAME: on the lane gpu, trusting $SHUNT_SECUTOOLS_CA_FILE
worker() {
	start_worker "$1" gpu
	mv "$BATS_FILE_TMPDIR/$1.pid" "$front.worker.pid"
}

ask_many() { # ask_many N: prints the ids
	local i
	for ((i = 0; i < $1; i++)); do
		ask_ai gpu "[poll=running,running,succeeded output=tls-$i]"
	done
}

@test "with HTTP/2 many jobs share a connection" {
	start_front
	export SHUNT_SECUTOOLS_CA_FILE=$BATS_FILE_TMPDIR/tls.crt
	worker h2
	mapfile -t ids < <(ask_many 40)
	shunt wait --timeout 60s "${ids[@]}"
	[ "$(shunt logs "${ids[39]}")" = tls-39 ]
	[ "$(grep -c 'POST /v1/jobs 20' "$front.access")" -eq 40 ]
	[ "$(awk '{print $2}' "$front.access" | sort -u)" = h2 ]
	[ "$(awk '{print $1}' "$front.access" | sort -u | wc -l)" -le 2 ]
}

@test "with HTTP/1.1 connections are kept, and are no more than max_connections" {
	start_front "$(nghttpx --help | grep -oE -m 1 -- '--a?l?n?pn-list')=http/1.1"
	export SHUNT_SECUTOOLS_CA_FILE=$BATS_FILE_TMPDIR/tls.crt
	export SHUNT_SECUTOOLS_MAX_CONNECTIONS=3
	worker h1
	mapfile -t ids < <(ask_many 40)
	shunt wait --timeout 60s "${ids[@]}"
	[ "$(awk '{print $2}' "$front.access" | sort -u)" = http/1.1 ]
	[ "$(awk '{print $1}' "$front.access" | sort -u | wc -l)" -le 3 ]
}

@test "nothing is sent to a server whose certificate is not trusted" {
	start_front
	worker distrust
	id=$(ask_ai gpu 'a secret prompt')
	until_true 30 grep -q 'platform.down.*certificate' "$BATS_FILE_TMPDIR/distrust.log"
	[ ! -s "$front.access" ]
	refute has "$id" .state succeeded
	kill "$(cat "$front.worker.pid")"
	export SHUNT_SECUTOOLS_CA_FILE=$BATS_FILE_TMPDIR/tls.crt
	worker trust
	shunt wait --timeout 60s "$id"
}
