# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes and reads through the pools beside the app until it is told to end, and says what became of it.

Every row that was acknowledged is in the file that it leaves, every error, and how long a client waited at
most.
The connection is in the environment, as libpq takes it.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
import threading
import time
from typing import Any

import psycopg

WRITERS, READERS, PAUSE = 6, 2, 0.01
ended = threading.Event()


class Client:
    """One client of one pool, with a connection that it makes anew when it breaks."""

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self.done: list[tuple[int, float]] = []
        self.errors: list[str] = []
        self.longest = 0.0

    def run(self) -> None:
        row = secrets.randbits(38) << 24  # clients of other machines write to the same table
        while not ended.is_set():
            try:
                with psycopg.connect(f"dbname={self.pool} connect_timeout=60", autocommit=True) as connection:
                    connection.prepare_threshold = None
                    while not ended.is_set():
                        row += 1
                        began = time.monotonic()
                        self.ask(connection, row)
                        self.longest = max(self.longest, time.monotonic() - began)
                        self.done.append((row, time.time()))
                        time.sleep(PAUSE)
            except psycopg.Error as error:
                self.errors.append(f"{time.time():.2f} {self.pool} {str(error).strip()}")
                time.sleep(0.1)

    def ask(self, connection: Any, row: int) -> None:
        if self.pool == "app_rw":
            connection.execute("INSERT INTO traffic (n) VALUES (%s)", (row,))
        else:
            connection.execute("SELECT count(*) FROM traffic WHERE n = %s", (row,))


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    clients = [Client(pool) for pool in ("app_rw",) * WRITERS + ("app_ro",) * READERS]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writers = [client for client in clients if client.pool == "app_rw"]
    said = {
        "acknowledged": [row for client in writers for row, _when in client.done],
        "times": sorted(when for client in writers for _row, when in client.done),
        "reads": sum(len(client.done) for client in clients if client.pool == "app_ro"),
        "errors": [error for client in clients for error in client.errors],
        "longest": max(client.longest for client in clients),
    }
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump(said, out)


if __name__ == "__main__":
    main()
