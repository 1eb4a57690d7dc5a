# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks Prometheus over HTTP."""

from __future__ import annotations

import base64
import json
import ssl
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured, Unreachable


class _Stay(HTTPRedirectHandler):
    """The password is for the given address and for no other."""

    def redirect_request(self, *_request: Any) -> None:
        return None


class Client:
    """One server. No proxy of the environment stands before it."""

    def __init__(
        self, url: str, user: str | None, password: str | None, ca_certs: str | None, timeout: int
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise NotMeasured(f"{url} is no http or https address")
        self._url, self._timeout = url.rstrip("/"), timeout
        self._headers = {"Accept": "application/json"}
        if user is not None:
            login = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
        try:
            context = ssl.create_default_context(cafile=ca_certs)
        except OSError as error:
            raise NotMeasured(
                f"{url}: {ca_certs} cannot be read as certificates ({error.strerror})"
            ) from error
        self._opener = build_opener(ProxyHandler({}), _Stay(), HTTPSHandler(context=context))

    def ask(self, query: str) -> Any:
        """Return the answer, also one that says what is wrong with the query."""
        request = Request(f"{self._url}/api/v1/query?{urlencode({'query': query})}", headers=self._headers)  # noqa: S310  # the scheme was looked at
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return self._decoded(answer.status, answer.read())
        except HTTPError as error:
            with error:
                return self._decoded(error.code, error.read())
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"{self._url} cannot be asked ({reason})") from error

    def _decoded(self, status: int, body: bytes) -> Any:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or "status" not in answer:
            raise Unreachable(f"{self._url} answers {status}, and not as Prometheus does")
        return answer
