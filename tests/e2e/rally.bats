# shunt rally --each-line: one command, thousands of lines.
setup_file() { load helper; start_fleet --slots 8; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

@test "two thousand lines give two thousand results, each exactly once" {
	seq 1 2000 | shunt rally --name numbers --each-line \
		"printf '%s\n' {} >>'$PWD/seen.txt'; printf '%s\n' {}" 2>rally.err
	sort -n seen.txt | cmp - <(seq 1 2000)
	shunt ls --state succeeded --limit 0 --json |
		jq -e '[.[] | select(.batch != null)] | length == 2000
			and (map(.id) | unique | length == 2000)
			and all(.attempts == 1)'
	until_true 10 test -s "$SHUNT_HOME/reports/batches/numbers.md"
	jq -e . "$SHUNT_HOME/reports/batches/numbers.json" >/dev/null
}

@test "without a terminal progress is plain lines" {
	[ -s rally.err ]
	run grep -c $'[\r\033]' rally.err
	[ "$output" = 0 ]
}

@test "on a terminal progress is one line, drawn again" {
	seq 1 20 >lines.txt
	script -qec "shunt rally --each-line 'echo {}' <lines.txt" /dev/null </dev/null >tty.txt
	grep -q $'\r' tty.txt
}

@test "a failing line is named and the exit code is 5" {
	run bash -c "printf '%s\n' ok also-ok breaks fine |
		shunt rally --name one-bad --each-line 'test {} != breaks'"
	[ "$status" -eq 5 ]
	[[ $output == *breaks* ]]
	until_true 10 test -s "$SHUNT_HOME/reports/batches/one-bad.md"
	grep -q breaks "$SHUNT_HOME/reports/batches/one-bad.md"
}

@test "a line is data: nothing in it reaches the shell" {
	printf '%s\n' '$(touch pwned)' '; touch pwned' "it's \"quoted\"" '-n' >nasty.txt
	shunt rally --each-line "printf '%s\n' {} >>'$PWD/nasty.out'" <nasty.txt
	sort nasty.txt | cmp - <(sort nasty.out)
	[ ! -e pwned ]
}

@test "no lines are an error that says so" {
	run bash -c "shunt rally --each-line 'echo {}' </dev/null"
	[ "$status" -eq 2 ]
}

@test "C1: a line never becomes code, whatever the command" {
	cd "$BATS_TEST_TMPDIR"
	printf '%s\n' '$(touch PWNED)' >hostile.txt
	run -2 --separate-stderr shunt rally --each-line 'echo "{}"' <hostile.txt
	[[ $stderr == *'--each-line: column 7: {} stands inside quotes'*'"$SHUNT_LINE"'* ]]
	run -2 --separate-stderr shunt rally --each-line $'cat <<E\n{}\nE' <hostile.txt
	[[ $stderr == *'here-document'* ]]
	shunt rally --each-line "echo {} '\\{}' \"\$SHUNT_LINE\" >out" <hostile.txt
	[ "$(cat out)" = '$(touch PWNED) {} $(touch PWNED)' ]
	[ ! -e PWNED ]
	# A number is not the descriptor of a redirection.
	printf '2\n' | shunt rally --each-line 'echo {}>number'
	[ "$(cat number)" = 2 ]
	run shunt submit --env SHUNT_TASK_ID=x -- true
	[ "$status" -eq 2 ]
}
