# The definition of done: each outcome, with a real repository.
setup_file() { load helper; start_fleet --slots 2; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; new_repo; }

# A repository of its own for each test: a.txt, kept.txt with a change that is
# not committed, new.txt that git does not know, *.log that it ignores.
new_repo() {
	repo=$BATS_TEST_TMPDIR/repo
	git init -q -b main "$repo"
	cd "$repo" || return 1
	git config user.email somebody@example.com
	git config user.name Somebody
	printf 'one\n' >a.txt
	printf 'kept 0\n' >kept.txt
	printf '*.log\n' >.gitignore
	git add -A
	git commit -qm first
	printf 'kept 1\n' >kept.txt
	printf 'new\n' >new.txt
}

# judge EXPR SCRIPT STATE [REASON] - runs SCRIPT and checks the outcome.
judge() {
	local id shown
	id=$(shunt submit --dod "$1" -- "$2")
	run shunt wait --timeout 60s "$id"
	shown=$(shunt show "$id" --json)
	[ "$(jq -r .state <<<"$shown")" = "$3" ] || { echo "$shown"; return 1; }
	[ "$status" -eq "$([ "$3" = succeeded ] && echo 0 || echo 5)" ]
	[[ "$(jq -r '.reason // ""' <<<"$shown")" == *"${4:-}"* ]] ||
		{ echo "$shown"; return 1; }
}

@test "changed files are counted, by whatever means they changed" {
	judge 'files_changed("reports/**") == 1 and files_changed == 1' \
		'mkdir -p reports/x; echo r >reports/x/y.md' succeeded
	judge 'files_changed("*.txt") == 1 and files_changed == 1' \
		'echo two >>a.txt; git commit -qam second' succeeded
	judge 'files_changed == 1' 'echo kept 2 >kept.txt' succeeded
	judge 'files_changed("new.txt") == 1 and files_changed == 1' \
		'rm new.txt' succeeded
	judge 'files_changed == 2' 'git mv a.txt b.txt' succeeded
	judge 'files_changed == 1' 'git checkout -q HEAD~ -- a.txt' succeeded
}

@test "a file that was dirty before and is the same after does not count" {
	judge 'files_changed >= 1' 'touch a.txt kept.txt new.txt; echo x >x.log' \
		no_op 'changed nothing: files_changed >= 1 (files_changed is 0)'
	judge 'files_changed >= 1' \
		'echo other >kept.txt; echo kept 1 >kept.txt' no_op
	judge 'files_changed >= 1' 'git add -A; git commit -qm all' no_op
}

@test "a change to another file than the expected one is a failure" {
	judge 'files_changed("reports/**") >= 1' 'echo x >elsewhere' \
		failed 'files_changed("reports/**") is 0'
}

@test "only files below the workdir count" {
	mkdir -p sub/deep
	cd sub
	judge 'files_changed == 1 and files_changed("deep/*") == 1' \
		'echo x >../outside; echo x >deep/inside' succeeded
}

@test "a repository without a commit and a linked work tree work" {
	git init -q "$BATS_TEST_TMPDIR/empty"
	git worktree add -q "$BATS_TEST_TMPDIR/tree" -b other
	cd "$BATS_TEST_TMPDIR/empty"
	judge 'files_changed == 1' 'echo x >x' succeeded
	cd "$BATS_TEST_TMPDIR/tree"
	judge 'files_changed == 1' 'echo x >x; git add x; git commit -qm x' succeeded
}

@test "the snapshots leave the repository unchanged and run no hooks" {
	# shellcheck disable=SC2016
	printf '#!/bin/sh\ntouch "%s/ran"\n' "$BATS_TEST_TMPDIR" >hook
	chmod +x hook
	for name in post-index-change pre-commit fsmonitor-watchman; do
		cp hook .git/hooks/$name
	done
	git config core.fsmonitor "$PWD/hook"
	git config diff.external "$PWD/hook"
	rm -f "$BATS_TEST_TMPDIR/ran"
	find .git -type f ! -name '*.pack' -exec md5sum {} + | sort >"$BATS_TEST_TMPDIR/before"
	judge 'files_changed == 1' 'echo x >x' succeeded
	find .git -type f ! -name '*.pack' -exec md5sum {} + | sort |
		diff "$BATS_TEST_TMPDIR/before" -
	[ ! -e "$BATS_TEST_TMPDIR/ran" ]
	run ls "${TMPDIR:-/tmp}"/shunt-git-*
	[ "$status" -ne 0 ]
}

@test "the task's git variables do not affect the snapshots" {
	id=$(shunt submit --env GIT_DIR=/nowhere --env GIT_INDEX_FILE=/nowhere \
		--dod 'files_changed == 1' -- 'echo x >x')
	shunt wait --timeout 60s "$id"
}

@test "D6: the reason names every condition that failed, the exit code first" {
	judge 'exit_code == 0 and log_contains("x")' 'exit 3' \
		failed 'exit code 3; log_contains("x")'
	judge 'log_contains("x") and exit_code == 0 and duration > 1h' 'exit 3' \
		failed 'exit code 3; log_contains("x") (log_contains("x") is false); duration > 1h'
	run -3 --separate-stderr shunt run \
		--dod 'exit_code == 0 and log_contains("x")' -- 'exit 3'
	[[ $stderr == *'exit code 3; log_contains("x")'* ]]
}

@test "no repository: unverified, and the reason says so" {
	cd "$BATS_TEST_TMPDIR"
	mkdir plain
	cd plain
	judge 'files_changed >= 1' 'echo x >x' unverified 'not a git repository'
	judge 'files_changed >= 1' 'exit 3' failed 'exit code 3'
}

@test "neither unverified nor no_op is run again" {
	id=$(shunt submit --retries 2 --dod 'tests.failed == 0' -- 'echo no tests')
	run shunt wait --timeout 60s "$id"
	[ "$status" -eq 5 ]
	shunt show "$id" --json | jq -e '.state == "unverified" and (.attempts | length) == 1'
	id=$(shunt submit --retries 2 --dod 'files_changed >= 1' -- true)
	run shunt wait --timeout 60s "$id"
	shunt show "$id" --json | jq -e '.state == "no_op" and (.attempts | length) == 1'
}

@test "run exits 1 with the reason for a command that exited 0 and is not done" {
	run --separate-stderr shunt run --dod 'tests.failed == 0' -- 'echo hello'
	[ "$status" -eq 1 ]
	[ "$output" = hello ]
	# shellcheck disable=SC2154
	[[ $stderr == *unverified*"no test results were recognised"* ]]
	run --separate-stderr shunt run --dod 'files_changed >= 1' -- true
	[ "$status" -eq 1 ]
	[[ $stderr == *no_op*"changed nothing"* ]]
}

@test "test results are read from the output" {
	judge 'tests.failed == 0 and tests.total == 3' \
		'echo "== 2 passed, 1 skipped in 0.10s =="' succeeded
	judge 'tests.failed == 0' 'printf "1..3\nok 1\n"' \
		failed 'tests.failed == 0 (tests.failed is 2)'
	judge 'tests.failed == 0' 'echo "== 2 passed in 0.10s =="; exit 1' \
		failed 'exit code 1'
	judge 'exit_code <= 1 and tests.failed <= 1' \
		'echo "== 1 failed, 2 passed in 0.10s =="; exit 1' succeeded
	judge 'tests.failed == 0' 'echo "no tests ran in 0.01s"' \
		unverified 'no test ran'
	judge 'tests.total == 0' 'echo "no tests ran in 0.01s"' succeeded
	judge 'tests.failed == 0' 'echo nothing of that kind' \
		unverified 'no test results were recognised'
}

@test "the whole output is read, even what is not kept" {
	big='head -c 12000000 /dev/zero | tr "\0" "x" | fold -w 1000'
	judge 'not log_matches("^TO+DO [0-9]+$")' \
		"$big; echo; echo TOODO 17; $big" failed 'is true'
	judge 'log_contains("here it is") and not log_matches("[0-9]")' \
		"$big; printf '\\n\\033[1mhere\\033[0m it is\\n'; $big" succeeded
}

@test "files are searched below the workdir only" {
	mkdir -p out/deep "$BATS_TEST_TMPDIR/secret"
	touch "$BATS_TEST_TMPDIR/secret/file"
	ln -s "$BATS_TEST_TMPDIR/secret" leads-out
	ln -s out leads-in
	judge 'file_exists("out/deep/x.pdf") and file_exists("out/**/*.pdf") and
		file_exists("*.pdf") and file_exists("leads-in/deep/x.pdf")' \
		'touch out/deep/x.pdf' succeeded
	judge 'file_exists("leads-out/file")' true failed 'is false'
	judge 'file_exists("leads-out/*")' true failed 'is false'
	judge 'not file_exists("nothing") and not file_exists("no*thing")' \
		true succeeded
}

@test "the time that git takes does not count for the task" {
	git config filter.slow.clean 'sleep 1; cat'
	echo '*.slow filter=slow' >.gitattributes
	echo x >x.slow
	id=$(shunt submit --timeout 900ms --dod 'files_changed == 1 and duration < 800ms' \
		-- 'echo x >x')
	shunt wait --timeout 60s "$id"
}

@test "a task that is cancelled during a snapshot is cancelled" {
	git config filter.stuck.clean 'sleep 1000; cat'
	echo '*.stuck filter=stuck' >.gitattributes
	echo x >x.stuck
	id=$(shunt submit --dod 'files_changed == 1' -- 'echo x >x')
	until_true 20 pgrep -f 'sleep 1000; cat'
	shunt cancel --timeout 30s "$id"
	[ "$(shunt show "$id" --json | jq -r .state)" = cancelled ]
	until_true 10 gone 'sleep 1000; cat'
	[ ! -e x ]
}

@test "mistakes are caught before anything is submitted" {
	before=$(shunt ls --limit 0 --json | jq length)
	run shunt submit --dod 'test.failed == 0' -- true
	[ "$status" -eq 2 ]
	[[ $output == *"did you mean tests.failed?"* ]]
	[[ $output == *$'\n'*'  test.failed == 0'$'\n''  ^'* ]]
	printf '{"id": "x", "kind": "run_shell",\n "script": ["true"],\n "dod": "duration < '"'1m'"'"\n}' >text.json
	for command in lint submit; do
		run shunt $command text.json
		[ "$status" -eq 2 ]
		[[ $output == *text.json:3:*"column 12:"*"cannot be compared with text"* ]]
		[[ $output == *^* ]]
	done
	[ "$(shunt ls --limit 0 --json | jq length)" = "$before" ]
}

@test "an invalid expression from the bus is refused with the reason" {
	printf '{"id": "bad-dod", "steps": ["true"], "dod": "test.failed == 0"}' >task
	publish tasks.in task
	until_true 20 shunt show bad-dod
	run shunt wait --timeout 30s bad-dod
	[ "$status" -eq 5 ]
	shunt show bad-dod --json | jq -e '.state == "rejected" and
		(.reason | contains("did you mean tests.failed?"))'
}
