# Folders that are added to a running fleet, and folders that cannot be used.
setup_file() {
	load helper
	new_home
	export SHUNT_FOLDER_SETTLE=100ms SHUNT_FOLDER_RESCAN=500ms
	shunt up -d --fast 3>&-
}

teardown_file() {
	load helper
	stop_fleet
}

setup() {
	load helper
	top=$BATS_FILE_TMPDIR
	work_dir
}

# project NAME: another project, and into it.
project() {
	mkdir -p "$top/$1/jobs/queue"
	cd "$top/$1" || return 1
}

# runs NAME: a job file that is dropped here comes to its end.
runs() {
	echo '{"script": ["true"]}' >".$1.tmp"
	mv ".$1.tmp" "jobs/queue/$1.json"
	until_true 20 test -e "jobs/done/$1.json"
}

watched() { shunt status --json | jq -e --arg p "$1" '.folders[] | select(.path == $p)'; }
alarm() { shunt status --json | jq -e --arg n "$1" --arg t "$2" \
	'.alarms[] | select(.name == $n and (.text | contains($t)))'; }

@test "D13: up where no folder is says that the fleet runs already" {
	run ! shunt up -d
	[[ $output == *"already running"* ]]
	refute pid_of gateway-folder
}

@test "D13: up in another project adds its folders to the running fleet" {
	project first
	run shunt up -d
	[ "$status" = 0 ]
	[[ $output == *"watching $top/first/jobs/queue"* ]]
	watched "$top/first/jobs/queue"
	runs one
	project second
	shunt up -d --json | jq -e '.added and .watching == [$ARGS.positional[0]]' \
		--args "$top/second/jobs/queue"
	runs two
	shunt up -d --json | jq -e '.added == false'
	[ "$(shunt status --json | jq '.folders | length')" = 2 ]
	cd "$top/first"
	runs three
}

@test "D13: added folders outlive a killed fleet, and end with down" {
	project first
	kill -9 "$(shunt status --json | jq .supervisor.pid)"
	until_true 10 refute shunt status
	work_dir
	shunt up -d --fast 3>&- 2>err
	grep -q "watching $top/second/jobs/queue" err
	project second
	runs four
	shunt down
	work_dir
	shunt up -d --fast 3>&- 2>err
	refute grep watching err
}

@test "D13: a folder that cannot be claimed from is an alarm with the remedy" {
	project crossing
	elsewhere=$(mktemp -d)
	ln -s "$elsewhere" jobs/running
	shunt up -d
	until_true 10 alarm folder_unusable 'make it a folder'
	echo '{"script": ["true"]}' >jobs/queue/waits.json
	run shunt doctor
	[ "$status" = 1 ]
	[[ $output == *"$top/crossing/jobs/running is a symbolic link"* ]]
	watched "$top/crossing/jobs/queue" | jq -e '.problems | length == 1'
	rm jobs/running
	rmdir "$elsewhere"
	until_true 20 test -e jobs/done/waits.json
	until_true 10 refute alarm folder_unusable crossing
	mv jobs/queue jobs/away
	until_true 10 alarm folder_unusable 'crossing/jobs/queue'
	mv jobs/away jobs/queue
	until_true 10 refute alarm folder_unusable crossing
	runs five
}

@test "A11: status says for which file another waits" {
	project waits
	shunt up -d
	mkfifo hold
	echo '{"script": ["cat hold"]}' >.x.tmp
	mv .x.tmp jobs/queue/a.json
	until_true 20 test -e jobs/running/a.json
	echo '{"script": ["true"]}' >.x.tmp
	mv .x.tmp jobs/queue/b.json
	until_true 20 bash -c "shunt status --json | jq -e '.folders[] |
		select(.waiting == 1 and .running == 1 and .note == \"b.json waits for a.json in $PWD\")'"
	timeout 20 bash -c 'echo go >hold'
	until_true 20 test -e jobs/done/b.json
}

@test "A3: a file that another fleet has claimed is an alarm" {
	project foreign
	mkdir jobs/running
	echo '{"script": ["true"]}' >jobs/running/.claimed-0123456789abcdef.0ther.far-away.12345678-x.json
	shunt up -d
	until_true 20 alarm folder_waits 'are claimed by fleet 0ther on host far-away since 2'
	[ -e jobs/running/.claimed-0123456789abcdef.0ther.far-away.12345678-x.json ]
	runs six
}
