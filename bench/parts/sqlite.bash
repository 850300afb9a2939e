#!/bin/bash
# sqlite - bare: a ledger's statements in batches, every commit on the disk.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

sqlite_rows() {
	section 'bare SQLite'
	row sqlite /s 'tasks of three statements, 512 in a commit'
}

sqlite_round() {
	local db
	db=$(mktemp -u "$scratch/sqlite.XXXXXX")
	rate sqlite "$top/bench/ledger" -n "$(size 2000 20000)" "$db"
	rm -f "$db"*
}
