"""Reads COUNT records of TOPIC and prints what the CloudEvents SDK makes of each, as one JSON object a line.

Usage: cloudevents_consumer.py BOOTSTRAP TOPIC COUNT
"""

import json
import sys
import time
import uuid

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka as parse
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Consumer

LIMIT_SECONDS = 60


def main(bootstrap: str, topic: str, count: int) -> int:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"cloudevents-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    end = time.monotonic() + LIMIT_SECONDS
    seen = 0
    while seen < count:
        if time.monotonic() > end:
            print(f"{seen} of {count} records after {LIMIT_SECONDS} s", file=sys.stderr)
            return 1
        record = consumer.poll(0.5)
        if record is None or record.error():
            continue
        message = KafkaMessage(
            headers=dict(record.headers() or []), key=record.key(), value=record.value()
        )
        event = parse(message, JSONFormat())
        attributes = {name: plain(value) for name, value in event.get_attributes().items()}
        print(json.dumps({"attributes": attributes, "data": event.get_data()}))
        seen += 1
    consumer.close()
    return 0


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, (str, int, float, bool)) else value.isoformat()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
