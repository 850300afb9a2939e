# Every format, from a file to its tasks.
setup_file() {
	load helper
	mkdir -p "$BATS_FILE_TMPDIR/bin"
	printf '#!/bin/sh\necho "kubectl[$#]: $*"\n' >"$BATS_FILE_TMPDIR/bin/kubectl"
	chmod +x "$BATS_FILE_TMPDIR/bin/kubectl"
	export EXAMPLES=$PWD/tests/data/examples PATH=$BATS_FILE_TMPDIR/bin:$PATH
	start_fleet --slots 4
}
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

count() { shunt ls --limit 0 --json | jq length; }

@test "lint prints format, number and names of every example" {
	run --separate-stderr shunt lint "$EXAMPLES"/*
	[ "$status" -eq 0 ]
	[[ $output == *"rally.yaml	rally	4 tasks	feature-auth-prepare, feature-auth-backend"* ]]
	[[ $output == *"contract.json	run-contract	3 tasks	snapshot, render, acceptance"* ]]
	[[ $output == *"inbox-ask.json	inbox	1 task"* ]]
	[[ $output == *"job.json	job.json	1 task	2025-11-XX-001"* ]]
	[[ $output == *"task.md	markdown	1 task	task"* ]]
	[[ $output == *"cloud-queue.json	cloud-queue	1 task	TRA-56"* ]]
	[[ $output == *"brief.md	codex-brief	1 task"* ]]
	[[ $stderr == *"rally.yaml:8:61: warning: max_fails: "* ]]
	shunt lint --json "$EXAMPLES"/rally.yaml 2>/dev/null |
		jq -e '.[0] | .schema == "shunt.lint/1" and .format == "rally" and
			.tasks == 4 and .names[3] == "feature-auth-verify"'
}

@test "lint writes errors as compilers do, with file, line and column" {
	printf 'executor: x\ncontext_header: a: b\n' >bad.yaml
	run --separate-stderr shunt lint bad.yaml
	[ "$status" -eq 2 ]
	[ -z "$output" ]
	[[ $stderr == "bad.yaml:2:18: error: text with "* ]]
	[[ $stderr == *'needs quotes'* ]]
	run --separate-stderr shunt lint --json bad.yaml
	[ "$status" -eq 2 ]
	jq -e '.[0] | (.ok | not) and (.error.message | startswith("bad.yaml:2:18: "))' \
		<<<"$output"
	run shunt lint missing.yaml
	[ "$status" -eq 2 ]
	[[ $output == *"missing.yaml: error: "* ]]
}

@test "one bad file among several: nothing is submitted" {
	before=$(count)
	printf '{"script": "true"}' >good.json
	printf '{"script": 3}' >bad.json
	run shunt submit good.json bad.json
	[ "$status" -eq 2 ]
	[[ $output == *"bad.json:1:12: script: "* ]]
	[ "$(count)" = "$before" ]
}

@test "two briefs in a document from stdin are two tasks" {
	brief() {
		printf '```codex-brief\nexecutor: devbox-codex\nrepo: o/r\nbranch: main\n'
		printf 'workdir: %s\nsteps:\n  - name: say\n    shell: |\n' "$PWD/r"
		printf '      echo %s\noutputs: []\n```\n' "$1"
	}
	git init -q -b main r
	run --separate-stderr shunt submit --backend local --lane default - < <(
		echo '# Issue'; echo; brief one; echo; brief two)
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 2 ]
	shunt wait --timeout 30s "${lines[@]}"
	[ "$(shunt logs "${lines[1]}")" = two ]
	[ "$(shunt logs "${lines[0]}")" = one ]
}

@test "a contract runs in order, and a failure stops what comes after" {
	cat >contract.json <<-END
		{"work_branch": "b", "workdir": "$PWD", "tasks": [
		 {"id": "one", "commands": ["echo 1 >order"], "evidence": ["order"]},
		 {"id": "two", "commands": ["echo 2 >>order"]}],
		 "acceptance": ["test \"\$(cat order)\" = \"1\n2\""]}
	END
	ids=$(shunt submit contract.json)
	# shellcheck disable=SC2086
	shunt wait --timeout 60s $ids
	[ "$(cat order)" = $'1\n2' ]
	sed -i 's/"order"\]/"nowhere.txt"]/; s/echo 2/touch too-far; echo 2/' contract.json
	ids=$(shunt submit contract.json)
	# shellcheck disable=SC2086
	run shunt wait --timeout 60s $ids
	[ "$status" -eq 5 ]
	[ ! -e too-far ]
}

@test "a rally is one batch: prepare, its branches, verify" {
	cat >rally.yaml <<-END
		rally: build-it
		prepare: [touch prepared]
		branches:
		  a: {steps: [test -e prepared, touch a.out], exclusive_write: [a.out]}
		  b: {steps: [test -e prepared, touch b.out], exclusive_write: [b.out]}
		verify: [test -e a.out, test -e b.out]
	END
	ids=$(shunt submit rally.yaml)
	[ "$(wc -l <<<"$ids")" -eq 4 ]
	shunt wait --timeout 60s build-it
	shunt rally status build-it --json |
		jq -e '.size == 4 and .succeeded == 4 and .name == "build-it"'
	before=$(count)
	sed -i 's/\[b.out\]/["*.out"]/' rally.yaml
	run shunt submit rally.yaml
	[ "$status" -eq 2 ]
	[[ $output == *"branches a and b both claim 'a.out'"* ]]
	[ "$(count)" = "$before" ]
}

@test "an inbox ask runs kubectl with its arguments" {
	printf '%s' '{"kind": "ask", "actions": [{"cmd":
		"kubectl -n default get ksvc hello -o jsonpath='\''{.a b}'\''"}]}' |
		tr -d '\n\t' >ask.json
	id=$(shunt submit --backend local ask.json)
	shunt wait --timeout 30s "$id"
	[ "$(shunt logs "$id")" = 'kubectl[7]: -n default get ksvc hello -o jsonpath={.a b}' ]
	printf '{"kind": "ask", "actions": [{"cmd": "kubectl delete pod x"}]}' >delete.json
	run shunt submit delete.json
	[ "$status" -eq 2 ]
	[[ $output == *"delete is not accepted here"* ]]
}

@test "an apply without approval is held" {
	jq '.approved = false' "$EXAMPLES/inbox-apply.json" >apply.json
	run --separate-stderr shunt submit --backend local apply.json
	[ "$status" -eq 0 ]
	[[ $stderr == *"warning: approved is not true"* ]]
	until_true 10 sh -c "shunt show $output --json | jq -e '.state == \"held\"'"
	shunt cancel "$output"
	id=$(shunt submit --backend local "$EXAMPLES/inbox-apply.json")
	shunt wait --timeout 30s "$id"
	[[ $(shunt logs "$id") == *'kubectl[5]: apply -f infra/k8s/overlays/dev/hello-ksvc.yaml -n default'* ]]
}

@test "a cloud queue's file runs in the cloud if possible, else the decision says so" {
	jq '.task_data.command = "echo ran"' "$EXAMPLES/cloud-queue.json" >TRA-56_1763082150.json
	id=$(shunt submit TRA-56_1763082150.json)
	shunt wait --timeout 30s "$id"
	[ "$(shunt logs "$id")" = ran ]
	shunt show "$id" --json | jq -e '.decision | .rule == "prefix-cloud" and
		.backend == "local" and (.reason | contains("not available"))'
}

@test "D9: --after an unknown task is refused at once, with the nearest" {
	id=$(shunt submit -- true)
	shunt submit --after "$id" -- true
	typo=${id%?}$([[ $id == *a ]] && echo b || echo a)
	run --separate-stderr shunt submit --after "$typo" -- true
	[ "$status" -eq 2 ]
	[ -z "$output" ]
	[[ $stderr == *"--after $typo: no such task; did you mean $id?"* ]]
	run shunt run --after zzzz-nope -- true
	[ "$status" -ne 0 ]
	[[ $output == *"--after zzzz-nope"* ]]
}

@test "D9: what waits for a task nobody submitted says so, and a circle is named" {
	printf '{"id": "w1", "steps": ["true"], "after": ["nobody"]}' >w1.json
	publish tasks.in w1.json
	until_true 10 sh -c 'shunt explain w1 | grep -q "nobody has not been submitted"'
	until_true 10 sh -c 'shunt status | grep -q "w1 waits for nobody, which has not been submitted"'
	shunt cancel w1
	printf '{"id": "k1", "steps": ["true"], "after": ["k2"]}' >k1.json
	printf '{"id": "k2", "steps": ["true"], "after": ["k1"]}' >k2.json
	publish tasks.in k1.json
	publish tasks.in k2.json
	until_true 10 sh -c "shunt show k1 --json | jq -e '.state == \"rejected\"'"
	shunt show k2 --json | jq -re .reason | grep -E '^waits for itself: k(1 → k2 → k1|2 → k1 → k2)$'
}

@test "C2, C3, C8, D12: lint tells what is not read, what is nearly right, and what is wrong" {
	brief=$'executor: x\nrepo: o/r\nbranch: main\nworkdir: /\nsteps: [make]\noutputs: []\n```\n'
	printf '<!--\n```codex-brief\n%s-->\n```codex-brief\n%s' "$brief" "$brief" >two.md
	run --separate-stderr shunt lint two.md
	[ "$status" -eq 0 ]
	[[ $output == *"codex-brief	1 task"* ]]
	[[ $stderr == *"two.md:2:1: warning: a brief inside a comment"* ]]
	printf 'Do it.\n\n```Codex-Brief\n%s' "$brief" >near.md
	run shunt submit near.md
	[ "$status" -eq 2 ]
	[[ $output == *"near.md:3:1: "*"did you mean codex-brief?"* ]]
	printf -- '---\ntitle: T\nmax_retries: 3\npriority: 1\n---\nText.\n' >queue.md
	id=$(shunt submit --hold queue.md)
	until_true 10 sh -c "shunt show $id --json | jq -e '.state == \"held\"'"
	shunt show "$id" --json | jq -e '.task | .retries == 2 and .priority == -1 and
		.prompt == "T\n\nText."'
	shunt cancel "$id"
	printf '{"script": ["true"],}' >comma.json
	run shunt lint comma.json
	[ "$status" -eq 2 ]
	[[ $output == "comma.json:1:20: error: a comma behind the last entry; remove it" ]]
}
