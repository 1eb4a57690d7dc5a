# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends packets of VRRP, or says from whom some came: vrrp.py send HOST, vrrp.py hear SECONDS"""

from __future__ import annotations

import json
import socket
import sys
import time

VRRP = 112

with socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP) as packets:
    if sys.argv[1] == "send":
        for _number in range(5):
            packets.sendto(b"\x31\x33\x01\x00\x00\x64\x00\x00", (sys.argv[2], 0))
            time.sleep(0.1)
    else:
        end, heard = time.monotonic() + float(sys.argv[2]), set()
        while (left := end - time.monotonic()) > 0:
            packets.settimeout(left)
            try:
                heard.add(packets.recvfrom(999)[1][0])
            except TimeoutError:
                break
        print(json.dumps(sorted(heard)))
