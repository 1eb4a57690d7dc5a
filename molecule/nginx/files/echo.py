"""Answers every request with what it was asked, and accepts any WebSocket."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(sys.argv[1])
WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


class Echo(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Shake hands where a WebSocket is asked for, and answer with the request otherwise."""
        if self.headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in self.headers.get(
            "Connection", ""
        ):
            key = self.headers["Sec-WebSocket-Key"] + WEBSOCKET
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header(
                "Sec-WebSocket-Accept", b64encode(sha1(key.encode(), usedforsecurity=False).digest()).decode()
            )
            self.end_headers()
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length", "0"))
        self.rfile.read(length)
        body = json.dumps(
            {
                "port": PORT,
                "client_port": self.client_address[1],
                "path": self.path,
                "length": length,
                "headers": {name.lower(): value for name, value in self.headers.items()},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name is http.server's


ThreadingHTTPServer(("0.0.0.0", PORT), Echo).serve_forever()  # noqa: S104
