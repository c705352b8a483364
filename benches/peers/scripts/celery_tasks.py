"""A Celery application whose one task does nothing, with everything off that costs it time.

`PEERS_URL` and `PEERS_COUNT` say where the messages are and how many.
"""

import multiprocessing
import os
import time

from celery import Celery

app = Celery("peers", broker=os.environ["PEERS_URL"])
app.conf.update(
    task_ignore_result=True,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)
count = int(os.environ["PEERS_COUNT"])
# Made before the pool forks, so that its processes share them.
seen = multiprocessing.Value("q", 0)
first = multiprocessing.Value("q", 0)


@app.task(name="peers.nothing")
def nothing(_argument):
    with seen.get_lock():
        seen.value += 1
        number = seen.value
        if number == 1:
            first.value = time.monotonic_ns()
    if number == 1:
        os.write(1, b"first\n")
    if number == count:
        os.write(1, b"last %d\n" % (time.monotonic_ns() - first.value))
