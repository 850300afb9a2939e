# What becomes of a task's output on its way to who reads it.
setup_file() {
	load helper
	export WORKER_KEY=w0rker-value-in-env
	API_TOKEN=$WORKER_KEY start_fleet --slots 4
}
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

token=ghp_0123456789abcdefghijABCDEFGHIJ456789

# Everything that is said of a task.
all_of() {
	shunt logs "$1" 2>&1
	shunt logs --json "$1"
	shunt show "$1"
	shunt show --json "$1"
	shunt show --json "$1" | jq -r '.output[].data | @base64d'
	shunt ls --json
	shunt explain "$1"
}

@test "C5: values of variables that hold secrets are nowhere in the output" {
	run shunt run --env "TOK=$token" --env DB_PASSWORD='it is hunter2!' --report r.md -- \
		'set -x; echo "Authorization: Bearer $TOK"; echo "$DB_PASSWORD"; exit 3'
	[ "$status" -eq 3 ]
	[[ $output == *'Authorization: Bearer ***'* ]]
	[[ $output == *"+ echo '***'"* ]]
	until_true 10 test -e r.md
	grep -q 'Bearer' r.md
	{
		echo "$output"
		cat r.md
		all_of last
	} >said.txt
	refute grep -E "$token|hunter2" said.txt
	[ "$(shunt show --json last | jq -c .task.env)" = '{"TOK":"***","DB_PASSWORD":"***"}' ]
}

@test "C5: a value that is written in two pieces is hidden, and so is the worker's" {
	run shunt run --env DB_PASSWORD=first-half/second-half -- \
		"printf first-half; sleep 0.3; echo /second-half; printenv API_TOKEN"
	[ "$output" = $'***\n***' ]
	run shunt run -- "printf ghp_; sleep 0.3; echo ${token#ghp_}; printf 'still here: '; echo 1"
	[ "$output" = $'***\nstill here: 1' ]
}

@test "C5: a secret in the command itself is not shown" {
	shunt run -- "true 'Authorization: Bearer $token' https://me:s3cret@example.org; API_KEY=abcd1234 true" &&
		all_of last >said.txt
	grep -q 'Bearer' said.txt
	grep -q 'me:\*\*\*@example.org' said.txt
	refute grep -E "$token|s3cret|abcd1234" said.txt
}

@test "C5: a task that is tried again has its secrets" {
	shunt run --env "TOK=$token" -- 'test ${#TOK} -eq 40'
	again=$(shunt retry last)
	shunt wait "$again"
	shunt run --env DB_PASSWORD=hunter2hunter --retries 1 -- \
		'[ "$SHUNT_ATTEMPT" = 2 ] && [ "${#DB_PASSWORD}" = 13 ]'
}

@test "C5: a reason does not quote a secret" {
	run -127 shunt run -- "./$token"
	run shunt show last
	[[ $output == *reason* ]]
	refute grep "$token" <<<"$output"
}
