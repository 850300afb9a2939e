# machines - faults that need more than one machine: a cluster that loses its
# leader, a worker that is cut off.
# shellcheck shell=bash

# --- three brokers -------------------------------------------------------------

# node N: its server, kept running unless $D/away.nN is there.
start_node() {
	keep "n$1" sh -c "while [ -e '$D/away.n$1' ]; do sleep 0.1; done
		exec '$real_nats' -c '$D/n$1.conf'"
}

start_cluster() {
	local i routes='' clients=() ports=()
	for i in 1 2 3; do
		clients+=("$(free_port)")
		ports+=("$(free_port)")
		routes+="nats://127.0.0.1:${ports[-1]} "
	done
	for i in 1 2 3; do
		cat >"$D/n$i.conf" <<-NODE
			server_name: n$i
			listen: 127.0.0.1:${clients[i - 1]}
			jetstream { store_dir: "$D/n$i", max_file: 1TB }
			cluster {
			  name: chaos
			  listen: 127.0.0.1:${ports[i - 1]}
			  routes: [ ${routes// /, } ]
			}
		NODE
		start_node "$i"
	done
	printf -v urls 'nats://127.0.0.1:%s,' "${clients[@]}"
	urls=${urls%,}
}

provision() {
	SHUNT_BUS_REPLICAS=3 timeout 30 shunt provision --nats "$urls" \
		>"$D/provision.out" 2>&1
}

# The leader of the stream TASKS_IN is killed and returns after the others have
# elected another.
round_leader() {
	local leader i
	kind=leader
	begin 'leader of a 3-node cluster killed'
	start_cluster
	wait_for 60 provision || {
		verdict "no cluster: $(tail -n 1 "$D/provision.out")"
		return
	}
	hand_start "$urls"
	probe "$(now_ms)" 60 || { verdict 'no fleet on the cluster'; return; }
	: >"$D/recoveries"
	load 120 0.2
	for i in 1 2; do
		between 20 40
		leader=$("$CHAOS_PEEK" "$urls" '' leader TASKS_IN) || continue
		: >"$D/away.$leader"
		kill -KILL "$(kept "$leader")"
		faults=$((faults + 1))
		fault_ms=$(now_ms)
		probe "$fault_ms"
		nap 5
		rm "$D/away.$leader"
	done
	settle 240
	if [ "$faults" = 2 ]; then
		verdict
	else
		verdict "the leader was killed $faults times of 2"
	fi
}

# --- a partition ------------------------------------------------------------------

# A worker in a separate network is cut off for longer than its lease: it kills
# its task, another one takes over, and its later result is stale.
round_partition() {
	local net=10.213.$((RANDOM % 250)) port problems=() cut id
	kind=partition
	begin 'worker cut off beyond its lease'
	netns=shunt-chaos-$$ veth=shc$$
	ip netns add "$netns" 2>"$D/ip.err" ||
		skip "network namespaces are not allowed here: $(cat "$D/ip.err")"
	ip link add "$veth" type veth peer name eth0 netns "$netns" 2>"$D/ip.err" &&
		ip addr add "$net.1/30" dev "$veth" 2>>"$D/ip.err" &&
		ip link set "$veth" up 2>>"$D/ip.err" &&
		ip -n "$netns" addr add "$net.2/30" dev eth0 2>>"$D/ip.err" &&
		ip -n "$netns" link set eth0 up 2>>"$D/ip.err" ||
		skip "veth pairs are not allowed here: $(cat "$D/ip.err")"
	port=$(free_port)
	cat >"$D/nats.conf" <<-CONF
		listen: $net.1:$port
		ping_interval: "5s"
		jetstream { store_dir: "$D/nats", max_file: 1TB }
	CONF
	keep broker "$real_nats" -c "$D/nats.conf"
	urls=nats://$net.1:$port
	wait_for 30 timeout 30 shunt provision --nats "$urls" || {
		verdict 'no broker'
		return
	}
	hand_start "$urls" no-worker
	keep w1 env SHUNT_WORKER_NAME=w1 SHUNT_WORKER_STATE_DIR="$D/state-w1" \
		ip netns exec "$netns" shunt-worker-local
	id=$(seconds=300 submit_one long-1)
	wait_for 60 effect "start $id 1" || problems+=('the task was not started')
	keep w2 env SHUNT_WORKER_NAME=w2 SHUNT_WORKER_STATE_DIR="$D/state-w2" \
		shunt-worker-local
	load 40 0.3
	nap 2
	ip link set "$veth" down
	faults=1
	cut=$(now_ms)
	wait_for 45 task_gone "$id" 1 ||
		problems+=('the worker that was cut off did not kill its task')
	say "self-fencing took $(($(now_ms) - cut)) ms"
	wait_for 120 effect "start $id 2" ||
		problems+=('the lost task was not started by the other worker')
	say "another worker took over after $(($(now_ms) - cut)) ms"
	ip link set "$veth" up
	fault_ms=$(now_ms)
	probe "$fault_ms"
	settle 180
	verdict "${problems[@]}"
}
