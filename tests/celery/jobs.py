"""The example's application with one more task, which writes down what it was given, and a way to publish it for the tests.

`python jobs.py '{"args": [1], "kwargs": {}, "options": {"countdown": 3}}' …` publishes and prints each job's id.
"""

import json
import os
import sys
import time

from app import app


@app.task(name="test.record", bind=True, max_retries=5)
def record(self, *args, **kwargs):
    request = self.request
    line = {
        "id": request.id,
        "args": args,
        "kwargs": kwargs,
        "retries": request.retries,
        "eta": request.eta,
        "expires": request.expires,
        "headers": request.headers,
        "at_ms": int(time.time() * 1000),
    }
    with open(os.environ["RECORD"], "a") as ledger:
        ledger.write(json.dumps(line, default=str) + "\n")
    time.sleep(kwargs.get("seconds", 0))
    if request.retries < kwargs.get("fail_times", 0):
        raise self.retry(countdown=1)


if __name__ == "__main__":
    for text in sys.argv[1:]:
        job = json.loads(text)
        print(record.apply_async(job["args"], job["kwargs"], **job["options"]).id)
