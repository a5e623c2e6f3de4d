"""An S3 server on a loopback port: moto's, in threads of this process, with a line before it where faults are made.

`slow_seconds`, `full`, and how many of the next answers are to be 503 (`refusals`), name a wrong ETag (`wrong_etags`)
or hold a flipped bit (`torn`) are plain attributes. For faults of the network, put tests.proxy.Proxy before it.
"""

from __future__ import annotations

import threading
import time
import warnings
from http.client import HTTPConnection

from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "atelier"
FULL = b"<Error><Code>XMinioStorageFull</Code><Message>no room</Message></Error>"
WRONG = '"0123456789abcdef0123456789abcdef"'
BUSY = b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"


class S3Server:
    """`with S3Server() as s3: settings(**s3.settings("prefix"))`."""

    def __init__(self) -> None:
        self.calm()
        self.requests: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def calm(self) -> None:
        self.slow_seconds = 0.0
        self.refusals = 0
        self.wrong_etags = 0
        self.torn = 0
        self.full = False

    def settings(self, prefix: str, port: int = 0) -> dict[str, str]:
        return {
            "storage": f"s3://{BUCKET}/{prefix}",
            "s3_endpoint": f"http://127.0.0.1:{port or self.port}",
            "s3_region": "us-east-1",
            "s3_access_key": "key",
            "s3_secret_key": "not-shown",
        }

    # ---- the life of it

    def __enter__(self) -> S3Server:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                create_backend_app,
            )
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/moto-api/reset")
        connection.getresponse().read()
        connection.request("PUT", f"/{BUCKET}")
        assert connection.getresponse().status == 200
        connection.close()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    # ---- one request

    def _answer(self, environ, start):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        asked = environ["QUERY_STRING"]
        if path.split("/")[1] != BUCKET:
            return self._moto(environ, start)
        with self._lock:
            self.requests.append((method, path))
        if self.slow_seconds:
            time.sleep(self.slow_seconds)
        if self._take("refusals"):
            return self._refuse(environ, start, "503 Slow Down", BUSY)
        if self.full and (method == "PUT" or "uploads=" in asked):
            return self._refuse(environ, start, "507 Insufficient Storage", FULL)
        status, headers, body = self._ask_moto(environ)
        good = status.startswith("2")
        if good and method == "GET" and body and "list-type" not in asked and self._take("torn"):
            body = bytes([body[0] ^ 1]) + body[1:]
        if good and method == "PUT" and self._take("wrong_etags"):
            headers = [
                (name, WRONG if name.lower() == "etag" else value) for name, value in headers
            ]
        start(status, headers)
        return [body]

    def _ask_moto(self, environ):
        begun = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = b"".join(self._moto(environ, lambda *said: begun.append(said)))
        return begun[0][0], begun[0][1], body

    def _take(self, name: str) -> bool:
        with self._lock:
            left = getattr(self, name)
            if left:
                setattr(self, name, left - 1)
            return bool(left)

    def _refuse(self, environ, start, status, body):
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open

    def log(self, *_, **__) -> None:
        pass
