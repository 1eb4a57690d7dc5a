# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Constant traffic against a platform, or the verification of what it left. See `--help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shlex
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp

from .account import Account, Writer
from .load import Load, LoginError, Settings, Trust
from .mix import WEIGHTS, weights_of
from .verify import verify


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="traffic", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("run", "verify"), default="run")
    parser.add_argument("--target", required=True, help="such as https://192.0.2.10")
    parser.add_argument("--account", required=True, type=Path, help="file to append to, or to verify")
    parser.add_argument("--rate", type=float, default=60, help="requests a second")
    parser.add_argument("--mix", type=weights_of, default=dict(WEIGHTS), help="NAME=WEIGHT,...")
    parser.add_argument("--sockets", type=int, default=4, help="WebSocket clients")
    parser.add_argument("--timeout", type=float, default=15, help="seconds")
    parser.add_argument("--echo-timeout", type=float, default=5, help="seconds")
    parser.add_argument("--outstanding", type=int, default=400, help="most requests under way")
    parser.add_argument("--duration", type=float, help="seconds; without it until SIGTERM or SIGINT")
    parser.add_argument("--tenant", default="traffic")
    parser.add_argument("--email", default="demo@payaid.lab", help="password: TRAFFIC_PASSWORD, or demo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server-name", default="", help="name in the certificate, if not the target's")
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--ca", type=Path, help="certificates to trust, PEM; else the system's")
    trust.add_argument("--fingerprint", help="SHA-256 of the server's certificate, hexadecimal")
    parser.add_argument("--psql", help="verify: command for a query, as `psql -XAtq -d app -c`")
    return parser.parse_args(words)


def trust_of(ca: Path | None, fingerprint: str | None) -> Trust:
    if fingerprint:
        return aiohttp.Fingerprint(bytes.fromhex(fingerprint.replace(":", "")))
    return ssl.create_default_context(cafile=ca) if ca else True


def settings_of(given: argparse.Namespace, run: str) -> Settings:
    return Settings(
        target=given.target.rstrip("/"),
        run=run,
        rate=given.rate,
        weights=given.mix,
        sockets=given.sockets,
        timeout=given.timeout,
        echo_timeout=given.echo_timeout,
        outstanding=given.outstanding,
        tenant=given.tenant,
        email=given.email,
        password=os.environ.get("TRAFFIC_PASSWORD", "demo"),
        server_name=given.server_name,
        seed=given.seed,
    )


async def generate(settings: Settings, trust: Trust, account: Path, duration: float | None) -> None:
    writer = Writer(account)
    load = Load(settings, trust, writer)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, load.stop.set)
    if duration is not None:
        loop.call_later(duration, load.stop.set)
    await load.run()
    writer.add("summary", **Account.of(account).report().as_json())
    writer.close()


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    trust = trust_of(given.ca, given.fingerprint)
    if given.command == "verify":
        account = Account.of(given.account)
        settings = settings_of(given, str(account.started["run"]))

        def psql(query: str) -> str:
            return subprocess.run(  # noqa: S603  # the caller's own command
                [*shlex.split(given.psql), query], check=True, capture_output=True, text=True
            ).stdout

        verdict = verify(account, settings, trust, psql if given.psql else None)
        print(json.dumps(verdict.__dict__, indent=2))
        return 0 if verdict.good else 1
    try:
        asyncio.run(
            generate(settings_of(given, f"t{secrets.token_hex(4)}"), trust, given.account, given.duration)
        )
    except LoginError as error:
        print(f"traffic: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
