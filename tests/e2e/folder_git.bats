# A queue in a git checkout, through which a workflow elsewhere submits jobs and
# reads outcomes.
setup_file() {
	load helper
	new_home
	export REPO=$BATS_FILE_TMPDIR/origin.git CHECKOUT=$BATS_FILE_TMPDIR/checkout
	export RELAY=$BATS_FILE_TMPDIR/relay GIT_CONFIG_GLOBAL=$BATS_FILE_TMPDIR/gitconfig
	git config --global user.name relay
	git config --global user.email relay@example.org
	git config --global init.defaultBranch main
	git config --global pull.rebase true
	git init -q --bare "$REPO"
	git clone -q "$REPO" "$RELAY"
	mkdir -p "$RELAY/jobs/queue"
	touch "$RELAY/jobs/queue/.keep"
	git -C "$RELAY" add .
	git -C "$RELAY" commit -q -m begin
	git -C "$RELAY" push -q
	git clone -q "$REPO" "$CHECKOUT"
	export SHUNT_FOLDER_SETTLE=100ms SHUNT_FOLDER_GIT_INTERVAL=300ms
	export SHUNT_FOLDER_SERIAL=no # all jobs have the checkout as workdir
	export SHUNT_FOLDER_FOLDERS="$CHECKOUT/jobs/queue style=jobs git=pull+push"
	shunt up -d --fast 3>&-
}

teardown_file() {
	load helper
	stop_fleet
}

setup() {
	load helper
	cd "$RELAY" || return 1
}

# relay_job NAME COMMAND: commits a job as a workflow does.
relay_job() {
	jq -n --arg id "$1" --arg c "$2" '{id: $id, kind: "run_shell", script: [$c],
		report_path: "reports/jobs/\($id).out"}' >"jobs/queue/$1.json"
	git add jobs
	git commit -q -m "jobs: $1"
	until_true 20 pushed
}

pushed() { git pull -q --rebase && git push -q; }

# Whether the outcome has arrived in the repository.
returned() {
	git pull -q --rebase && [ -e "jobs/done/$1.json" ]
}

@test "a pushed job is pulled, run, and its outcome pushed" {
	relay_job one 'echo over git'
	until_true 30 returned one
	jq -e '.state == "succeeded"' jobs/done/one.result.json
	[ ! -e jobs/queue/one.json ]
	until_true 30 bash -c 'git pull -q --rebase; grep -q "over git" reports/jobs/one.out'
	[ "$(git log -1 --format=%an -- jobs/done/one.json)" = shunt-gateway-folder ]
	[ -z "$(git log --merges --format=%h)" ]
	refute grep claimed <(git ls-files)
}

@test "a running file is not committed as deleted" {
	mkfifo "$BATS_FILE_TMPDIR/hold"
	relay_job waits "cat '$BATS_FILE_TMPDIR/hold'"
	relay_job quick true
	until_true 30 returned quick
	git ls-files --error-unmatch jobs/queue/waits.json
	echo go >"$BATS_FILE_TMPDIR/hold"
	until_true 30 returned waits
	[ ! -e jobs/queue/waits.json ]
}

@test "a push that others overtake is repeated on top of theirs" {
	# A commit that appears in the moment of the gateway's push.
	cat >"$REPO/hooks/pre-receive" <<-HOOK
		#!/bin/sh
		read -r old new ref
		who=\$(git log -1 --format=%cn "\$new")
		if [ "\$who" != shunt-gateway-folder ] || [ -e '$BATS_FILE_TMPDIR/overtaken' ]; then
			exit 0
		fi
		# Outside the objects of this push, which are discarded.
		clean() { env -i PATH="\$PATH" GIT_DIR=. git -c user.name=x -c user.email=x@y "\$@"; }
		clean update-ref "\$ref" "\$(clean commit-tree -p "\$old" -m overtakes "\$old^{tree}")"
		: >'$BATS_FILE_TMPDIR/overtaken'
		exit 1
	HOOK
	chmod +x "$REPO/hooks/pre-receive"
	relay_job raced true
	until_true 30 returned raced
	[ -e "$BATS_FILE_TMPDIR/overtaken" ]
	git log --format=%s | grep -qx overtakes
	[ -z "$(git log --merges --format=%h)" ]
	rm "$REPO/hooks/pre-receive"
}

@test "a checkout that cannot be fast-forwarded is left unchanged and logged" {
	git -C "$CHECKOUT" commit -q --allow-empty -m "of a person, not pushed"
	relay_job stuck true
	until_true 30 grep -q 'error.*folder.git.*step=' "$SHUNT_HOME/log/gateway-folder.log"
	[ "$(git -C "$CHECKOUT" log -1 --format=%s)" = "of a person, not pushed" ]
	# A person resolves it; the gateway never does.
	until_true 20 bash -c 'cd "$CHECKOUT" && git pull -q --rebase && git push -q'
	until_true 30 returned stuck
	grep -q 'recovered' "$SHUNT_HOME/log/gateway-folder.log"
}

@test "C5: a file with a secret is not pushed until the secret is gone" {
	local token=ghp_0123456789abcdefghijABCDEFGHIJ456789
	mkdir -p "$CHECKOUT/jobs/queue"
	printf -- '---\nkind: script\n---\n# %s\ntrue\n' "$token" >"$CHECKOUT/jobs/queue/leak.md"
	jq -n --arg t "$token" '{id: "leaky", script: ["true"], env: {TOK: $t}}' \
		>"$CHECKOUT/jobs/queue/leaky.json"
	relay_job beside true
	until_true 30 returned beside
	until_true 30 grep -q 'error.*folder.secret.*jobs/done/leaky.json:[0-9]' \
		"$SHUNT_HOME/log/gateway-folder.log"
	# One more round, so that what would be pushed has been.
	relay_job after true
	until_true 30 returned after
	[ -z "$(git log --all -S "$token" --format=%h)" ]
	[ -e "$CHECKOUT/jobs/done/leaky.json" ]
	refute git ls-files --error-unmatch jobs/done/leaky.json
	sed -i "s/$token/gone/" "$CHECKOUT/jobs/done/leaky.json"
	until_true 30 returned leaky
}

@test "hooks of the checkout do not run" {
	for hook in pre-commit commit-msg post-commit post-merge post-checkout pre-push reference-transaction post-index-change; do
		printf '#!/bin/sh\ntouch %s/hook-%s\n' "$BATS_FILE_TMPDIR" "$hook" >"$CHECKOUT/.git/hooks/$hook"
		chmod +x "$CHECKOUT/.git/hooks/$hook"
	done
	git -C "$CHECKOUT" config core.fsmonitor "touch $BATS_FILE_TMPDIR/hook-fsmonitor; false"
	relay_job hooked true
	until_true 30 returned hooked
	refute compgen -G "$BATS_FILE_TMPDIR/hook-*"
	git -C "$CHECKOUT" config --unset core.fsmonitor
	rm "$CHECKOUT"/.git/hooks/*
}

@test "nothing is written through a link that a commit brings" {
	mkdir "$BATS_FILE_TMPDIR/elsewhere"
	git pull -q --rebase
	git rm -rq jobs/done
	ln -s "$BATS_FILE_TMPDIR/elsewhere" jobs/done
	git add jobs/done
	git commit -q -m 'a link'
	until_true 20 pushed
	until_true 30 test -L "$CHECKOUT/jobs/done"
	relay_job linked true
	until_true 30 eval 'shunt status --json | jq -e ".folders[].problems[]? | select(contains(\"symbolic link\"))"'
	[ -z "$(ls "$BATS_FILE_TMPDIR/elsewhere")" ]
	git pull -q --rebase
	git rm -q jobs/done
	git commit -q -m 'no link'
	until_true 20 pushed
	until_true 60 returned linked
	[ -z "$(ls "$BATS_FILE_TMPDIR/elsewhere")" ]
}
