#!/usr/bin/env bash
# Two o'clock at night, on a real broker: a queue fills at three times what its worker can do, and every job is done too late. One
# command relieves it; when the load is gone, it lets go by itself; and where the load is not gone, it does not let go into the fire.
# Starts a daemon, a worker and a queuer (release builds, on ports of their own), and prints how many jobs each second were on time.
#
#   examples/relieve.sh [AMQP_URL] [SECONDS_PER_ROW]
#
# A job takes 100 ms, the worker does 20 at once (about 200 each second), 600 come each second, and a job is useless 3 s after it was
# published. Takes about 4 minutes with 20 seconds per row. Use a broker that you may fill: the queue `tasks` is made, and what is shed is
# parked beside it. Needs curl and jq. Ends what it started, and only that.
set -euo pipefail
cd "$(dirname "$0")/.."

amqp=${1:-amqp://guest:guest@127.0.0.1:5672/%2f}
seconds=${2:-20}
daemon=127.0.0.1:${SLUICEGATE_PORT:-7171}
worker=127.0.0.1:${WORKER_PORT:-8182}
service=100 slots=20 deadline=3000 # milliseconds
rush=600 calm=100                   # jobs each second

for tool in curl jq; do
  command -v $tool >/dev/null || { echo "relieve.sh needs $tool: install it" >&2; exit 1; }
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
sed -e "s|127.0.0.1:7070|$daemon|; s|127.0.0.1:8081|$worker|; s|amqp://[^\"]*|$amqp|" \
  examples/sluicegate.toml > "$work/sluicegate.toml"
cp examples/flags.toml "$work/"

start() { # NAME COMMAND…: starts it, its words go to a file
  local name=$1
  shift
  "$@" > "$work/$name.log" 2>&1 &
  started+=($!)
}
fail() {
  echo "relieve.sh: $1" >&2
  tail -n 20 "$work"/*.log >&2
  exit 1
}
wait_for() { # SECONDS WHAT COMMAND…: asks each second
  local most=$1 what=$2
  shift 2
  for ((second = 0; second < most; second++)); do
    if "$@"; then return; fi
    sleep 1
  done
  fail "$what did not come in $most s"
}

gate() { "$bin/sluicegate" --url "http://$daemon" "$@"; }
quietly() { gate "$@" > "$work/gate.log" 2>&1 || fail "sluicegate $*"; }
come() { quietly flag set demo.task_queuer.rate "$1/s" --reason relieve.sh --yes; }
is_ready() { curl -fso /dev/null "http://$daemon/readyz"; }
is_open() { curl -fs "http://$daemon/api/v1/openings" | jq -e '.items | length > 0' > /dev/null; }
is_over() { ! is_open; }
goes_back() { is_over || curl -fs "http://$daemon/api/v1/openings" | jq -e '.items[0].strength < 1' > /dev/null; }
was_extended() { curl -fs "http://$daemon/api/v1/openings" | jq -e '.items[0].extended == true' > /dev/null; }
why() { # the newest change that the guard made because of a queue's health
  curl -fs "http://$daemon/api/v1/changes?limit=50" | jq -r '[.items[] | select(.cause == "health")][0] | "\(.edit): \(.reason)"'
}
served() { curl -fs "http://$worker/jobs"; }
row() { # NAME OFFERED [SECONDS]: measures
  local before after lasting=${3:-$seconds}
  before=$(served)
  sleep "$lasting"
  after=$(served)
  jq -rn --argjson a "$before" --argjson b "$after" --arg name "$1" --arg offered "$2" --argjson s "$lasting" '
    ($b.on_time - $a.on_time) as $on_time | ($b.late - $a.late) as $late | ($on_time + $late) as $all |
    def each($n): ($n / $s | round | tostring);
    def share: if $all == 0 then "-" else "\($on_time * 100 / $all | round) %" end;
    "| \($name) | \($offered) | \(each($on_time)) | \(each($late)) | \(share) |"'
}

start worker "$bin/examples/task_worker" --listen "$worker" --url "http://$daemon" --slots $slots --service ${service}ms --deadline ${deadline}ms
start queuer "$bin/examples/task_queuer" --amqp "$amqp" --url "http://$daemon" --rate $calm --deadline ${deadline}ms
start daemon "$bin/sluicegate" run --config "$work/sluicegate.toml"
wait_for 20 "the daemon" is_ready
sleep 3

echo "| | offered/s | on time/s | late/s | on time |"
echo "| --- | --- | --- | --- | --- |"
row "before" $calm

come $rush
sleep 15 # an incident: the queue is older than the deadline, and nobody has turned anything yet
row "the rush, nothing turned" $rush

gate relieve tasks --deadline ${deadline}ms --until "on-time >= 98% for 15s, at most 10m" --restore ramp:10s \
  --reason "INC-481" > "$work/relieved.txt" 2>&1 || fail "sluicegate relieve"
row "the first ${deadline} ms after \`relieve\`" $rush $((deadline / 1000))
row "the rush, relieved" $rush

come $calm
row "the rush is over" $calm 10
wait_for 60 "the way back" goes_back
back=$(why)
wait_for 30 "its end" is_over
row "after it let go by itself" $calm

# The same with an end at a time, which comes while the rush goes on.
come $rush
sleep 10
quietly relieve tasks --deadline ${deadline}ms --for 20s --restore snap --reason "INC-482"
sleep 5
wait_for 30 "its extension" was_extended
extended=$(why)
row "its end would have hurt" $rush 10

echo
echo "What \`relieve\` said:"
sed 's/^/    /' "$work/relieved.txt"
echo
echo "Why it let go:              $back"
echo "Why the other one did not:  $extended"
