# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which of the ports of machines can be connected to, as JSON: scan.py 80,443 192.0.2.1 192.0.2.2"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

PATIENCE = 1.5  # s


def reached(end: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(end, PATIENCE):
            return True
    except OSError:
        return False


def main() -> None:
    ports = [int(port) for port in sys.argv[1].split(",")]
    ends = list(product(sys.argv[2:], ports))
    with ThreadPoolExecutor(len(ends)) as threads:
        opened = [end for end, is_open in zip(ends, threads.map(reached, ends), strict=True) if is_open]
    print(json.dumps({host: [port for one, port in opened if one == host] for host in sys.argv[2:]}))


main()
