# One fault of each process, side by side: a short `make chaos`.
setup() {
	load helper
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
}

@test "no task is lost, started twice or won by a stale worker when processes die" {
	if [ ! -x "${SHUNT_DEBUG_BIN:-}/shunt" ] ||
		[ ! -x "$(dirname "${SHUNT_DEBUG_BIN:-}")/tests/chaos/peek" ]; then
		skip "no debug build at ${SHUNT_DEBUG_BIN:-}: make debug"
	fi
	unset SHUNT_HOME
	CHAOS_JSON=$BATS_TEST_TMPDIR/chaos.json CHAOS_TMP=$BATS_TEST_TMPDIR \
		run "$top/tests/chaos/run" short 3>&-
	echo "$output"
	[ "$status" -eq 0 ]
	jq -e '.ok and (.kinds | length == 6)
		and ([.kinds[].faults] | add >= 11)
		and ([.kinds[] | .submitted - .terminal] | add == 0)' \
		"$BATS_TEST_TMPDIR/chaos.json"
}

# The checker itself: each way in which the promise can be broken is seen.
plant() { # plant SQL EFFECT...: one task that ended well, but for these
	dir=$BATS_TEST_TMPDIR/plant
	rm -rf "$dir"
	mkdir "$dir"
	echo t1 >"$dir/acked"
	printf 'start t1 1 5 100\nend t1 1 5 100\n' >"$dir/effects"
	echo '{"task":"t1","attempt":1,"state":"succeeded"}' >"$dir/claims"
	echo '{"task":"t1","attempt":1,"state":"succeeded","final":true}' >"$dir/results"
	echo '{"id":"t1","state":"succeeded"}' >"$dir/tasks"
	sqlite3 "$dir/ledger.db" "CREATE TABLE tasks(id, state, attempts,
		result_attempt, result_fence, backend);
		INSERT INTO tasks VALUES ('t1', 8, 1, 1, 5, 'local'); $1"
	shift
	[ $# = 0 ] || printf '%s\n' "$@" >>"$dir/effects"
}

# finds LOST DUPLICATED WRONG (1: at least one)
finds() {
	"$top/tests/chaos/check" "$dir" >"$dir/found"
	cat "$dir/found"
	jq -e --argjson want "[$1, $2, $3]" \
		'[.lost, .duplicated, .wrong] | map(if . > 0 then 1 else 0 end) == $want' \
		"$dir/found" >/dev/null
}

@test "the checker sees what is lost, started twice and won by the wrong attempt" {
	plant ''
	finds 0 0 0
	plant 'DELETE FROM tasks'
	finds 1 0 0
	plant 'UPDATE tasks SET state = 6'
	finds 1 0 1
	plant "INSERT INTO tasks VALUES ('t2', 5, 0, 0, 0, 'local')"
	echo '{"id":"t2","state":"routed"}' >>"$dir/tasks"
	finds 1 0 0
	plant '' 'start t1 1 5 101'
	finds 0 1 0
	plant '' 'twice t1 1 5 101'
	finds 0 1 0
	plant '' 'start t1 2 9 101'
	finds 0 0 1
	plant '' 'start t1 2 1 101' 'start t1 3 2 101' 'start t1 4 3 101' 'start t1 5 4 101'
	finds 0 1 0
	plant 'UPDATE tasks SET result_attempt = 2, result_fence = 9'
	finds 0 0 1
	plant ''
	echo '{"task":"t1","attempt":1,"state":"failed"}' >"$dir/claims"
	finds 0 0 1
	plant ''
	: >"$dir/claims"
	finds 0 0 1
	plant ''
	echo '{"task":"t1","attempt":2,"state":"failed","final":true}' >>"$dir/results"
	finds 0 0 1
	plant ''
	echo '{"id":"t1","state":"running"}' >"$dir/tasks"
	finds 0 0 1
}
