"""Downloading one file: https only, bounded in size and time, whole or not at all. Standard library only."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import thinresnet
from thinresnet.errors import InputError

LARGEST_BYTES = 2 << 30
_SECONDS_WITHOUT_A_BYTE = 30
_BLOCK = 1 << 16
_LOCAL = ("localhost", "127.0.0.1", "::1")  # nobody stands between a machine and itself

Progress = Callable[[str, int, int], None]


def is_url(text: str) -> bool:
    """Whether this is an address rather than a file."""
    return "://" in text


def download(url: str, target: Path, *, largest: int = LARGEST_BYTES, progress: Progress | None = None) -> None:
    """Fetch `url` into `target`; after a refusal there is no such file."""
    check_url(url)
    request = urllib.request.Request(url, headers={"User-Agent": f"thinresnet/{thinresnet.__version__}"})
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        with opener.open(request, timeout=_SECONDS_WITHOUT_A_BYTE) as answer, target.open("wb") as file:
            _copy(url, answer, file, largest, progress)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, InputError):
            raise
        if isinstance(error, urllib.error.HTTPError):
            raise InputError(f"{url}: the server answers {error.code} ({error.reason})") from None
        if isinstance(error, (OSError, http.client.HTTPException, ValueError)):
            reason = getattr(error, "reason", None) or error
            raise InputError(f"{url}: cannot be downloaded ({' '.join(str(reason).split())[:160]})") from None
        raise


def check_url(url: str) -> None:
    """Refuse an address that is not https (or of this machine)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise InputError(f"{url:.200}: not an address") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOCAL):
        raise InputError(f"{url:.200}: only https addresses are downloaded")
    if not host:
        raise InputError(f"{url:.200}: an address without a server")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(url: str, answer: Any, file: BinaryIO, largest: int, progress: Progress | None) -> None:
    length = answer.headers.get("Content-Length")
    expected = int(length) if length is not None and length.isascii() and length.isdigit() else None
    if expected is not None and expected > largest:
        raise InputError(f"{url}: {expected:,} bytes; files are downloaded up to {largest:,}")
    done = 0
    while block := answer.read(_BLOCK):
        done += len(block)
        if done > largest:
            raise InputError(f"{url}: more than {largest:,} bytes; files are downloaded up to that")
        file.write(block)
        if progress is not None:
            progress("downloading", done, max(done, expected or 0))
    if expected is not None and done < expected:
        raise InputError(f"{url}: ended after {done:,} of {expected:,} bytes; try again")
