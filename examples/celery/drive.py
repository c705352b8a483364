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

from celery.signals import task_prerun

from app import app, invoice, thumbnail

DAEMON = os.environ.get("SLUICEGATE_URL", "http://127.0.0.1:7070")
PICKED = os.environ.get("PICKED", "/dev/null")  # where workers write how old a job was when they began it


@task_prerun.connect
def picked(task=None, **_):
    published = (task.request.headers or {}).get("timestamp_in_ms") or task.request.get("timestamp_in_ms")
    due = task.request.eta and datetime.fromisoformat(task.request.eta).timestamp() * 1000
    if published:
        with open(PICKED, "a") as ages:
            ages.write(f"{time.time() * 1000 - max(published, due or 0):.0f}\n")


class Load(threading.Thread):
    """Publishes on time, whatever happens to the jobs: every tenth is an invoice, and one in ten of those is tried again."""

    def __init__(self, plan):
        super().__init__(daemon=True)
        self.plan, self.offered = plan, 0

    def run(self):
        due = time.monotonic()
        for seconds, rate in self.plan:
            for _ in range(round(seconds * rate)):
                due += 1 / rate
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


def held():
    """How many jobs the workers have in hand: those that they do, and those that wait in them."""
    inspect = app.control.inspect(timeout=1, limit=1)
    return sum(len(jobs) for answer in (inspect.active(), inspect.reserved()) for jobs in (answer or {}).values())


def main(plan):
    load, started = Load(plan), time.monotonic()
    ages = open(PICKED)
    ages.seek(0, os.SEEK_END)
    load.start()
    print("| second | offered | done | on time | late | shed | work | admitted | held | oldest begun, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    before, offered = numbers(), 0
    for second in range(1, round(sum(seconds for seconds, _ in plan)) + 1):
        time.sleep(max(0, started + second - time.monotonic()))
        now, begun = numbers(), [int(age) for age in ages.read().split()]
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
            held(),
            max(begun, default=0),
        )
        print("|", " | ".join(map(str, row)), "|", flush=True)
        before, offered = now, load.offered


if __name__ == "__main__":
    main([tuple(map(float, step.split("@"))) for step in sys.argv[1:]])
