# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that is finished even if whoever asked for it is killed: in a process and a session of its own."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def detached(work: Callable[[], T]) -> T:
    """Do the work in a child that no signal to this process or its group reaches; return what it did.

    Nothing that the child prints is seen. Its result, or its exception, has to be picklable.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _pid, status = os.waitpid(child, 0)
    if not said:
        raise RuntimeError(f"the process that did the work has ended without a word (status {status})")
    done, result = pickle.loads(said)  # noqa: S301  # our own child
    if done:
        value: T = result
        return value
    raise result


def _work(work: Callable[[], object], writer: int) -> None:
    """Never return: this is the child."""
    try:
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        try:
            said = pickle.dumps((True, work()))
        except Exception as error:  # whatever it is, the parent has to know
            said = pickle.dumps((False, error))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(said)
    finally:
        os._exit(0)
