"""Calls with each further argument and prints the answers: call.py URL [--queue NAME] BODY..."""
import sys
import uuid

import pika

url, bodies, queue = sys.argv[1], sys.argv[2:], "rpc_queue"
if bodies[:1] == ["--queue"]:
    queue, bodies = bodies[1], bodies[2:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
own = channel.queue_declare("", exclusive=True).method.queue
answers = {}
channel.basic_consume(
    own, lambda _channel, _method, properties, body: answers.update({properties.correlation_id: body}), auto_ack=True
)
for body in bodies:
    call = str(uuid.uuid4())
    channel.basic_publish(
        "", queue, body.encode(), pika.BasicProperties(reply_to=own, correlation_id=call)
    )
    while call not in answers:
        connection.process_data_events(time_limit=1)
    print(f"{body} -> {answers[call].decode()}")
connection.close()
