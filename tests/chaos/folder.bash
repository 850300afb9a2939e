# folder - files in a folder while its gateways die: each is one task and ends in
# the right folder.
# shellcheck shell=bash

# drop N: writes N job files and an invalid one.
drop() {
	local i
	mkdir -p "$D/drop"
	for ((i = 1; i <= $1; i++)); do
		jq -n --arg id "file-$i" --arg dir "$D" --arg c "$here/task $D $seconds ok" \
			'{id: $id, kind: "run_shell", workdir: $dir, script: [$c]}' \
			>"$D/drop/file-$i.json"
	done
	echo '{"id": "bad",' >"$D/drop/bad.json"
	mv "$D"/drop/*.json "$D/jobs/queue/"
}

ended_in() { find "$D/jobs/$1" -maxdepth 1 -name "$2" 2>/dev/null | wc -l; }

all_carried() {
	[ "$(ended_in done 'file-*.result.json')" = "$1" ] &&
		[ "$(ended_in failed 'bad.json')" = 1 ] &&
		[ -z "$(ls -A "$D/jobs/queue" "$D/jobs/running" | grep json)" ]
}

# Errors seen in the folder itself, one line each.
folder_problems() {
	local n=$1 files names
	files=$(find "$D/jobs" -name 'file-*.json' ! -name '*.result.json' | wc -l)
	names=$(find "$D/jobs/done" -name 'file-*.json' ! -name '*.result.json' | wc -l)
	[ "$files" = "$n" ] || echo "$files files of $n are left"
	[ "$names" = "$n" ] || echo "$names files of $n are in done"
	[ "$(ended_in failed 'bad*')" = 2 ] || echo "bad.json and its error are not in failed"
	[ "$(sort -u "$D/acked" | wc -l)" -ge "$n" ] || echo "two files were one task"
	[ "$(ledger "SELECT count(*) FROM tasks WHERE name LIKE 'file-%'")" = "$n" ] ||
		echo "a file became two tasks"
}

# folder POINT|kill kill|exit NTH [GATEWAYS]
round_folder() {
	local point=$1 how=$2 nth=$3 gateways=${4:-1} n=24 i problems
	local env=(SHUNT_FOLDER_SETTLE=100ms SHUNT_FOLDER_PATIENCE=500ms
		SHUNT_FOLDER_REPAIR=2s SHUNT_FOLDER_SERIAL=no)
	kind=folder
	begin "folder $point $how #$nth, gateways: $gateways"
	seconds=0.1
	mkdir -p jobs/queue
	[ "$point" = kill ] ||
		env+=("SHUNT_CRASH_AT=$point#$nth" "SHUNT_CRASH_HOW=$how"
			"SHUNT_CRASH_ONCE=$D/crashed")
	fleet_up "${env[@]}" || { verdict "no fleet: $last_words"; return; }
	for ((i = 2; i <= gateways; i++)); do
		keep "gateway-$i" env "${env[@]}" \
			SHUNT_BUS_URL="$(cat "$SHUNT_HOME/endpoint")" \
			SHUNT_BUS_TOKEN_FILE="$SHUNT_HOME/token" \
			SHUNT_FOLDER_PROJECT="$D" shunt-gateway-folder
	done
	drop "$n"
	if [ "$point" = kill ]; then
		for i in 1 2 3; do
			between 1 8
			kill_process gateway-folder && faults=$((faults + 1))
		done
		fault_ms=$(now_ms)
	else
		wait_for 60 test -e "$D/crashed" || {
			verdict "$point was not passed $nth times"
			return
		}
		fault_ms=$(stat -c %.3Y "$D/crashed" | tr -d .)
		faults=1
	fi
	wait_for 120 all_carried "$n"
	jq -r .task "$D"/jobs/done/file-*.result.json >>"$D/acked"
	settle 60
	mapfile -t problems < <(folder_problems "$n")
	verdict "${problems[@]}"
}
