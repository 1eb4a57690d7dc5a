# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the platform from outside, as a client would, and says which promise it does not keep."""

from __future__ import annotations

import json
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener
from uuid import uuid4

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

TENANT = "platform-probe"


@dataclass(frozen=True)
class Entry:
    """A way into the platform: a load balancer."""

    name: str
    url: str
    # The certificate to trust; empty for those that the system trusts.
    certificate: str = ""


@dataclass(frozen=True)
class Process:
    """An app process, addressed past the load balancers."""

    node: str
    url: str


@dataclass(frozen=True)
class Answer:
    status: int
    body: Mapping[str, Any]


class Client:
    """JSON over HTTP. No answer has the status 0; one that is no JSON object has an empty body."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._openers: dict[str, OpenerDirector] = {}

    def get(self, url: str, certificate: str = "") -> Answer:
        request = Request(url, headers={"X-Tenant-ID": TENANT})  # noqa: S310  # urls are given
        return self._send(request, certificate)

    def post(self, url: str, body: Mapping[str, str]) -> Answer:
        headers = {"Content-Type": "application/json", "X-Tenant-ID": TENANT, "Idempotency-Key": uuid4().hex}
        request = Request(url, data=json.dumps(body).encode(), headers=headers)  # noqa: S310  # urls are given
        return self._send(request, "")

    def _send(self, request: Request, certificate: str) -> Answer:
        try:
            try:
                with self._opener(certificate).open(request, timeout=self._timeout) as answer:
                    return Answer(answer.status, self._decode(answer.read()))
            except HTTPError as error:
                with error:
                    return Answer(error.code, self._decode(error.read()))
        # HTTPException: a server that ends in the middle of its answer.
        except (OSError, HTTPException) as error:
            return Answer(0, {"error": str(getattr(error, "reason", error))})

    def _opener(self, certificate: str) -> OpenerDirector:
        """Make an opener once a certificate. No proxy of the environment stands before what is asked."""
        if certificate not in self._openers:
            context = ssl.create_default_context(cadata=certificate or None)
            # What a server shows is trusted itself, also where an authority signed it that is not known here.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            self._openers[certificate] = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        return self._openers[certificate]

    @staticmethod
    def _decode(raw: bytes) -> Mapping[str, Any]:
        try:
            body = json.loads(raw)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}


def ask_entry(
    client: Client, entry: Entry, nodes: Sequence[str], clock: Callable[[], float], patience: float
) -> dict[str, int]:
    """Send requests through one load balancer until every node has answered; return how often each did."""
    answered: Counter[str] = Counter()
    until = clock() + patience
    last = Answer(0, {})
    while clock() < until:
        last = client.get(f"{entry.url}/api/whoami", entry.certificate)
        if last.status == 200:
            answered[str(last.body.get("node"))] += 1
            if set(nodes) <= set(answered):
                return dict(answered)
        time.sleep(0.02)
    missing = ", ".join(sorted(set(nodes) - set(answered))) or "any node"
    raise Refusal(
        f"{entry.name} ({entry.url}): no answer from {missing} within {patience:.0f} s; the last answer was "
        f"{last.status} {dict(last.body)}. See whether those nodes are healthy, and {entry.name}'s "
        "/var/log/nginx/error.log.",
        answered=dict(answered),
    )


def write_and_read(
    client: Client, writer: Process, reader: Process, clock: Callable[[], float], patience: float
) -> dict[str, Any]:
    """Write a contact through one node and read it through another; return how long that took."""
    began = clock()
    written = client.post(
        f"{writer.url}/api/contacts",
        {"name": "Platform probe", "email": f"{uuid4().hex}@platform-probe.invalid"},
    )
    if written.status != 201 or "id" not in written.body:
        raise Refusal(
            f"{writer.node} ({writer.url}) did not accept a contact: {written.status} {dict(written.body)}. "
            "See its journal, and whether PgBouncer's app_rw leads to the primary.",
        )
    contact = str(written.body["id"])
    read = Answer(0, {})
    while clock() < began + patience:
        read = client.get(f"{reader.url}/api/contacts/{contact}")
        if read.status == 200:
            return {
                "id": contact,
                "written_through": writer.node,
                "read_through": reader.node,
                "milliseconds": round((clock() - began) * 1000),
            }
        time.sleep(0.1)
    raise Refusal(
        f"The contact {contact}, written through {writer.node}, could not be read through {reader.node} "
        f"within {patience:.0f} s: {read.status} {dict(read.body)}. See whether the replicas stream.",
    )
