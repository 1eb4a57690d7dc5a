# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells HAProxy what this PostgreSQL server is fit for, in the words of HAProxy's agent check.

A client sends one line, `replica`, `primary` or `status`, and gets one; a client that says nothing gets the
status. systemd holds the socket. PostgreSQL is asked over one connection that stays open, however many
clients ask: they are told what it said last, and once that is too old, that it does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

FIRST_SOCKET = 3  # of those that systemd hands over
TOO_OLD = 2.0  # s
PATIENCE = 1.0  # s that a client has for its question
SAMPLES = 1000  # an even number

# What the primary says its end is counts as well as what has arrived: WAL on its way is lag, too.
QUERY = """
SELECT NOT pg_catalog.pg_is_in_recovery(),
       (SELECT status = 'streaming' FROM pg_catalog.pg_stat_wal_receiver),
       pg_catalog.pg_wal_lsn_diff(
         greatest(pg_catalog.pg_last_wal_receive_lsn(),
                  (SELECT latest_end_lsn FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming')),
         '0/0')::bigint,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::bigint,
       extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float,
       pg_catalog.pg_is_in_recovery() AND pg_catalog.pg_is_wal_replay_paused()
"""


@dataclass(frozen=True)
class Seen:
    """What PostgreSQL said of itself; positions in bytes from the beginning of all WAL."""

    primary: bool
    streaming: bool = False
    known: int = 0  # the furthest position that this standby has heard of
    replayed: int = 0
    last_commit_age: float = 0.0  # s since the last commit that it replayed was made
    paused: bool = False


@dataclass
class Lag:
    """Measures lag by the clock of this machine alone, in seconds.

    A standby lags for as long as it has known of WAL that it has not replayed yet, or has not streamed. By
    the timestamp of the last commit an idle primary would make lag; so it counts only for what was there at
    the first look.
    """

    samples: list[tuple[float, int]] = field(default_factory=list)  # when a position was first heard of
    streamed: float | None = None

    def of(self, seen: Seen, now: float) -> float | None:
        """Return the lag, or None where nothing is known of it."""
        if seen.streaming:
            self.streamed = now
        if not self.samples:
            before = seen.last_commit_age if seen.known > seen.replayed else 0.0
            self.samples.append((now - before, seen.known))
        elif seen.known > self.samples[-1][1]:
            self.samples.append((now, seen.known))
        # The last one stays, so that what is heard of next is known to be new.
        while len(self.samples) > 1 and self.samples[0][1] <= seen.replayed:
            del self.samples[0]
        if len(self.samples) > SAMPLES:
            # In pairs, each with the earlier time: when in doubt, WAL has waited longer.
            pairs = zip(self.samples[1::2], self.samples[2::2], strict=True)
            self.samples[1:] = [(heard, known) for (heard, _known), (_heard, known) in pairs]
        if self.streamed is None:
            return None
        heard, known = self.samples[0]
        return max(now - heard if known > seen.replayed else 0.0, now - self.streamed)


@dataclass(frozen=True)
class State:
    """What there is to tell, and since when nothing newer was seen."""

    seen: Seen | None = None
    lag: float | None = None
    trouble: str = "has not been asked yet"
    at: float = 0.0
    drained: bool = False


async def question(reader: asyncio.StreamReader) -> str:
    """Return what a client asks; one that says nothing wants to know how the server is."""
    try:
        line = await asyncio.wait_for(reader.readline(), PATIENCE)
    except TimeoutError:
        return "status"
    return line.decode("ascii", "replace").strip()


def answer(asked: str, state: State, now: float, max_lag: float) -> str:
    """Return what HAProxy understands, with the reason for people after the sharp."""
    if asked not in ("replica", "primary", "status"):
        return "the questions are replica, primary and status"
    told, reason = fitness(state, now, max_lag)
    if asked == "status":
        return f"{told}: {reason}"
    if told == "down":
        return f"down #{reason}"
    # Reads that are in flight on a server that is something else, or lags, may end there.
    return f"{'ready' if told == asked else 'drain'} up #{reason}"


def fitness(state: State, now: float, max_lag: float) -> tuple[str, str]:
    """Return replica, lagging, primary or down, and why."""
    if now - state.at > TOO_OLD and state.at:
        return "down", f"PostgreSQL has not answered for {now - state.at:.0f} s"
    if state.seen is None:
        return "down", f"PostgreSQL {state.trouble}"
    if state.seen.primary:
        return "primary", "takes writes"
    if state.drained:
        return "lagging", "is about to be restarted"
    if state.lag is None:
        return "lagging", "has not been seen streaming"
    paused = ", replay is paused" if state.seen.paused else ""
    streams = "streams" if state.seen.streaming else "does not stream"
    told = "replica" if state.lag <= max_lag else "lagging"
    return told, f"{streams}, lags {state.lag:.1f} s{paused}"


@dataclass
class Agent:
    """Asks PostgreSQL in turn with answering clients."""

    arguments: argparse.Namespace
    clock: Callable[[], float] = time.monotonic
    state: State = field(default_factory=State)

    def allows(self, peer: tuple[str, int] | None) -> bool:
        """Tell whether a client may ask; one that is gone already has no address."""
        if peer is None:
            return False
        return any(ipaddress.ip_address(peer[0]) in network for network in self.arguments.allow)

    def drained(self) -> bool:
        """Tell whether readers are to leave: a file says until when, so that nobody has to live to end it."""
        try:
            return os.stat(self.arguments.drain_file).st_mtime > time.time()
        except FileNotFoundError:
            return False

    async def watch(self) -> None:
        """Ask PostgreSQL again and again; a server that hangs only makes the last answer old."""
        while True:
            try:
                # The conninfo holds no password: the socket's peer is the account of this process.
                async with await psycopg.AsyncConnection.connect(
                    self.arguments.conninfo, autocommit=True
                ) as connection:
                    await self.ask(connection)
            except (psycopg.Error, OSError) as error:
                why = str(error).strip().splitlines()
                self.state = State(
                    trouble=f"says: {why[-1] if why else type(error).__name__}", at=self.clock()
                )
            await asyncio.sleep(self.arguments.interval)

    async def ask(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        lag = Lag()
        while True:
            (row,) = await (await connection.execute(QUERY)).fetchall()
            primary, streaming, known, replayed, age, paused = (value or 0 for value in row)
            seen = Seen(bool(primary), bool(streaming), known, replayed, age, bool(paused))
            now = self.clock()
            self.state = State(seen, lag.of(seen, now), at=now, drained=self.drained())
            await asyncio.sleep(self.arguments.interval)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.allows(writer.get_extra_info("peername")):
                said = answer(await question(reader), self.state, self.clock(), self.arguments.max_lag)
                writer.write(f"{said}\n".encode())
                await writer.drain()
        except (OSError, ValueError) as error:  # it has gone, or says far too much
            print(f"A client was not answered: {error}", file=sys.stderr, flush=True)
        finally:
            writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conninfo", required=True)
    parser.add_argument("--max-lag", type=float, required=True, metavar="SECONDS")
    parser.add_argument("--interval", type=float, default=0.25, metavar="SECONDS")
    parser.add_argument("--drain-file", required=True, metavar="PATH")
    parser.add_argument("--allow", type=ipaddress.ip_network, nargs="+", required=True, metavar="NETWORK")
    agent = Agent(parser.parse_args())
    watching = asyncio.create_task(agent.watch())
    # Until it knows something, clients wait at the socket: `down` would cut reads off for nothing.
    began = agent.clock()
    while not agent.state.at and agent.clock() - began < TOO_OLD:
        await asyncio.sleep(0.01)
    server = await asyncio.start_server(agent.serve, sock=socket.socket(fileno=FIRST_SOCKET), limit=256)
    async with server:
        await watching


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
