#!/usr/bin/env bash
# What the valves do for a queue that fills at three times what its worker can do. Starts a daemon, a worker and a queuer (release
# builds, on ports of their own), turns the valves as an operator would, and prints how many jobs each second were on time.
#
#   examples/overload.sh [AMQP_URL] [SECONDS_PER_ROW]
#
# A job takes 100 ms, the worker does 20 at once (about 200 each second), 600 come each second, and a job is useless 3 s (30 service
# times) after it was published. Takes about 5 minutes with 20 seconds per row. Use a broker that you may fill: the queue `tasks` is made,
# and what is shed is parked beside it. Needs curl and jq. Ends what it started, and only that.
set -euo pipefail
cd "$(dirname "$0")/.."

amqp=${1:-amqp://guest:guest@127.0.0.1:5672/%2f}
seconds=${2:-20}
daemon=127.0.0.1:${SLUICEGATE_PORT:-7170}
worker=127.0.0.1:${WORKER_PORT:-8181}
service=100 slots=20 deadline=3000 # milliseconds
rush=600 calm=100                   # jobs each second

for tool in curl jq; do
  command -v $tool >/dev/null || { echo "overload.sh needs $tool: install it" >&2; exit 1; }
done
echo "building…" >&2
cargo build --release --quiet --bins --examples

work=$(mktemp -d)
started=()
end() {
  for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

bin=${CARGO_TARGET_DIR:-target}/release
sed -e "s|../data|data|; s|127.0.0.1:7070|$daemon|; s|127.0.0.1:8081|$worker|; s|amqp://[^\"]*|$amqp|" \
  examples/sluicegate.toml > "$work/sluicegate.toml"
cp examples/flags.toml "$work/"

start() { # NAME COMMAND…: starts it, its words go to a file
  local name=$1
  shift
  "$@" > "$work/$name.log" 2>&1 &
  started+=($!)
}
fail() {
  echo "overload.sh: $1" >&2
  tail -n 20 "$work"/*.log >&2
  exit 1
}
wait_for() { # WHAT COMMAND…: at most 20 s
  local what=$1
  shift
  for _ in {1..200}; do
    if "$@"; then return; fi
    sleep 0.1
  done
  fail "$what did not come in 20 s"
}

gate() { "$bin/sluicegate" --url "http://$daemon" "$@" > "$work/gate.log" 2>&1 || fail "sluicegate $*"; }
come() { gate flag set demo.task_queuer.rate "$1/s" --reason overload.sh --yes; }
open() { gate flag open "$@" --for 10m --reason overload.sh --yes; }
close() { for valve; do gate flag close "queue.tasks.$valve" --reason overload.sh --yes; done; }
vital() { "$bin/sluicegate" --url "http://$daemon" --json queue list tasks | jq "first(.. | .$1? // empty)"; }
is_ready() { curl -fso /dev/null "http://$daemon/readyz"; }
is_empty() { [ "$(vital ready)" = 0 ]; }
served() { curl -fs "http://$worker/jobs"; }
empty() { # nothing comes, and what is there is shed
  come 0
  sleep 1.5 # until the queuer has heard
  open queue.tasks.max_age 1ms
  wait_for "an empty queue" is_empty
  close max_age
}
fill() { # an incident: the rush has lasted a while, and nobody has turned anything yet
  empty
  come $rush
  sleep 10
}
service_time() { # as the daemon has measured it: 99 of 100 jobs take at most so many milliseconds
  vital service_p99_seconds | jq '. * 1000 | ceil'
}
row() { # NAME OFFERED: measures
  local before after
  sleep 5 # until it is steady
  before=$(served)
  sleep "$seconds"
  after=$(served)
  jq -rn --argjson a "$before" --argjson b "$after" --arg name "$1" --arg offered "$2" --argjson s "$seconds" '
    def each($what): (($b[$what] - $a[$what]) / $s | round | tostring);
    "| \($name) | \($offered) | \(each("on_time")) | \(each("late")) |"'
}

start worker "$bin/examples/task_worker" --listen "$worker" --url "http://$daemon" --slots $slots --service ${service}ms --deadline ${deadline}ms
start queuer "$bin/examples/task_queuer" --amqp "$amqp" --url "http://$daemon" --rate 0 --deadline ${deadline}ms
start daemon "$bin/sluicegate" run --config "$work/sluicegate.toml"
wait_for "the daemon" is_ready

echo "| valves | offered/s | on time/s | late/s |"
echo "| --- | --- | --- | --- |"

fill
row "none" $rush

fill
open queue.tasks.max_age ${deadline}ms
row "\`max_age\` = deadline" $rush
close max_age

fill
less=$((deadline - $(service_time)))
open queue.tasks.max_age ${less}ms
row "\`max_age\` = deadline less one service time (${less} ms)" $rush
close max_age

fill
open queue.tasks.skip 70%
row "\`skip\` 70 % alone, on the queue as it stands" $rush
close skip

empty
open queue.tasks.skip 70%
come $rush
row "\`skip\` 70 % alone, turned before the rush" $rush
close skip

fill
open queue.tasks.max_age ${less}ms queue.tasks.skip 70%
row "both" $rush

come $calm
sleep 10 # the valves stay until the rush has been worked off
close max_age
row "none: the rush is over, the valves are closed" $calm
