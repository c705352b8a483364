#!/usr/bin/env bash
# Celery behind Sluicegate, through an overload and out of it: three times as many jobs come as the worker can do, the valves are
# opened as an operator would, the rush ends, the valves are closed. Prints each second what was offered, done and shed.
#
#   examples/celery/run.sh [AMQP_URL] [SECONDS_PER_PHASE]
#
# A job takes 100 ms, the worker does 4 at once (about 40 each second), 120 come each second in the rush, and a job is useless 3 s
# after it was published. Five phases, by default 10 s each. Use a broker that you may fill: the queues `work` and `work.admitted`
# are made, and what is shed is parked beside them. Needs curl, python3 and its venv. Ends what it started, and only that.
#
# SLUICEGATE names the program when it is not to be built; CELERY_VENV a virtual environment that has Celery; SLUICEGATE_PORT a port.
set -euo pipefail
cd "$(dirname "$0")/../.."

amqp=${1:-amqp://guest:guest@127.0.0.1:5672/%2f}
seconds=${2:-10}
export BROKER_URL=$amqp SLUICEGATE_URL=http://127.0.0.1:${SLUICEGATE_PORT:-7170}
target=${CARGO_TARGET_DIR:-target}
venv=${CELERY_VENV:-$target/celery-venv}
program=${SLUICEGATE:-$target/release/sluicegate}
here=examples/celery

command -v curl >/dev/null || { echo "run.sh needs curl: install it" >&2; exit 1; }
if [ ! -x "$venv/bin/celery" ]; then
  python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --requirement $here/requirements.txt
fi
[ -n "${SLUICEGATE:-}" ] || cargo build --release --quiet --bin sluicegate

work=$(mktemp -d)
export SEEN=$work/seen PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
touch "$SEEN"
started=()
end() {
  for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

start() { # NAME COMMAND…: starts it, its words go to a file
  local name=$1
  shift
  : > "$work/$name.log" # now, so that it can be followed before the program says its first word
  "$@" > "$work/$name.log" 2>&1 &
  started+=($!)
}
fail() {
  echo "run.sh: $1" >&2
  tail -n 20 "$work"/*.log >&2
  exit 1
}
wait_for() { # WHAT COMMAND…: at most 30 s
  local what=$1
  shift
  for _ in {1..300}; do
    if "$@"; then return; fi
    sleep 0.1
  done
  fail "$what did not come in 30 s"
}
gate() { "$program" --url "$SLUICEGATE_URL" "$@" > "$work/gate.log" 2>&1 || fail "sluicegate $*"; }
admitted_is_there() { "$venv/bin/python" -c "from drive import ready; ready('work.admitted')" 2>/dev/null; }
daemon_is_ready() { curl -fso /dev/null "$SLUICEGATE_URL/readyz"; }
worker_is_ready() { grep -q "celery@.* ready" "$work/worker.log"; }

# The publisher declares `work`, the daemon `work.admitted`; only then can a worker read it.
"$venv/bin/python" -c "from app import app
with app.connection() as broker: app.amqp.queues['work'].bind(broker).declare()"
sed -e "s|127.0.0.1:7070|${SLUICEGATE_URL#http://}|; s|amqp://[^\"]*|$amqp|; s|^data_dir.*|data_dir = \"$work/data\"|" \
  $here/sluicegate.toml > "$work/sluicegate.toml"
start daemon "$program" run --config "$work/sluicegate.toml"
wait_for "the daemon" daemon_is_ready
wait_for "work.admitted" admitted_is_there
start worker "$venv/bin/celery" -A drive worker -Q work.admitted --concurrency 4 --without-gossip --without-mingle --loglevel INFO
wait_for "the worker" worker_is_ready

start load "$venv/bin/python" $here/drive.py "$seconds@20" "$((2 * seconds))@120" "$((2 * seconds))@20"
load=${started[-1]}
tail -n +1 -f --pid "$load" "$work/load.log" &
sleep "$((2 * seconds))" # a calm phase, then the rush, and nobody has turned anything yet
echo "-- max_age 2s, skip 60 %"
gate flag open queue.work.max_age 2s queue.work.skip 60% --for 10m --reason "celery/run.sh" --yes
sleep "$((2 * seconds))" # the rush goes on, then it is over
echo "-- the valves are closed"
gate flag close queue.work.skip --reason "celery/run.sh" --yes # one opening, so both are closed
wait "$load"
