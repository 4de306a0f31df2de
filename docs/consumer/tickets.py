#!/usr/bin/env python3
"""A small consumer: reads Inlet's events, drops repeats by ce_id, prints tickets.

    pip install confluent-kafka
    python3 tickets.py localhost:9092 [topic] [group]

It commits an offset only after the event was handled, and remembers what it handled in a local SQLite file, so a crash
between the two repeats nothing. A real feeder would call the help desk where this prints.
"""
import json
import sqlite3
import sys

from confluent_kafka import Consumer

REMEMBER_DAYS = 14  # longer than the longest redelivery of any provider


def main(brokers, topic="inlet.events", group="tickets"):
    seen = sqlite3.connect(f"{group}.sqlite")
    seen.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP)")
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",  # never see what an aborted transaction left
    })
    consumer.subscribe([topic])
    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise SystemExit(message.error())
            headers = {name: value.decode() for name, value in message.headers() or []}
            with seen:  # one SQLite transaction: the ticket is handled exactly when its id is remembered
                new = seen.execute("INSERT OR IGNORE INTO seen (id) VALUES (?)", [headers["ce_id"]]).rowcount
                if new:
                    ticket(json.loads(message.value()))
                seen.execute("DELETE FROM seen WHERE at < datetime('now', ?)", [f"-{REMEMBER_DAYS} days"])
            consumer.commit(message)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


def ticket(event):
    """One line a ticket; kinds that it does not know are shown too: new ones may come with any release."""
    sender = event.get("sender") or {}
    who = sender.get("display_name") or next((i["value"] for i in sender.get("identities", [])), "unknown")
    text = " ".join((event.get("text") or "").split())[:100]
    files = len(event.get("attachments", []))
    print(f"[{event['conversation']['key']}] {event['kind']} from {who}: {text}" + (f" ({files} files)" if files else ""),
          flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
