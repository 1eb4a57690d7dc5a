# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a request failed, in one word that means the same whichever library noticed it."""

from __future__ import annotations

import errno
import ssl

import aiohttp

RESET = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}
UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


def cause_of(error: BaseException) -> str:
    """Return refused, reset, cut, timeout, tls, unreachable, or other; `cut` is an answer that ended in its
    middle.
    """
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"status {error.status}"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)):
        return "tls"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "cut"
    # While connecting, the client library wraps what the system said.
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED:
        return "refused"
    if number in UNREACHABLE:
        return "unreachable"
    if number == errno.ETIMEDOUT:
        return "timeout"
    if number in RESET or isinstance(
        error, (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError, ConnectionResetError)
    ):
        return "reset"
    return "other"
