# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files: reports whole, and logs from their end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured

# A report is some megabytes. A stream of every request, such as k6 --out json writes, is not read to its end
# in vain.
MOST = 256 << 20
BLOCK = 1 << 20
# nginx takes no longer head of a request than 32 kB: what goes on for longer is no log.
LONGEST_LINE = 1 << 20


def report(path: str) -> Any:
    """Read a file that is one JSON document."""
    try:
        if os.path.getsize(path) > MOST:
            raise NotMeasured(f"{path}: the file has more than {MOST >> 20} MiB, so it is no report")
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        raise NotMeasured(_unreadable(path, error)) from error
    if not content.strip():
        raise NotMeasured(f"{path}: the file is empty, so the run that was to write it has not ended")
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise NotMeasured(f"{path}: the file is no whole JSON document ({error})") from error
    except (ValueError, RecursionError) as error:
        raise NotMeasured(f"{path}: the file is no JSON document") from error


def lines_from_end(path: str, block: int = BLOCK, longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Return the lines of a file, the last one first. One that is still being written is left out."""
    try:
        with open(path, "rb") as file:
            position = file.seek(0, os.SEEK_END)
            # What stands before the first line break of what was read so far.
            begun, ended = b"", False
            while position:
                size = min(block, position)
                position -= size
                file.seek(position)
                begun, *lines = (file.read(size) + begun).split(b"\n")
                if lines and not ended:
                    lines.pop()
                    ended = True
                yield from (line for line in reversed(lines) if line)
                if len(begun) > longest:
                    raise NotMeasured(
                        f"{path}: a line has more than {longest} bytes, so it is no log of nginx"
                    )
            if begun and ended:
                yield begun
    except (OSError, ValueError) as error:
        raise NotMeasured(_unreadable(path, error)) from error


def _unreadable(path: str, error: Exception) -> str:
    return f"{path}: the file cannot be read ({getattr(error, 'strerror', None) or error})"
