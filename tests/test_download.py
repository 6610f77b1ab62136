"""Downloads are whole or not there: a server of this machine that answers well, badly, too much and not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from thinresnet.download import check_url, download
from thinresnet.errors import InputError

BODY = bytes(range(256)) * 40


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/")
        if name == "missing":
            self.send_error(404)
            return
        if name in ("away", "unsafe"):
            self.send_response(302)
            self.send_header("Location", "/whole" if name == "away" else "http://example.org/weights.pt")
            self.end_headers()
            return
        self.send_response(200)
        length = {"whole": len(BODY), "short": len(BODY) + 7, "huge": 5 * 2**30}.get(name)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


@pytest.mark.parametrize("name", ["whole", "away", "unsized"])
def test_what_is_there_is_fetched_whole(name: str, server: str, tmp_path: Path) -> None:
    download(f"{server}/{name}", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize(
    ("name", "largest", "said"),
    [
        ("missing", 2**31, r"the server answers 404 \(Not Found\)"),
        ("huge", 2**31, r"5,368,709,120 bytes; files are downloaded up to 2,147,483,648"),
        ("unsized", 1000, "more than 1,000 bytes"),
        ("short", 2**31, r"ended after 10,240 of 10,247 bytes|IncompleteRead|cannot be downloaded"),
        ("unsafe", 2**31, "only https addresses"),
    ],
)
def test_what_goes_wrong_is_a_line_and_leaves_nothing(
    name: str, largest: int, said: str, server: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        download(f"{server}/{name}", tmp_path / "file", largest=largest)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be downloaded"):
        download("http://127.0.0.1:1/weights.pt", tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "https:///x"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"only https|without a server"):
        check_url(url)
