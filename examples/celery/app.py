"""A Celery application behind Sluicegate.

Jobs are published to `work`, as ever. The daemon takes them from there, asks the valves, and passes them on to `work.admitted`,
which never holds more than its slots; the worker reads only that one:

    celery -A app worker -Q work.admitted --concurrency 4

The numbered parts are what an application adds. The rest is any application.
"""

import contextlib
import json
import os
import queue
import threading
import time
import urllib.request

from celery import Celery, Task
from celery.signals import before_task_publish, task_postrun, task_prerun
from celery.worker.request import Request
from kombu import Queue


# 1. A job that is tried again goes through the gate like any other, not straight back to the queue that it was read from.
#    And one whose time the gate has kept needs no timer in the worker, where it would raise the prefetch for a moment.
class Due(Request):
    @property
    def eta(self):
        return self._eta if self._eta and self._eta.timestamp() > time.time() else None


class Gated(Task):
    Request = Due

    def signature_from_request(self, request=None, args=None, kwargs=None, queue=None, **options):
        return super().signature_from_request(request, args, kwargs, queue=queue or "work", **options)


app = Celery("shop", broker=os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//"), task_cls=Gated)
app.conf.update(
    # 2. The publisher declares `work`; the daemon declares `work.admitted`, whose limits are its own. A worker that declared it
    #    with other arguments would be refused (406), so it declares nothing.
    task_queues=[Queue("work"), Queue("work.admitted", no_declare=True)],
    task_default_queue="work",
    task_create_missing_queues=False,
    # 3. The worker never holds more than it is doing, and what it was doing when it died is done by another.
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},  # else a job may be lost before it reaches the broker
)


# 4. When it was published, which Celery does not write: without it no valve can know a job's age.
@before_task_publish.connect
def say_when(headers=None, **_):
    headers["timestamp_in_ms"] = int(time.time() * 1000)


# 5. What came of it is told to the daemon, so that it knows how many jobs are done, and done on time. At best: a daemon that
#    does not answer costs the worker nothing, and loses only these numbers.
OUTCOMES = os.environ.get("SLUICEGATE_URL", "http://127.0.0.1:7070") + "/api/v1/outcomes"
WORDS = {"SUCCESS": "done", "RETRY": "retry", "FAILURE": "failed"}
told = queue.Queue(maxsize=10_000)
telling = threading.Lock()


@task_prerun.connect
def begin(task=None, **_):
    task.request.began = time.monotonic()


@task_postrun.connect
def tell(task_id=None, task=None, state=None, **_):
    if telling.acquire(blocking=False):  # the first job of this process starts its teller
        threading.Thread(target=keep_telling, daemon=True).start()
    took_ms = int((time.monotonic() - task.request.began) * 1000)
    report = {"queue": "work", "id": task_id, "outcome": WORDS.get(state, "unknown"), "at": int(time.time() * 1000), "took_ms": took_ms}
    with contextlib.suppress(queue.Full):
        told.put_nowait(report)


def keep_telling():
    while True:
        batch = [told.get()]
        time.sleep(0.2)
        while not told.empty() and len(batch) < 500:
            batch.append(told.get_nowait())
        request = urllib.request.Request(OUTCOMES, json.dumps(batch).encode(), {"content-type": "application/json"})
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request, timeout=2).close()


# The jobs.
@app.task(name="shop.thumbnail")
def thumbnail(image, seconds=0.1):
    time.sleep(seconds)


@app.task(name="shop.invoice", bind=True, max_retries=3)
def invoice(self, order, seconds=0.1):
    time.sleep(seconds)
    if order % 10 == 0 and self.request.retries == 0:
        raise self.retry(countdown=2)  # the ledger was busy
