# The environment that a task gets.
setup_file() {
	load helper
	mkdir -p "$BATS_FILE_TMPDIR/a" "$BATS_FILE_TMPDIR/b"
	git init -q "$BATS_FILE_TMPDIR/a"
	git init -q "$BATS_FILE_TMPDIR/b"
	umask 022
	# The session of somebody who works in an agent, within tmux, in a hook of git.
	GIT_DIR=$BATS_FILE_TMPDIR/a/.git GIT_AUTHOR_NAME=Hook CLAUDECODE=1 TMUX=x \
		VSCODE_PID=7 KEPT=kept start_fleet --slots 4
}
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

@test "A5: the repository of the session that started the fleet is no task's" {
	local b=$BATS_FILE_TMPDIR/b
	[ "$(shunt run --workdir "$b" -- git rev-parse --absolute-git-dir)" = "$b/.git" ]
	[ "$(GIT_DIR=$BATS_FILE_TMPDIR/a/.git shunt run --workdir "$b" -- git rev-parse --absolute-git-dir)" = "$b/.git" ]
	shunt run -- env >env
	refute grep -qE '^GIT_(DIR|AUTHOR|INDEX|WORK)' env
	# What a task asks for itself, it gets.
	[ "$(shunt run --env GIT_AUTHOR_NAME=x -- 'echo $GIT_AUTHOR_NAME')" = x ]
	for name in router reaper worker-local; do
		refute grep -qz '^GIT_DIR=' "/proc/$(pid_of "$name")/environ"
	done
}

@test "C6: variables of agents, multiplexers and editors reach no task" {
	shunt run -- env >env
	refute grep -qE '^(CLAUDECODE|TMUX|VSCODE_PID)=' env
	grep -q '^KEPT=kept' env
	run shunt doctor
	[[ $output =~ session.*CLAUDECODE ]]
	[[ $output =~ session.*TMUX ]]
}

@test "D15: what a shell does itself, a one-line script has done by the shell" {
	local line shell=/bin/bash
	for line in 'echo --help' 'true --version' 'false --help' 'pwd' 'kill -l' \
		'echo -n x' 'test a = a' '[ a = a ]' 'printf %s x' 'type cd' 'umask'; do
		echo "$line"
		run "$shell" -c "$line"
		want=$output/$status
		run shunt run --workdir "$PWD" -- "$line"
		[ "$output/$status" = "$want" ]
	done
}

@test "D10: a program that is not found: whose PATH, and what to type" {
	run -127 --separate-stderr shunt run --clean-env -- no-such-program --flag
	[[ $stderr == *'in the PATH of the worker on '*'--env PATH='* ]]
	run -127 --separate-stderr env PATH="$PATH:/nowhere" shunt run -- no-such-program
	[[ $stderr == *'in the PATH of the submitter'* ]]
	# What is in the submitter's PATH is found.
	mkdir -p bin
	printf '#!/bin/sh\necho mine "$@"\n' >bin/only-here
	chmod +x bin/only-here
	[ "$(PATH=$PWD/bin:$PATH shunt run -- only-here a)" = 'mine a' ]
	[ "$(PATH=$PWD/bin:$PATH shunt run -- 'only-here b; true')" = 'mine b' ]
}

@test "A7: a task speaks to the fleet it belongs to" {
	local id
	id=$(shunt run -- shunt submit --name inner -- true)
	shunt wait --timeout 30s "$id"
	[ "$(shunt run -- 'echo $SHUNT_HOME')" = "$SHUNT_HOME" ]
	# A worker that belongs to no fleet of this machine gives none: it fails.
	run -7 --separate-stderr env -u SHUNT_HOME SHUNT_TASK_ID=x HOME="$BATS_TEST_TMPDIR" \
		XDG_STATE_HOME="$BATS_TEST_TMPDIR/state" shunt submit -- true
	[[ $stderr == *'within task x'*SHUNT_HOME* ]]
	[ ! -e "$BATS_TEST_TMPDIR/state" ]
}

@test "the submitter's environment travels, its session does not" {
	local id same
	shunt run -- env >plain
	VIRTUAL_ENV=/venv TZ=Asia/Tokyo LC_TIME=C EDITOR=ed TMUX=y FOO=bar shunt run -- env >env
	grep -q '^VIRTUAL_ENV=/venv' env
	grep -q '^TZ=Asia/Tokyo' env
	grep -q '^LC_TIME=C' env
	refute grep -qE '^(FOO|TMUX)=' env
	FOO=bar TMUX=y MY_TOKEN=s3cr3t-value shunt run --env-all -- env >env
	grep -q '^FOO=bar' env
	refute grep -qE '^(TMUX|MY_TOKEN|BATS_FILE_TMPDIR=x)=' env
	VIRTUAL_ENV=/venv shunt run --clean-env -- env >env
	refute grep -q '^VIRTUAL_ENV=' env
	printf 'submit:\n  env: [FOO, BAZ_*]\n' >conf.yaml
	FOO=1 BAZ_A=2 QUX=3 shunt run --config conf.yaml -- env >env
	grep -q '^FOO=1' env
	grep -q '^BAZ_A=2' env
	refute grep -q '^QUX=' env
	# Nor is what travels anyway lost where it is the same as the worker's.
	mapfile -t same < <(jq -r '.env[]' "$SHUNT_HOME/environment.json")
	id=$(umask "$(jq -r .umask "$SHUNT_HOME/environment.json")" &&
		env -i "${same[@]}" SHUNT_HOME="$SHUNT_HOME" HOME="$HOME" FOO=1 \
			shunt submit --config conf.yaml -- env)
	shunt wait --timeout 20s "$id"
	shunt logs "$id" >env
	grep -q '^FOO=1' env
	grep -qxF "$(printf '%s\n' "${same[@]}" | grep '^PATH=')" env
	# A variable that the submitter has not, a task has not either.
	(unset LANG LC_ALL; shunt run -- env) >env
	refute grep -qE '^(LANG|LC_ALL)=' env
	[ "$(umask 077; shunt run -- umask)" = 0077 ]
	[ "$(umask 077; shunt run --clean-env -- umask)" = 0022 ]
}

@test "a task of another place gets the worker's environment" {
	local id
	printf '{"steps": ["env"], "submit_place": "7@0000000000000000", "umask": "077", "submit_env": {"PATH": "/nowhere", "TZ": "Mars/Base"}}' >foreign.json
	id=$(shunt submit foreign.json)
	shunt wait --timeout 30s "$id"
	shunt logs "$id" >env
	refute grep -q Mars env
	refute grep -q '^PATH=/nowhere' env
}

@test "standard input is sent when asked for, and said to be ignored else" {
	local id
	[ "$(printf 'one\ntwo\n' | shunt run --stdin -- 'wc -l')" -eq 2 ]
	head -c 200000 /dev/urandom >blob
	[ "$(shunt run --stdin=blob -- md5sum | cut -c1-32)" = "$(md5sum <blob | cut -c1-32)" ]
	head -c 5000001 /dev/urandom >large
	[ "$(shunt run --stdin=large -- md5sum | cut -c1-32)" = "$(md5sum <large | cut -c1-32)" ]
	# A retry has it, too, and so has a retry of that.
	id=$(shunt submit --stdin=large -- md5sum)
	shunt wait --timeout 20s "$id"
	id=$(shunt retry "$id")
	shunt wait --timeout 20s "$id"
	id=$(shunt retry "$id")
	shunt wait --timeout 20s "$id"
	[ "$(shunt logs "$id" | cut -c1-32)" = "$(md5sum <large | cut -c1-32)" ]
	# Pieces that nobody has sent are refused.
	printf '{"steps": ["cat"], "input": {"size": 700000, "chunks": 3}}' >pieces.json
	run -1 --separate-stderr shunt submit pieces.json
	[[ $stderr == *--stdin* ]]
	head -c 8388609 /dev/zero >huge
	run -2 --separate-stderr shunt run --stdin=huge -- true
	[[ $stderr == *'huge: larger than the 8388608 bytes allowed'* ]]
	[ "$(printf 'x\ny\n' | shunt run --stdin -- 'read a; echo "$a"; cat')" = $'x\ny' ]
	run --separate-stderr bash -c "echo hi | shunt run -- cat"
	[ "$output" = '' ]
	[[ $stderr == *'standard input is ignored; --stdin sends it'* ]]
	run --separate-stderr shunt run -- true </dev/null
	[ "$stderr" = '' ]
	[ "$(shunt run --stdin -- cat </dev/null)" = '' ]
}

@test "a secret has a name in the task, and its value nowhere but in its file" {
	local id secret=s3cr3t-$RANDOM$RANDOM
	id=$(TOK=$secret shunt submit --env-secret TOK -- 'test "$TOK" = '"$secret"' && echo "got $TOK"; sleep 1000')
	until_true 20 eval "shunt logs $id | grep -q got"
	[ "$(stat -c %a "$SHUNT_HOME/secrets/$id")" = 600 ]
	refute grep -rqF "$secret" "$SHUNT_HOME/ledger.db" "$SHUNT_HOME/spool"
	shunt show "$id" | grep -q 'TOK (secret)'
	shunt cancel "$id"
	# One that is typed in clear as well; a retry has it, too.
	id=$(shunt submit --env MY_TOKEN="ghp_$secret$secret" -- 'echo "$MY_TOKEN"')
	shunt wait --timeout 20s "$id"
	[ "$(shunt logs "$id")" = '***' ]
	refute grep -rqF "ghp_$secret" "$SHUNT_HOME/ledger.db" "$SHUNT_HOME/nats" "$SHUNT_HOME/reports"
	id=$(shunt retry "$id")
	shunt wait --timeout 20s "$id"
	[ "$(shunt logs "$id")" = '***' ]
	run --separate-stderr shunt run --env-secret NOT_SET_HERE -- true
	[ "$status" -eq 125 ] || [ "$status" -eq 1 ]
	[[ $stderr == *'secret NOT_SET_HERE: this worker does not have it'* ]]
}

@test "a secret stays out of the spool, and goes where its task goes" {
	local id secret=s3cr3t-$RANDOM$RANDOM own=$SHUNT_HOME
	export SHUNT_HOME=$BATS_TEST_TMPDIR/other
	# The address of a fleet that is down, as it was.
	mkdir -p "$SHUNT_HOME"
	echo nats://127.0.0.1:1 >"$SHUNT_HOME/endpoint"
	id=$(TOK=$secret shunt submit --env-secret TOK --env MY_TOKEN="x$secret" -- true)
	refute grep -rqF "$secret" "$SHUNT_HOME/spool"
	[ "$(stat -c %a "$SHUNT_HOME/secrets/$id")" = 600 ]
	# A task for another fleet than this folder's has no file here.
	id=$(SHUNT_BUS_TOKEN_FILE=$own/token shunt submit --nats "$(cat "$own/endpoint")" \
		--env MY_TOKEN="x$secret" -- 'test -n "$MY_TOKEN"')
	[ ! -e "$SHUNT_HOME/secrets/$id" ]
	export SHUNT_HOME=$own
	shunt wait --timeout 20s "$id"
}

@test "show lists what a task got, by name" {
	local id
	id=$(echo hi | TZ=UTC shunt submit --env A=1 --stdin -- true)
	run shunt show "$id"
	[[ $output == *'A (task)'* ]]
	[[ $output == *'TZ'*'(submitter)'* ]]
	[[ $output == *'input'*'3 B'* ]]
	shunt show "$id" --json | jq -e '.task.env.A == "1" and .task.submit_env.TZ == "UTC" and .task.input.size == 3'
}
