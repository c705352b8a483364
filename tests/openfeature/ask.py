"""Asks flags as an application does, by the OpenFeature SDK for Python and its OFREP provider.

`python ask.py URL '[{"type": "boolean", "key": "a.b", "default": false, "context": {"targetingKey": "acme"}}]'` prints what the SDK
says to each question, as a list.
"""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext


def ask(client, question):
    attributes = dict(question["context"])
    targeting_key = attributes.pop("targetingKey", None)
    details = getattr(client, f"get_{question['type']}_details")(
        question["key"],
        question["default"],
        EvaluationContext(targeting_key, attributes),
    )
    return {
        "value": details.value,
        "reason": str(details.reason),
        "variant": details.variant,
        "metadata": dict(details.flag_metadata or {}),
        "error": details.error_code and details.error_code.value,
    }


url, questions = sys.argv[1:]
api.set_provider(OFREPProvider(base_url=url))
client = api.get_client()
print(json.dumps([ask(client, question) for question in json.loads(questions)]))
