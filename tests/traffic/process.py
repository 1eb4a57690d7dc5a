# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests: traffic in a process of its own, so that their own work does not delay it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from .__main__ import trust_of
from .account import Account, Report, Writer
from .load import Settings
from .verify import Psql, Verdict, verify

PACKAGE = __package__ or ""
COLLECTIONS = Path(__file__).resolve().parents[2] / ".collections"


class Traffic:
    """Runs while it is entered.

    with Traffic("https://192.0.2.10", folder, ca=authority) as traffic:
        began = traffic.mark("deploy 2")
        deploy("2")
        report = traffic.report(began)
    assert traffic.verify(psql).good
    """

    def __init__(
        self,
        target: str,
        folder: Path,
        *words: str,
        ca: Path | None = None,
        rate: float = 60,
        login_within: float = 20,
    ) -> None:
        self.target, self.ca, self.rate = target, ca, rate
        self.path = folder / f"traffic-{time.time_ns()}.jsonl"
        self.account = Account(self.path)
        self._words = [*words, *([f"--ca={ca}"] if ca else [])]
        self._within = login_within
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Traffic:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        paths = [str(COLLECTIONS), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603  # our own words
            [
                *(sys.executable, "-m", PACKAGE, f"--target={self.target}", f"--account={self.path}"),
                *(f"--rate={self.rate}", *self._words),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            # What ends the test's process group, such as an interrupt, still lets it end in good order.
            start_new_session=True,
        )
        try:
            self._await(lambda: bool(self.account.all("started")), self._within, "did not begin")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._kill()

    def mark(self, what: str) -> float:
        """Note what is done to the machines, and return the moment."""
        now = time.monotonic()
        writer = Writer(self.path)
        writer.add("mark", at=now, what=what)
        writer.close()
        return now

    def report(self, since: float, until: float | None = None) -> Report:
        """Return what clients saw since a moment, with the end of all that was due until now awaited."""
        last = time.monotonic() if until is None else until
        self._await(lambda: self.account.complete >= last, 60, f"said nothing about what was due at {last}")
        return self.account.report(since, last)

    def stop(self) -> Account:
        """Have it end in good order, and return the whole account."""
        running = self._running()
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=90)[1]
        if running.returncode:
            raise RuntimeError(f"the traffic ended with {running.returncode}: {said[-2000:]}")
        self.account.refresh()
        return self.account

    def verify(self, psql: Psql | None = None) -> Verdict:
        """Ask for every acknowledged write, and note what came of it."""
        self.account.refresh()
        settings = Settings(target=self.target.rstrip("/"), run=self.account.started["run"])
        verdict = verify(self.account, settings, trust_of(self.ca, None), psql)
        writer = Writer(self.path)
        writer.add("verified", **verdict.counts())
        writer.close()
        return verdict

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the traffic was not begun")
        return self._process

    def _await(self, done: Callable[[], bool], within: float, complaint: str) -> None:
        deadline = time.monotonic() + within
        while True:
            self.account.refresh()
            if done():
                return
            running = self._running()
            if running.poll() is not None:
                raise RuntimeError(
                    f"the traffic ended with {running.returncode}: {running.communicate()[1][-2000:]}"
                )
            if time.monotonic() > deadline:
                raise RuntimeError(f"the traffic {complaint} within {within} s")
            time.sleep(0.05)

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
