# Tasks that name a branch: a work tree of that branch, or the reason why not.
setup_file() { load helper; SHUNT_WORKER_LEASE=1500ms start_fleet --slots 4; }
teardown_file() { load helper; stop_fleet; }
setup() {
	load helper
	work_dir
	R=$PWD/repo-$BATS_TEST_NUMBER
	make_repo "$R"
}

# A repository with main, checked out on feature/x, where a file is dirty.
make_repo() {
	git init -q -b main "$1"
	git -C "$1" config user.email test@example.com
	git -C "$1" config user.name test
	mkdir "$1/sub"
	echo main >"$1/sub/a"
	git -C "$1" add .
	git -C "$1" commit -qm one
	git -C "$1" checkout -qb feature/x
	echo feature >"$1/sub/a"
	git -C "$1" commit -qam two
	echo dirty >>"$1/sub/a"
}

# brief BRANCH OUTPUTS SCRIPT... - a brief on standard output.
brief() {
	printf 'executor: devbox-codex\nrepo: acme/web\nbranch: %s\n' "$1"
	printf 'workdir: %s/sub\noutputs: %s\nsteps:\n' "$R" "$2"
	shift 2
	printf '  - shell: |\n      %s\n' "$@"
}

# ran STATE: submits the brief on standard input; its result is in $result.
ran() {
	local id
	cat >brief.yaml
	id=$(shunt submit --backend local --lane default brief.yaml)
	shunt wait "$id" --timeout 30s || true
	result=$(shunt show "$id" --json)
	shown=$(shunt logs "$id")
	[ "$(jq -r .state <<<"$result")" = "$1" ] || { echo "$result" && return 1; }
}

trees() {
	git -C "$R" worktree list | wc -l
}

untouched() {
	[ "$(cat "$R/sub/a")" = "$(printf 'feature\ndirty')" ]
	[ "$(git -C "$R" branch --show-current)" = feature/x ]
}

@test "B4: a brief runs on its branch, in a work tree that goes afterwards" {
	ran succeeded < <(brief main '[]' 'pwd; cat a; git status --porcelain')
	[[ $shown == "$SHUNT_HOME/worker/worktrees/"*-1/sub$'\n'main ]]
	jq -e '.warnings == null' <<<"$result"
	[ "$(trees)" -eq 1 ]
	untouched
}

@test "B4: on the branch that is checked out it runs in place" {
	ran succeeded < <(brief feature/x '[]' 'pwd; tail -n 1 a')
	[ "$shown" = "$R/sub"$'\n'dirty ]
}

@test "B4: a work tree with changes is kept, and named in the result" {
	local kept
	ran succeeded < <(brief main '[]' 'echo new >b; echo main2 >a')
	kept=$(jq -r '.warnings[0]' <<<"$result" | grep -o '/[^;]*')
	[ "$(cat "$kept/sub/a")" = main2 ]
	[ "$(git -C "$kept" status --porcelain | wc -l)" -eq 2 ]
	untouched
	# So is one with a commit that is on no branch, but not one that is.
	ran succeeded < <(brief main '[]' 'git commit -q --allow-empty -m x')
	jq -e '.warnings[0] | contains("nobody has carried them out")' <<<"$result"
	ran succeeded < <(brief main '[]' 'git switch -qc work-1; git commit -q --allow-empty -m x')
	jq -e '.warnings == null' <<<"$result"
	git -C "$R" log -1 --format=%s work-1 | grep -qx x
	[ "$(trees)" -eq 3 ]
}

@test "B4: what cannot run on its branch does not run" {
	local outside=$PWD/outside
	ran failed < <(brief nope '[]' 'touch ran')
	jq -e '.exit_code == 125 and (.reason | contains("branch nope: "))' <<<"$result"
	git -C "$R" remote add origin git@github.com:acme/other.git
	ran failed < <(brief main '[]' 'touch ran')
	jq -e '.reason | contains("repo acme/web: ") and
		contains("acme/other.git")' <<<"$result"
	git -C "$R" remote set-url origin https://github.com/Acme/Web
	ran succeeded < <(brief main '[]' 'cat a')
	[ ! -e "$R/sub/ran" ]
	mkdir "$outside"
	run shunt run --workdir "$outside" --branch main -- touch ran
	[ "$status" -eq 125 ]
	[[ $output == *"branch main: $outside: not a git repository"* ]]
	[ ! -e "$outside/ran" ]
	run shunt run --workdir "$outside" --branch main --dod 'exit_code == 0 and log_contains("x")' -- true
	[[ $output == *"branch main: "*"; not done: exit code 125; "* ]]
	untouched
}

@test "B4: a branch that only origin has is found as well" {
	git clone -q "$R" "$R-clone"
	R=$R-clone
	git -C "$R" remote set-url origin ssh://git@github.com/acme/web.git
	[ -z "$(git -C "$R" branch --list main)" ]
	ran succeeded < <(brief main '[]' 'cat a')
	[ "$shown" = main ]
}

@test "B4: a declared file that is missing or unchanged is not proven" {
	local outputs='[{type: pr, title: T, files: [new.txt, a, b]}]'
	ran unverified < <(brief feature/x "$outputs" 'echo b >b')
	jq -e '.exit_code == 0 and .reason ==
		"not proven: new.txt is missing, a is unchanged"' <<<"$result"
	ran succeeded < <(brief main "$outputs" 'touch new.txt b; echo x >>a')
	ran failed < <(brief main "$outputs" 'exit 3')
	jq -e '.exit_code == 3' <<<"$result"
}

@test "B4: an output that nobody carries out is said by lint and in the result" {
	local id
	brief main '[{type: pr, title: T}, {type: comment, body: b}]' true >o.yaml
	run shunt lint o.yaml
	[ "$status" -eq 0 ]
	[[ $output == *"warning: type: nothing here opens pull requests"* ]]
	[[ $output == *"warning: type: nothing here writes comments"* ]]
	ran succeeded <o.yaml
	jq -e '.warnings | length == 2 and (.[0] | contains("opens pull requests"))
		and (.[1] | contains("writes comments"))' <<<"$result"
	printf '{"steps": ["true"], "outputs": [{"type": "pr", "title": "T"}]}' >t.json
	id=$(shunt submit t.json)
	shunt wait "$id"
	shunt show "$id" --json | jq -e '.warnings ==
		["output pr is not carried out: nothing here opens pull requests"]'
	ran succeeded < <(brief main '[{type: report, path: reports/r.md}]' true)
	jq -e '.warnings == null' <<<"$result"
}

@test "B4: several tasks of one repository at once, each in its own work tree" {
	local ids=() i
	for i in 1 2 3 4 5 6 7 8; do
		ids+=("$(shunt submit --workdir "$R" --branch main -- \
			"git status --porcelain; cat sub/a; echo $i >sub/a; cat sub/a; git checkout -q sub")")
	done
	shunt wait "${ids[@]}" --timeout 60s
	for i in 1 2 3 4 5 6 7 8; do
		[ "$(shunt logs "${ids[i - 1]}")" = main$'\n'$i ]
	done
	[ "$(trees)" -eq 1 ]
}

@test "B4: a step's folder within the checkout is meant within the work tree" {
	printf '{"workdir": "%s", "branch": "main", "steps": [{"script": "cat a",
		"workdir": "%s/sub"}, {"script": "cat a", "workdir": "sub"}]}' \
		"$R" "$R" >steps.json
	run shunt submit steps.json
	shunt wait "$output"
	[ "$(shunt logs "$output")" = main$'\n'main ]
}

@test "B4: work trees that a killed worker leaves go when it starts again" {
	local id
	id=$(shunt submit --retry never --workdir "$R" --branch main -- \
		"echo \$\$ >'$PWD/new'; mv '$PWD/new' '$PWD/running'; sleep 1000")
	until_true 10 test -e running
	[ "$(trees)" -eq 2 ]
	kill -9 "$(pid_of worker-local)"
	alone() { [ "$(trees)" -eq 1 ]; }
	until_true 20 alone
	shunt cancel --no-wait "$id"
}

@test "B4: tasks of a batch say so when their checkout is on another branch" {
	printf '{"work_branch": "agent/1", "workdir": "%s", "tasks": [
		{"id": "one", "commands": ["cat sub/a"]}], "acceptance": []}' "$R" >c.json
	run shunt submit c.json
	shunt wait "${lines[@]}"
	shunt show "${lines[0]}" --json | jq -e '.state == "succeeded" and
		(.warnings[0] | contains("branch agent/1: ") and
			contains("is on feature/x; it ran there as it is"))'
}
