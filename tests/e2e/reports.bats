# Reports: where they are written, when, and what they never replace.
setup_file() { load helper; start_fleet --slots 4; }
teardown_file() { load helper; stop_fleet; }
setup() {
	load helper
	cd "$BATS_TEST_TMPDIR" || return 1
}

@test "A4: a report never replaces a file that is not a report" {
	local id
	echo '# The project' >README.md
	printf 'all:\n\ttrue\n' >Makefile
	echo '{"mine": true}' >data.json
	ln -s README.md link.md
	mkdir folder.md
	for path in README.md Makefile data.json link.md folder.md; do
		cp -r "$path" "$path.before" 2>/dev/null || true
		run --separate-stderr shunt run --report "$path" -- true
		[ "$status" -eq 0 ]
		id=$(shunt show last --json | jq -r .id)
		[[ $stderr == *"the report is in "*"-${id:0:8}"*"$path"* ]]
		[ -e "$(shunt show "$id" --json | jq -r .report)" ]
	done
	[ "$(cat README.md)" = '# The project' ]
	[ "$(cat data.json)" = '{"mine": true}' ]
	[ -L link.md ]
	[ -d folder.md ]
	cmp Makefile Makefile.before
}

@test "A4: neither a repository's own files nor an empty file are replaced" {
	git init -q .
	: >__init__.py
	cp .git/config config.before
	run -2 --separate-stderr shunt run --report .git/config -- true
	[[ $stderr == *'report_path'*'outside of .git'* ]]
	run -2 shunt run --report .git/hooks/post-commit -- true
	run -2 --separate-stderr shunt run --report reports/ -- true
	[[ $stderr == *'add the name of a file'* ]]
	shunt run --report __init__.py -- true
	[ ! -s __init__.py ]
	cmp .git/config config.before
	[ ! -e .git/hooks/post-commit ]
}

@test "A4: two tasks with one path do not overwrite each other" {
	local first second
	shunt run --report r.md -- 'echo first'
	shunt run --report r.md -- 'echo second'
	second=$(shunt show last --json | jq -r .report)
	[ "$second" != "$PWD/r.md" ]
	grep -q 'echo first' r.md
	grep -q 'echo second' "$second"
}

@test "A4: the report of the same job is replaced when it runs again" {
	shunt run --name nightly --report r.md -- 'echo first'
	shunt run --name nightly --report r.md -- 'echo second'
	grep -q 'echo second' r.md
	id=$(shunt retry last)
	shunt wait "$id"
	grep -q "$id" r.md
	[ "$(ls)" = r.md ]
	for path in r.json r.txt; do
		shunt run --name nightly --report "$path" -- 'echo first'
		shunt run --name nightly --report "$path" -- 'echo second'
		grep -q 'second' "$path"
	done
}

@test "D7: the report is there when run and wait end" {
	local id i
	for i in 1 2 3 4 5; do
		shunt run --report "r$i.md" -- true
		[ -s "r$i.md" ]
		id=$(shunt submit --report "w$i.md" -- true)
		shunt wait "$id"
		[ -s "w$i.md" ]
	done
}

@test "D7: a report that cannot be written is said, and written once it can be" {
	# A file where the report's folder should be stops even root.
	echo mine >blocked
	run --separate-stderr shunt run --report blocked/r.md -- true
	[ "$status" -eq 0 ]
	[[ $stderr == *'the report is not written yet: '*'blocked/r.md'* ]]
	shunt show last | grep -q 'no report .*blocked/r.md'
	[ "$(cat blocked)" = mine ]
}

@test "no report goes into the fleet's state, whatever the path and the workdir" {
	local home=$SHUNT_HOME before id
	before=$(stat -c %i "$home/ledger.db")
	shunt submit --workdir /nonexistent --report ledger.db -- true
	shunt wait --timeout 30s last || true
	[[ $(shunt show last --json | jq -r .report) == "$home/reports/"* ]]
	mkdir -p "$home/spool" && cd "$home/spool"
	for path in token spool/x.task ../ledger.db ledger.db nats-server.conf; do
		run shunt run --report "$path" -- true
		[[ $(shunt show last --json | jq -r '.report // "/reports/"') == */reports/* ]]
	done
	# From above the state, through its folder.
	cd "$(dirname "$home")"
	for path in "$(basename "$home")/ledger.db" "./$(basename "$home")//spool/planted.task"; do
		run --separate-stderr shunt run --report "$path" -- true
		[[ $stderr == *"the fleet's state"* ]]
	done
	[ ! -e "$home/spool/planted.task" ]
	[ "$(stat -c %i "$home/ledger.db")" = "$before" ]
	shunt run -- true
}

@test "no report goes into a workdir of another user" {
	[ "$(id -u)" = 0 ] || skip 'only root can make one'
	mkdir foreign
	chmod 777 foreign
	chown nobody foreign
	cd foreign
	shunt run --report r.md -- true
	[ ! -e r.md ]
	[[ $(shunt show last --json | jq -r .report) == */reports/r.md ]]
}
