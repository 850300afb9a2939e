# What is submitted to a broker goes to that broker and to no other.
setup() {
	load helper
	new_home
	cd "$BATS_TEST_TMPDIR" || return 1
	SHUNT_HOME=$BATS_TEST_TMPDIR/laptop
}
teardown() {
	for SHUNT_HOME in "$BATS_TEST_TMPDIR"/laptop "$BATS_TEST_TMPDIR"/prod; do stop_fleet; done
}

# A port that nobody listens on.
free_port() {
	local port
	while port=$((20000 + RANDOM % 20000)); do
		(exec 5<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
	done
}

@test "a task for a broker that is away is not run by the fleet of this machine" {
	local port
	port=$(free_port)
	shunt up -d --fast 3>&-
	run --separate-stderr shunt submit --nats "nats://127.0.0.1:$port" --name for-prod -- "touch $PWD/ran-on-laptop"
	[ "$status" -eq 0 ]
	id=$output
	[[ $stderr == *'spooled in'*'reaches that broker'* ]]
	shunt spool ls --json | jq -e --arg b "127.0.0.1:$port" '.files | length == 1 and (.[0].broker | endswith($b)) and .[0].name == "for-prod"'
	shunt run -- true # drains what is this fleet's
	shunt doctor | grep -F "127.0.0.1:$port"
	run -7 shunt spool send --nats "nats://127.0.0.1:$port"
	# Longer than the supervisor takes between two looks.
	until_true 20 eval 'began=${began:-$SECONDS}; ((SECONDS - began >= 7))'
	[ ! -e ran-on-laptop ]
	run -2 shunt show "$id"
	# The broker appears: it gets the task.
	SHUNT_HOME=$PWD/prod shunt up -d --fast --port "$port" 3>&-
	printf '%s' "$(cat prod/token)" >token && chmod 600 token
	run --separate-stderr env SHUNT_BUS_TOKEN_FILE=$PWD/token shunt spool send --nats "nats://127.0.0.1:$port"
	[ "$status" -eq 0 ]
	# With other credentials it is another entry: the first waits for its own.
	shunt spool ls --json | jq -e '.files | length == 1'
	shunt spool rm "$id"
	shunt spool ls --json | jq -e '.files == []'
	run -2 shunt spool rm "$id"
}

@test "the entry goes to its broker when a command reaches that" {
	local port
	port=$(free_port)
	SHUNT_HOME=$PWD/prod shunt up -d --fast --port "$port" 3>&-
	cp prod/token token && chmod 600 token
	export SHUNT_BUS_TOKEN_FILE=$PWD/token SHUNT_BUS_URL=nats://127.0.0.1:$port
	SHUNT_HOME=$PWD/prod shunt down --timeout 30s 3>&-
	shunt submit --name later -- "touch $PWD/ran"
	shunt spool ls | grep -q later
	(unset SHUNT_BUS_URL SHUNT_BUS_TOKEN_FILE && SHUNT_HOME=$PWD/prod shunt up -d --fast --port "$port" 3>&-)
	shunt spool send
	until_true 20 test -e ran
	shunt spool ls --json | jq -e '.files == []'
}

@test "refused credentials are exit 4, and nothing is spooled" {
	shunt up -d --fast 3>&-
	printf 'not-the-token-of-it\n' >wrong && chmod 600 wrong
	export SHUNT_BUS_TOKEN_FILE=$PWD/wrong SHUNT_BUS_URL=$(cat laptop/endpoint)
	for command in 'submit -- true' 'run -- true' 'rally --no-wait --each-line true' 'ls' 'status --nats '"$SHUNT_BUS_URL" 'spool send'; do
		echo "$command"
		run -4 --separate-stderr eval "shunt $command <<<x"
		[[ $stderr != *'shunt up -d'* ]]
	done
	shunt spool ls --json | jq -e '.files == []'
	unset SHUNT_BUS_TOKEN_FILE SHUNT_BUS_URL
}

@test "what a full broker does not take is refused with the reason" {
	SHUNT_BUS_MAX_BYTES=1M shunt up -d --fast 3>&-
	large=$(head -c 90000 /dev/zero | tr '\0' x)
	for i in $(seq 12); do
		jq -nc --arg x "$large" '{hold: true, steps: ["echo " + $x]}' >t.json
		run --separate-stderr shunt submit t.json
		[ "$status" -eq 0 ] || break
	done
	[ "$status" -eq 6 ]
	[[ $stderr == *'takes nothing more'*'maximum bytes exceeded'* ]]
	shunt spool ls --json | jq -e '.files == []'
	SHUNT_BUS_MAX_BYTES=8M shunt provision --change >/dev/null
	shunt submit t.json
}
