"""Radicale, called as a WSGI application: the peer of comparisons."""

import io
import logging
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from radicale import config
from radicale.app import Application

USER = "ana"


class RadicaleApp:
    """One user's collections in a folder."""

    def __init__(self, folder: Path) -> None:
        """Nobody needs a password."""
        logging.getLogger("radicale").setLevel(logging.CRITICAL)
        configuration = config.load()
        configuration.update(
            {
                "auth": {"type": "none"},
                "storage": {"filesystem_folder": str(folder)},
                "rights": {"type": "authenticated"},
                "logging": {"level": "critical"},
            },
            "test",
        )
        self._app: Any = Application(configuration)

    def request(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        """Status and body."""
        data = body.encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(data),
            "wsgi.errors": io.StringIO(),
            "CONTENT_LENGTH": str(len(data)),
            "HTTP_AUTHORIZATION": "Basic YW5hOng=",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        if "content_type" in headers:
            environ["CONTENT_TYPE"] = headers["content_type"]
        told: list[str] = []

        def start_response(status: str, head: object, exc_info: object = None) -> None:
            told.append(status)

        answer = b"".join(self._app(environ, start_response))
        return int(told[-1][:3]), answer.decode()

    def found(self, path: str, body: str) -> set[str]:
        """Names of the items that a REPORT answers."""
        status, text = self.request("REPORT", path, body, depth="1")
        assert status == 207, text
        hrefs = [one.text or "" for one in ElementTree.fromstring(text).iter("{DAV:}href")]
        return {href.rsplit("/", 1)[1] for href in hrefs if not href.endswith("/")}
