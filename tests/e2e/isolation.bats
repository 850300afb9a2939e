# What a task can do to its worker, and what a dead worker leaves behind.
setup_file() { load helper; start_fleet --slots 4; }
teardown_file() { load helper; stop_fleet; }
setup() {
	load helper
	cd "$BATS_TEST_TMPDIR" || return 1
	mark=leftover-$BATS_TEST_NUMBER-$$
}

# A script that leaves every kind of descendant: a child, grandchildren in
# sessions of their own, one without an environment, one forked twice.
leave_many() {
	cat >leave.sh <<-SH
		sleep 4242 $mark-ignored 2>/dev/null &
		exec -a $mark-a sleep 1000 &
		setsid bash -c 'exec -a $mark-b sleep 1000' &
		env -i setsid bash -c 'exec -a $mark-c sleep 1000' &
		(setsid bash -c '(env -i setsid bash -c "exec -a $mark-d sleep 1000" &)' &)
		bash -c 'bash -c "exec -a $mark-e sleep 1000" & wait' &
		SHUNT_KEEP=1 setsid bash -c 'exec -a $mark-kept sleep 1000' &
		until [ "\$(pgrep -cf $mark-[a-e])" -ge 5 ]; do sleep .05; done
		touch $PWD/left
		wait
	SH
}

no_leftovers() { ! pgrep -f "$mark-[a-e]" >/dev/null; }

@test "a worker that is killed leaves nothing of its tasks running" {
	leave_many
	shunt submit --retry never --name left -- bash "$PWD/leave.sh"
	until_true 30 test -e left
	kill -9 "$(pid_of worker-local)"
	until_true 10 no_leftovers # long before its lease ends
	pgrep -f "$mark-kept"
	pkill -f "$mark-kept"
	until_true 30 pid_of worker-local
	until_true 60 eval '[ "$(shunt show left --json | jq -r .state)" = unknown ]'
}

@test "a guard that is killed takes the worker and its tasks with it" {
	local guard
	until_true 30 eval 'shunt worker ls --json | jq -e ".[] | select(.draining | not)"'
	leave_many
	shunt submit --retry never --name guarded -- bash "$PWD/leave.sh"
	until_true 30 test -e left
	guard=$(ps -o ppid= -p "$(pid_of worker-local)")
	kill -9 $guard
	until_true 10 no_leftovers
	pkill -f "$mark-kept"
	grep -q worker.guard_gone "$SHUNT_HOME/log/worker-local.log"
	until_true 30 shunt run -- true
}

@test "a task that kills its worker leaves nothing, and the fleet goes on" {
	until_true 30 shunt run -- true
	shunt submit --retry never --name killer -- 'kill -9 $PPID; sleep 100'
	until_true 90 eval '[ "$(shunt show killer --json | jq -r .state)" = unknown ]'
	shunt run -- true
}

@test "another process of the user reads neither memory nor environment of a daemon" {
	local pid
	for name in worker-local router reaper; do
		pid=$(pid_of "$name")
		# Dumpable processes belong to their user, others to root.
		[ "$(stat -c %u "/proc/$pid/environ")" = 0 ]
	done
	[ "$(id -u)" = 0 ] || skip 'only root can take another identity'
	# A fleet of another user, and a task of it.
	command -v setpriv
	other=$(mktemp -d)
	chown 65534 "$other" && cd "$other"
	nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$PWD" XDG_CONFIG_HOME="$PWD/config" SHUNT_HOME="$PWD/home" GH_TOKEN=s3cr3t-of-the-worker PATH="$PATH")
	"${nobody[@]}" shunt up -d --fast 3>&-
	run "${nobody[@]}" shunt run -- 'cat /proc/$PPID/environ | tr "\0" "\n"; cat /proc/$PPID/cmdline >/dev/null && echo reached; cat /proc/self/oom_score_adj; cat /proc/$PPID/oom_score_adj'
	"${nobody[@]}" shunt down --timeout 30s 3>&-
	cd / && rm -rf "$other"
	echo "$output"
	[[ $output != *s3cr3t* ]]
	[[ $output == *'Permission denied'* ]]
	[[ $output == *reached* ]]
}
