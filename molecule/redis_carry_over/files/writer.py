# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app that writes without a pause, and keeps a record of what was acknowledged.

Arguments: `source` or `cluster`, host, port, file of the record. The login is in the environment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from typing import Any

import redis

KEYS = 20000
HOUR = 3600  # s


def client(where: str, host: str, port: int) -> Any:
    kind: Any = redis.RedisCluster if where == "cluster" else redis.Redis
    return kind(
        host=host, port=port, username=os.environ["WRITER_USER"], password=os.environ["WRITER_PASSWORD"]
    )


def main() -> None:
    where, host, port, record = sys.argv[1:]
    ended = threading.Event()
    # What was written and not yet recorded could not be told from what was lost.
    signal.signal(signal.SIGTERM, lambda *_signal: ended.set())
    app, chance = client(where, host, int(port)), random.Random()  # noqa: S311  # no secret
    with open(record, "a", encoding="utf-8", buffering=1) as acknowledged:
        while not ended.is_set():
            key = f"session:{chance.randrange(KEYS)}"
            value = f"{where} {time.time()} {chance.random()}"
            if chance.random() < 0.05:
                app.delete(key)
                value = ""
            elif chance.random() < 0.5:
                app.set(key, value, ex=HOUR)
            else:
                app.set(key, value)
            acknowledged.write(json.dumps([key, value]) + "\n")


if __name__ == "__main__":
    main()
