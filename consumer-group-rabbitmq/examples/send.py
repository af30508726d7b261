"""Sends each further argument as a message: send.py URL [--queue NAME] MESSAGE..."""
import sys

import pika

url, messages, queue = sys.argv[1], sys.argv[2:], "hello"
if messages[:1] == ["--queue"]:
    queue, messages = messages[1], messages[2:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
for message in messages:
    channel.basic_publish(exchange="", routing_key=queue, body=message.encode())
connection.close()
