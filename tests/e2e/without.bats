# A fleet without the mechanisms that exist for speed alone does the same work.
setup_file() {
	load helper
	export SHUNT_WITHOUT=coalesce,row_cache,multi,results,prefetch,early,fsync,tcp
	new_home
	shunt up -d --slots 4 3>&-
}
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

@test "without the speed mechanisms a task has its output and its exit code" {
	run --separate-stderr shunt run -- sh -c 'echo hi; exit 42'
	[ "$status" -eq 42 ]
	[ "$output" = hi ]
}

@test "without the speed mechanisms each line of a rally runs exactly once" {
	seq 1 200 | shunt rally --name plain --each-line \
		"printf '%s\n' {} >>'$PWD/seen.txt'"
	sort -n seen.txt | cmp - <(seq 1 200)
	shunt ls --state succeeded --limit 0 --json |
		jq -e '[.[] | select(.batch != null)] | length == 200
			and all(.attempts == 1)'
}
