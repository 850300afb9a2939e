# Files of a queue run one at a time in each workdir.
setup_file() {
	load helper
	new_home
	export PROJECT=$BATS_FILE_TMPDIR/project
	mkdir -p "$PROJECT/jobs/queue" "$PROJECT/.cloud-queue/pending" "$PROJECT/free"
	export SHUNT_FOLDER_SETTLE=100ms
	export SHUNT_FOLDER_FOLDERS="jobs/queue,.cloud-queue serial=workdir,free style=jobs serial=no running=running done=done failed=failed"
	cd "$PROJECT" || return 1
	shunt up -d --fast --slots 8 3>&-
}

teardown_file() {
	load helper
	stop_fleet
}

setup() {
	load helper
	cd "$PROJECT" || return 1
}

# put FOLDER NAME WORKDIR COMMAND
put() {
	jq -n --arg w "$3" --arg c "$4" '{workdir: $w, script: [$c]}' >".put.tmp"
	mv .put.tmp "$1/$2.json"
}

# Lets go a task that reads a pipe, which waits for it.
release() { timeout 20 bash -c "echo go >$1"; }

@test "A11: two files for one workdir run one after the other, others beside them" {
	mkdir -p one two
	ln -s one link
	mkfifo hold
	put jobs/queue a one "cat ../hold; echo a >>../order"
	until_true 20 test -e jobs/running/a.json
	put jobs/queue d link "mkdir busy; echo d >>../order; rmdir busy"
	put jobs/queue b "$PROJECT/one" "mkdir busy; echo b >>../order; rmdir busy"
	put jobs/queue c one "mkdir busy; echo c >>../order; rmdir busy"
	put jobs/queue z two "echo z >>../order"
	until_true 20 test -e jobs/done/z.json # does not wait for them
	for name in b c d; do [ -e "jobs/queue/$name.json" ]; done
	release hold
	for name in a b c d; do until_true 20 test -e "jobs/done/$name.json"; done
	[ "$(tr '\n' ' ' <order)" = "z a b c d " ]
	rm hold
}

@test "A11: one at a time holds over all serial folders, and not for others" {
	mkdir -p shared
	mkfifo hold
	put jobs/queue first shared "cat ../hold"
	until_true 20 test -e jobs/running/first.json
	put .cloud-queue/pending second shared "true"
	put free third shared "true"
	until_true 20 test -e free/done/third.json
	[ -e .cloud-queue/pending/second.json ]
	release hold
	until_true 20 test -e .cloud-queue/completed/second.json
	rm hold
}

@test "A11: who runs in a workdir is known after the gateway was killed" {
	mkdir -p again
	mkfifo hold
	put jobs/queue before again "cat ../hold"
	until_true 20 test -e jobs/running/before.json
	put jobs/queue behind again "true"
	put jobs/queue marker two "true"
	until_true 20 test -e jobs/done/marker.json
	for i in 1 2; do
		pid=$(pid_of gateway-folder)
		kill -9 "$pid"
		until_true 20 ended "$pid"
		put jobs/queue "marker$i" two "true"
		until_true 20 test -e "jobs/done/marker$i.json"
		[ -e jobs/queue/behind.json ]
	done
	release hold
	until_true 20 test -e jobs/done/behind.json
	rm hold
}

@test "A11: a file that was cancelled, or cannot be read, lets the next one go" {
	mkdir -p gone
	put jobs/queue one gone "sleep 600"
	until_true 20 bash -c "ls -A jobs/running | grep -q 'claimed.*one.json'"
	printf '{"workdir": "gone", "script": 7}' >.x.tmp
	mv .x.tmp jobs/queue/three.json
	put jobs/queue two gone "true"
	shunt cancel "$(ls -A jobs/running | sed -n 's/^\.claimed-\([^.]*\)\..*-one\.json$/\1/p')"
	until_true 20 test -e jobs/failed/one.json
	until_true 20 test -e jobs/done/two.json
	until_true 20 test -e jobs/failed/three.json.error
}

@test "A11: a file that waits for another's task does not keep its workdir from it" {
	mkdir -p chain
	jq -n '{workdir: "chain", steps: ["true"], after: ["the-first"]}' >.x.tmp
	mv .x.tmp jobs/queue/a.json
	until_true 20 test -e jobs/running/a.json
	jq -n '{id: "the-first", workdir: "chain", steps: ["true"]}' >.x.tmp
	mv .x.tmp jobs/queue/b.json
	until_true 20 test -e jobs/done/b.json
	until_true 20 test -e jobs/done/a.json
}
