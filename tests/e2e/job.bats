# Job files: from the file to the report.
setup_file() { load helper; start_fleet --slots 2; }
teardown_file() { load helper; stop_fleet; }
setup() { load helper; work_dir; }

job() {
	jq -n --arg dir "$PWD" --arg id "$1" --arg dod "$2" \
		--args '{id: $id, kind: "run_shell", workdir: $dir,
		script: $ARGS.positional, dod: $dod,
		report_path: "reports/jobs/\($id).out"}' "${@:3}" >"$1.json"
}

@test "each entry runs in its own shell in workdir, in order" {
	job in-order 'exit_code == 0' 'x=1; cd /; echo one' 'echo "[$x]"; pwd'
	id=$(shunt submit in-order.json)
	shunt wait --timeout 30s "$id"
	run shunt logs "$id"
	[ "${lines[0]}" = one ]
	[ "${lines[1]}" = '[]' ]
	[ "${lines[2]}" = "$PWD" ]
}

@test "the first failure ends the job" {
	job stops 'exit_code == 0' 'echo before' 'exit 7' 'touch too-far'
	id=$(shunt submit stops.json)
	run shunt wait --timeout 30s "$id"
	[ "$status" -eq 5 ]
	[ ! -e too-far ]
	shunt show "$id" --json | jq -e '.state == "failed" and .exit_code == 7'
}

@test "the report is written to report_path" {
	job reported 'exit_code == 0' 'echo what it said'
	id=$(shunt submit reported.json)
	shunt wait --timeout 30s "$id"
	until_true 10 test -s reports/jobs/reported.out
	grep -q 'what it said' reports/jobs/reported.out
	grep -q succeeded reports/jobs/reported.out
}

@test "the definition of done decides" {
	job expects-3 'exit_code == 3' 'exit 3'
	id=$(shunt submit expects-3.json)
	shunt wait --timeout 30s "$id"
	job expects-0 'exit_code == 3' 'true'
	id=$(shunt submit expects-0.json)
	run shunt wait --timeout 30s "$id"
	[ "$status" -eq 5 ]
}

@test "a report path that leaves the tree is refused" {
	job escapes 'exit_code == 0' true
	jq '.report_path = "../../escaped.out"' escapes.json >bad.json
	run shunt submit bad.json
	[ "$status" -eq 2 ]
	[[ $output == *report_path* ]]
}

@test "bad files are refused with file, line and remedy, and nothing runs" {
	before=$(shunt ls --limit 0 --json | jq length)
	printf '{"id": "x",\n "kind": "run_shell"\n "script": []}' >comma.json
	run shunt submit comma.json
	[ "$status" -eq 2 ]
	[[ $output == *comma.json:3:* ]]
	printf '{"id": "x", "kind": "dance", "script": ["true"]}' >kind.json
	run shunt submit kind.json
	[ "$status" -eq 2 ]
	[[ $output == *run_shell* ]]
	printf '{"id": "x", "id": "y", "kind": "run_shell", "script": ["true"]}' >twice.json
	run shunt lint twice.json
	[ "$status" -eq 2 ]
	head -c 3000000 /dev/zero >huge.json
	run shunt submit huge.json
	[ "$status" -eq 2 ]
	[ "$(shunt ls --limit 0 --json | jq length)" = "$before" ]
}

@test "CRLF, a byte order mark and unknown keys do no harm" {
	printf '\357\273\277{\r\n"id": "dos", "kind": "run_shell",\r\n"script": ["echo dos"], "colour": "red"}\r\n' >dos.json
	run shunt lint dos.json
	[ "$status" -eq 0 ]
	[[ $output == *colour* ]]
	id=$(shunt submit dos.json 2>/dev/null)
	shunt wait --timeout 30s "$id"
}

@test "a single job gets a Markdown and a JSON report" {
	id=$(shunt submit --name nice-report -- 'echo report me')
	shunt wait --timeout 30s "$id"
	until_true 10 test -s "$SHUNT_HOME/reports/jobs/nice-report.md"
	grep -q 'report me' "$SHUNT_HOME/reports/jobs/nice-report.md"
	jq -e '.schema == "shunt.report/1"' "$SHUNT_HOME/reports/jobs/nice-report.json"
}

@test "B8: a name tells what the command does, by this clock, and once a minute" {
	local names
	mkdir -p lros
	names=$(for i in 1 2 3; do
		TZ=Asia/Tokyo shunt submit --workdir "$PWD/lros" -- 'cd backend && uv run pytest'
	done | xargs -n1 -I{} sh -c 'shunt show {} --json | jq -r .name')
	echo "$names"
	# Three within a minute, unless the minute ended between them.
	[ "$(sort -u <<<"$names" | wc -l)" -eq 3 ]
	grep -qE "^lros-pytest-$(TZ=Asia/Tokyo date +%Y%m%d)-[0-9]{4}$" <<<"$names"
	grep -qE "^lros-pytest-[0-9]{8}-[0-9]{4}(-[23])?$" <<<"$names"
}
