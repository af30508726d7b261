"""The independent client of the tests: pika. Prints one JSON value, or nothing."""
import json
import sys
import time

import pika


def connect(url):
    return pika.BlockingConnection(pika.URLParameters(url))


def publish(url, queue, first, last, *per_second):
    """Numbers from first to last - 1, each until it is confirmed, whatever happens to the server meanwhile."""
    number, last = int(first), int(last)
    pause = 1 / float(per_second[0]) if per_second else 0
    while number < last:
        try:
            connection = connect(url)
            channel = connection.channel()
            channel.confirm_delivery()
            while number < last:
                channel.basic_publish(
                    exchange="",
                    routing_key=queue,
                    body=str(number).encode(),
                    properties=pika.BasicProperties(delivery_mode=2, message_id=f"{queue}-{number}"),
                    mandatory=True,
                )
                number += 1
                if pause:
                    connection.sleep(pause)
            connection.close()
        except (pika.exceptions.AMQPError, OSError):
            time.sleep(0.1)


def fill(url, queue, first, last):
    """As publish, without a wait for each confirm: for a server that is well."""
    connection = connect(url)
    channel = connection.channel()
    for number in range(int(first), int(last)):
        properties = pika.BasicProperties(delivery_mode=2, message_id=f"{queue}-{number}")
        channel.basic_publish("", queue, str(number).encode(), properties)
    channel.close()
    connection.close()


def raw(url, queue, body, headers="{}"):
    connection = connect(url)
    properties = pika.BasicProperties(delivery_mode=2, headers=json.loads(headers))
    connection.channel().basic_publish("", queue, body.encode(), properties)
    connection.close()


def prioritized(url, queue, *priorities):
    connection = connect(url)
    for priority in priorities:
        properties = pika.BasicProperties(priority=int(priority))
        connection.channel().basic_publish("", queue, priority.encode(), properties)
    connection.close()


def count(url, queue):
    connection = connect(url)
    print(connection.channel().queue_declare(queue, passive=True).method.message_count)
    connection.close()


def consumers(url, queue):
    connection = connect(url)
    print(connection.channel().queue_declare(queue, passive=True).method.consumer_count)
    connection.close()


def take(url, queue):
    """All messages that are there, out of the queue."""
    connection = connect(url)
    channel = connection.channel()
    taken = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            break
        taken.append(
            {
                "body": body.decode(errors="replace"),
                "headers": properties.headers or {},
                "message_id": properties.message_id,
                "correlation_id": properties.correlation_id,
                "content_type": properties.content_type,
                "priority": properties.priority,
            }
        )
    print(json.dumps(taken, default=str))
    connection.close()


def declare(url, queue, arguments="{}"):
    connection = connect(url)
    connection.channel().queue_declare(queue, durable=True, arguments=json.loads(arguments))
    connection.close()


def delete(url, *queues):
    connection = connect(url)
    for queue in queues:
        connection.channel().queue_delete(queue)
    connection.close()


def call(url, queue, *bodies):
    """Calls over direct reply-to, as existing clients do; prints the answers in the order of the calls."""
    connection = connect(url)
    channel = connection.channel()
    answers = {}
    channel.basic_consume(
        "amq.rabbitmq.reply-to",
        lambda _channel, _method, properties, body: answers.update({properties.correlation_id: body.decode()}),
        auto_ack=True,
    )
    for number, body in enumerate(bodies):
        properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=str(number))
        channel.basic_publish("", queue, body.encode(), properties)
    until = time.time() + 30
    while len(answers) < len(bodies) and time.time() < until:
        connection.process_data_events(time_limit=0.2)
    print(json.dumps([answers.get(str(number)) for number in range(len(bodies))]))
    connection.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
