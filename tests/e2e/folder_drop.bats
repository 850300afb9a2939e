# Very many files at once, and processes that die meanwhile.
# FOLDER_DROP=10000 make e2e T=folder_drop
setup() {
	load helper
	new_home
	drop=${FOLDER_DROP:-600}
	project=$BATS_TEST_TMPDIR/project
	export SHUNT_HOME=$BATS_TEST_TMPDIR/home
	mkdir -p "$project/jobs/queue" "$project/jobs/in"
	export SHUNT_WORKER_LEASE=3s
	export SHUNT_FOLDER_SERIAL=no # they all run in one workdir
	cd "$project" || return 1
}

teardown() {
	stop_fleet
}

# Each job leaves its name, in one write.
make_jobs() {
	local i
	for ((i = 1; i <= drop; i++)); do
		printf '{"id": "j%s", "kind": "run_shell", "script": ["echo j%s >>%s/ran"]}' \
			"$i" "$i" "$project" >"jobs/in/j$i.json"
	done
}

drop_them() {
	find jobs/in -name '*.json' -exec mv -t jobs/queue {} +
}

count() { find "jobs/$1" -name "$2" ! -name '.claimed*' 2>/dev/null | wc -l; }
done_files() { echo $(($(count done '*.json') - $(count done '*.result.json'))); }
some_done() { [ "$(done_files)" -ge "$1" ]; }
all_done() { [ "$(done_files)" = "$drop" ]; }
empty() { [ -z "$(ls -A "$1")" ]; }

@test "every file ends in its folder though gateway and worker are killed" {
	shunt up -d --fast 3>&-
	make_jobs
	drop_them
	until_true 60 some_done $((drop / 10))
	kill -9 "$(pid_of gateway-folder)"
	kill -9 "$(pid_of worker-local)"
	until_true 60 some_done $((drop / 2))
	kill -9 "$(pid_of gateway-folder)"
	until_true $((120 + drop / 20)) all_done
	[ "$(count done '*.result.json')" = "$drop" ]
	jq -r .state jobs/done/*.result.json | sort -u | grep -qx succeeded
	empty jobs/queue
	until_true 10 empty jobs/running
	[ ! -e jobs/failed ]
	# One task for each, whatever was killed when.
	[ "$(shunt status --json | jq .counters.tasks)" = "$drop" ]
	[ "$(cat jobs/done/*.result.json | jq -r .task | sort -u | wc -l)" = "$drop" ]
	[ "$(sort -u ran | wc -l)" = "$drop" ]
}

@test "nothing is lost without file system events" {
	export SHUNT_FOLDER_WATCH=false SHUNT_FOLDER_RESCAN=500ms
	shunt up -d --fast 3>&-
	make_jobs
	# Some arrive while the gateway is stopped.
	kill -STOP "$(pid_of gateway-folder)"
	drop_them
	kill -CONT "$(pid_of gateway-folder)"
	until_true $((60 + drop / 20)) all_done
	empty jobs/queue
	[ "$(shunt status --json | jq .counters.tasks)" = "$drop" ]
	[ "$(sort ran | wc -l)" = "$drop" ]
}
