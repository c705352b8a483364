"""Offers jobs at a rate, and prints each second how it goes. Started by run.sh; the worker loads it, too (`celery -A drive`).

    python drive.py 10@20 40@120 20@20        10 s with 20 jobs each second, then 40 s with 120, then 20 s with 20
"""

import os
import re
import sys
import threading
import time
import urllib.request
from datetime import datetime

from celery.signals import task_prerun, task_received
from celery.worker import state

from app import app, invoice, thumbnail

DAEMON = os.environ.get("SLUICEGATE_URL", "http://127.0.0.1:7070")
SEEN = os.environ.get("SEEN", "/dev/null")  # where workers write how many jobs they hold, and how old one was when they began it


def see(what, number):
    with open(SEEN, "a") as seen:
        seen.write(f"{what} {number:.0f}\n")


@task_received.connect
def received(**_):
    see("held", len(state.reserved_requests) + 1)


@task_prerun.connect
def picked(task=None, **_):
    published = (task.request.headers or {}).get("timestamp_in_ms") or task.request.get("timestamp_in_ms")
    due = task.request.eta and datetime.fromisoformat(task.request.eta).timestamp() * 1000
    if published:
        see("age", time.time() * 1000 - max(published, due or 0))


class Load(threading.Thread):
    """Publishes on time, whatever happens to the jobs: every tenth is an invoice, and one in ten of those is tried again."""

    def __init__(self, plan):
        super().__init__(daemon=True)
        self.plan, self.offered = plan, 0

    def run(self):
        due = time.monotonic()
        begun = due
        for seconds, rate in self.plan:
            begun += seconds
            while due < begun:
                due = max(due + 1 / rate, time.monotonic() - 0.2)  # a starved machine offers less, and no flood afterwards
                time.sleep(max(0, due - time.monotonic()))
                self.offered += 1
                job = invoice if self.offered % 10 == 0 else thumbnail
                job.delay(self.offered // 10 if job is invoice else self.offered)


def numbers():
    """What the daemon counts, as {name{labels}: value}."""
    page = urllib.request.urlopen(f"{DAEMON}/metrics", timeout=5).read().decode()
    return {name: float(value) for name, value in re.findall(r'^(sluicegate_\w+\{.*queue="work".*\}) (\S+)$', page, re.M)}


def total(now, family, **labels):
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(value for name, value in now.items() if name.startswith(f"sluicegate_{family}{{") and all(one in name for one in wanted))


def ready(queue):
    with app.connection_for_read() as connection:
        return connection.default_channel.queue_declare(queue, passive=True).message_count


def main(plan):
    load, started = Load(plan), time.monotonic()
    seen = open(SEEN)
    seen.seek(0, os.SEEK_END)
    load.start()
    print("| second | offered | done | on time | late | shed | work | admitted | held | oldest begun, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    before, offered = numbers(), 0
    for second in range(1, round(sum(seconds for seconds, _ in plan)) + 1):
        time.sleep(max(0, started + second - time.monotonic()))
        now, lines = numbers(), [line.split() for line in seen.read().splitlines()]
        most = lambda what: max((int(number) for seen_of, number in lines if seen_of == what), default=0)
        each = lambda family, **labels: round(total(now, family, **labels) - total(before, family, **labels))
        row = (
            second,
            load.offered - offered,
            each("completed_total"),
            each("completed_total", on_time="true"),
            each("completed_total", on_time="false"),
            each("messages_settled_total", verdict="shed"),
            ready("work"),
            ready("work.admitted"),
            most("held"),
            most("age"),
        )
        print("|", " | ".join(map(str, row)), "|", flush=True)
        before, offered = now, load.offered


if __name__ == "__main__":
    main([tuple(map(float, step.split("@"))) for step in sys.argv[1:]])
