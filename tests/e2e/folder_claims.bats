# Files in a queue that are open, growing, oddly named, or another fleet's.
setup_file() {
	load helper
	new_home
	export PROJECT=$BATS_FILE_TMPDIR/project
	mkdir -p "$PROJECT/jobs/queue" "$PROJECT/agent-queue" "$PROJECT/.cloud-queue/pending" \
		"$PROJECT/codex/inbox"
	export SHUNT_FOLDER_SETTLE=300ms SHUNT_FOLDER_PATIENCE=1s SHUNT_FOLDER_REPAIR=1s
	export SHUNT_FOLDER_FOLDERS="agent-queue,codex/inbox"
	cd "$PROJECT" || return 1
	shunt up -d --fast 3>&-
}

teardown_file() {
	load helper
	stop_fleet
	SHUNT_HOME=$BATS_FILE_TMPDIR/other stop_fleet
}

setup() {
	load helper
	cd "$PROJECT" || return 1
	log=$SHUNT_HOME/log/gateway-folder.log
}

# put FOLDER NAME TEXT: as producers should.
put() {
	printf '%s' "$3" >".put.tmp"
	mv .put.tmp "$1/$2"
}

empty() { [ -z "$(ls -A "$1")" ]; }
tasks() { shunt status --json | jq .counters.tasks; }
# said EVENT WORDS: the gateway's log has a line with both.
said() { grep -F " $1 " "$log" | grep -F -e "$2"; }

# Lets go a task that reads a pipe, which waits for it.
release() { timeout 20 bash -c "echo go >$1"; }

# A marker that was claimed after what was put before it.
passed() {
	put jobs/queue "$1.json" '{"script": ["true"]}'
	until_true 20 test -e "jobs/done/$1.json"
}

@test "A2: a file that its writer still has open is left alone" {
	exec 8>jobs/queue/r.yaml
	printf 'rally: r\nbranches:\n  a:\n    steps: [echo a]\n' >&8
	until_true 20 said folder.open r.yaml
	passed open
	[ -e jobs/queue/r.yaml ]
	printf '  b:\n    steps: [echo b]\n' >&8
	exec 8>&-
	until_true 20 test -e jobs/done/r.yaml
	[ "$(jq '.tasks | length' jobs/done/r.yaml.result.json)" = 2 ]
}

@test "A2: an empty file waits while it is open" {
	exec 8>jobs/queue/empty.json
	until_true 20 said folder.open empty.json
	passed before
	[ -e jobs/queue/empty.json ]
	printf '{"script": ["echo filled"]}' >&8
	exec 8>&-
	until_true 20 test -e jobs/done/empty.json
}

@test "A2: a file that a second writer appends to runs whole, once" {
	before=$(tasks)
	printf 'rally: twice\nbranches:\n  a:\n    steps: [echo a]\n' >jobs/queue/twice.yaml
	printf '  b:\n    steps: [echo b]\n' >>jobs/queue/twice.yaml
	until_true 20 test -e jobs/done/twice.yaml
	[ "$(jq '.tasks | length' jobs/done/twice.yaml.result.json)" = 2 ]
	[ "$(tasks)" = $((before + 2)) ]
}

@test "A2: a change after the claim is said, and the file is never called done" {
	mkfifo hold hold2
	put jobs/queue late.json "{\"script\": [\"cat $PROJECT/hold\"]}"
	put agent-queue late.md "{\"steps\": [\"cat $PROJECT/hold2\"]}"
	until_true 20 test -e jobs/running/late.json
	until_true 20 test -e agent-queue/running/late.md
	echo ' ' >>jobs/running/late.json
	echo 'And delete nothing.' >>agent-queue/running/late.md
	release hold
	until_true 20 test -e jobs/failed/late.json
	release hold2
	until_true 20 test -e agent-queue/failed/late.md
	[ ! -e jobs/done/late.json ]
	[ ! -e agent-queue/done/late.md ]
	jq -e '.state == "succeeded" and .exit_code == 0
		and (.warnings[0] | contains("changed after it was claimed"))' jobs/failed/late.result.json
	grep -q 'And delete nothing' agent-queue/failed/late.md
	grep -q '^warning: the file was changed' agent-queue/failed/late.md
	until_true 5 said folder.changed late.json
	rm hold*
}

@test "A2: a file that was changed while no gateway ran is not run again" {
	mkfifo hold
	put jobs/queue down.json "{\"script\": [\"echo x >>ran-down; cat $PROJECT/hold\"]}"
	until_true 20 test -e ran-down
	pid=$(pid_of gateway-folder)
	kill -STOP "$pid"
	echo '{"rally": "r", "branches": {"a": {"steps": ["echo x >>ran-down"]}}}' \
		>jobs/running/down.json
	kill -KILL "$pid"
	until_true 20 test -e jobs/failed/down.json.error
	grep -q 'changed after it was claimed as task' jobs/failed/down.json.error
	release hold
	passed after
	[ "$(wc -l <ran-down)" = 1 ]
	rm hold*
}

@test "A2: links, pipes, folders and editors' files are left alone" {
	mkdir jobs/queue/dir.json
	mkfifo jobs/queue/pipe.json
	ln -s /etc/passwd jobs/queue/link.json
	for name in .r.yaml.swp '#r.yaml#' r.yaml~ 4913 .r.json.Xy12aB r.json.part; do
		echo '{"script": ["true"]}' >"jobs/queue/$name"
	done
	before=$(ls -A jobs/queue)
	passed odd
	[ "$(ls -A jobs/queue)" = "$before" ]
	rm -rf jobs/queue/*.json jobs/queue/.[r]* jobs/queue/*r* jobs/queue/4913
}

@test "A10: every name that the file system can hold runs, in every style" {
	long=$(printf '見積%.0s' {1..41})ab # 248 bytes
	for dir in jobs/queue .cloud-queue/pending codex/inbox; do
		put $dir "$(printf '見積%.0s' {1..33}).json" '{"script": ["true"]}'
		put $dir "$long.json" '{"script": ["true"]}'
		put $dir "-rf.json" '{"script": ["true"]}'
		put $dir $'two\nlines.json' '{"script": ["true"]}'
		put $dir $'latin-\xe9.json' '{"script": ["true"]}'
		put $dir $'caf\xc3\xa9.json' '{"script": ["true"]}'
		put $dir $'cafe\xcc\x81.json' '{"script": ["true"]}'
		put $dir "Twin.json" '{"script": ["true"]}'
		put $dir "twin.json" '{"script": ["true"]}'
		put $dir "$long.JSON" '{"script": ["exit 3"]}'
	done
	put agent-queue "$long""abc.md" '{"steps": ["true"]}'
	put jobs/queue "$long.yaml" 'steps: ['
	for dir in jobs/done .cloud-queue/completed codex/inbox/_done; do
		until_true 30 test -e "$dir/$(printf '見積%.0s' {1..33}).json"
		until_true 30 test -e "$dir/$long.json"
		until_true 30 test -e "$dir/-rf.json"
		until_true 30 test -e "$dir/"$'two\nlines.json'
		until_true 30 test -e "$dir/"$'latin-\xe9.json'
		until_true 30 test -e "$dir/"$'caf\xc3\xa9.json'
		until_true 30 test -e "$dir/"$'cafe\xcc\x81.json'
		until_true 30 test -e "$dir/Twin.json"
		until_true 30 test -e "$dir/twin.json"
	done
	for dir in jobs/failed .cloud-queue/failed codex/inbox/_failed; do
		until_true 30 test -e "$dir/$long.JSON"
	done
	until_true 30 test -e "agent-queue/done/${long}abc.md"
	until_true 30 test -e "jobs/failed/$long.yaml"
	# Each has its outcome beside it.
	[ "$(ls jobs/done | grep -c '^見積.*\.result\.json$')" = 2 ]
	[ "$(ls jobs/failed | grep -c '^見積.*\.result\.json$')" = 1 ]
	[ "$(ls jobs/failed | grep -c '^見積.*\.error$')" = 1 ]
	[ "$(cat "codex/inbox/"*done/*.json | wc -l)" = 0 ]
	[ -e "reports/codex_runs/$long/run.log" ]
	for dir in jobs/queue jobs/running .cloud-queue/pending .cloud-queue/running \
		codex/inbox/_running agent-queue/running; do
		until_true 5 empty $dir
	done
	# The same once more: the second name fits as well.
	put jobs/queue "$long.json" '{"script": ["true"]}'
	until_true 30 bash -c '[ $(ls jobs/done | grep -c "^見積.*\.json$") = 6 ]'
}

@test "A3: a claimed file that is moved back is a new task" {
	put jobs/queue back.json '{"script": ["echo x >>ran-back; test -e go || sleep 600"]}'
	until_true 20 test -e ran-back
	name=$(cd jobs/running && ls -A | grep claimed)
	touch go
	mv "jobs/running/$name" jobs/queue/back.json
	id=${name#.claimed-}
	shunt cancel "${id%%.*}"
	until_true 20 test -e jobs/done/back.json
	[ "$(wc -l <ran-back)" = 2 ]
}

@test "A3: a file that another fleet has claimed is left to it, and that is said" {
	mkfifo hold
	put jobs/queue shared.json "{\"script\": [\"echo x >>ran-shared; cat $PROJECT/hold\"]}"
	until_true 20 test -e ran-shared
	name=$(cd jobs/running && ls -A | grep claimed)
	[[ $name == *".$(cat "$SHUNT_HOME/fleet").$(uname -n | tr -c 'a-zA-Z0-9\n' -)."* ]]
	mine=$SHUNT_HOME
	export SHUNT_HOME=$BATS_FILE_TMPDIR/other
	shunt up -d --fast 3>&-
	log=$SHUNT_HOME/log/gateway-folder.log
	until_true 20 said folder.foreign "claimed by fleet $(cat "$mine/fleet") on host"
	# The other fleet goes on with what nobody has.
	put jobs/queue free.json '{"script": ["true"]}'
	until_true 20 test -e jobs/done/free.json
	for i in 1 2 3 4; do passed "later$i"; done
	id=${name#.claimed-}
	refute shunt show "${id%%.*}"
	SHUNT_HOME=$mine
	[ -e "jobs/running/$name" ]
	kill -9 "$(pid_of gateway-folder)" # our own claims are found again
	release hold
	until_true 20 test -e jobs/done/shared.json
	[ "$(wc -l <ran-shared)" = 1 ]
}
