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
