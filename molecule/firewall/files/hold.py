# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects, says nothing, and writes down what it hears; SIGUSR1 has it speak: hold.py HOST PORT"""

from __future__ import annotations

import signal
import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    signal.signal(signal.SIGUSR1, lambda *_signal: connection.sendall(b"asked\n"))
    print("connected", flush=True)
    for line in connection.makefile():
        print(line.strip(), flush=True)
print("closed", flush=True)
