"""A consumer on pika that does nothing: `pika_consumer.py URL QUEUE COUNT PREFETCH`."""

import sys
import time

import pika

url, queue, count, prefetch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
seen = 0
first = 0


def deliver(channel, method, _properties, _body):
    global seen, first
    if seen == 0:
        first = time.monotonic_ns()
        print("first", flush=True)
    channel.basic_ack(method.delivery_tag)
    seen += 1
    if seen == count:
        print("last", time.monotonic_ns() - first, flush=True)
        channel.stop_consuming()


connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.basic_qos(prefetch_count=prefetch)
channel.basic_consume(queue, deliver)
channel.start_consuming()
connection.close()
