# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks on a new connection fifty times a second until SIGTERM, and says how that went: ask.py HOST PORT"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections import Counter

# Below the second after which a kernel sends a first packet again, which would make up for one dropped.
PATIENCE = 0.8  # s


def ask(end: tuple[str, int]) -> str:
    try:
        with socket.create_connection(end, PATIENCE) as connection:
            connection.settimeout(5)  # now it is a program that answers, on a computer that may be busy
            connection.sendall(b"asked\n")
            return connection.recv(99).decode().strip()
    except OSError as error:
        return type(error).__name__


def main() -> None:
    over = []
    signal.signal(signal.SIGTERM, lambda *_signal: over.append(True))
    answers: Counter[str] = Counter()
    while not over:
        answers[ask((sys.argv[1], int(sys.argv[2])))] += 1
        time.sleep(0.02)
    print(json.dumps(answers), flush=True)


main()
