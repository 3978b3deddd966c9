"""The servers that have an archive: which of them delivers first, over https only."""

from __future__ import annotations

import http.client
import ipaddress
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from email.message import Message
from http.client import HTTPResponse
from typing import IO

from cifarlab.errors import DataError
from cifarlab.version import VERSION

PROBE = 2**16
"""Bytes fetched from each mirror to see which is the fastest."""


class MirrorError(DataError):
    """What a mirror did wrong this time; another attempt may go well."""


class UnreachableError(MirrorError):
    """No connection came about."""


class UselessMirrorError(MirrorError):
    """What a mirror will do wrong every time."""


News = tuple[str, MirrorError | None]
"""A mirror with what is wrong with it, or with None when it has delivered."""


def rank(mirrors: Sequence[str], seconds: float) -> list[str]:
    """Order the mirrors: the one that delivers a little data first, then all that may still be of use.

    Raises UnreachableError when none of them has answered after `seconds`; at once when all have failed.
    """
    news: queue.SimpleQueue[News] = queue.SimpleQueue()
    answered: set[str] = set()
    for mirror in mirrors:
        # Daemons: one that hangs in a name look-up must not delay the end of the program.
        threading.Thread(target=_probe, args=(mirror, seconds, answered, news), daemon=True).start()
    failures: dict[str, MirrorError] = {}
    deadline = time.monotonic() + seconds
    while len(failures) < len(mirrors):
        try:
            mirror, failure = news.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if failure is None:
            return [mirror, *(other for other in mirrors if other != mirror and other not in failures)]
        failures[mirror] = failure
    left = [mirror for mirror in mirrors if _may_deliver(failures.get(mirror), mirror in answered)]
    if not left:
        reasons = [f"{host(mirror)} ({failures.get(mirror, 'no answer')})" for mirror in mirrors]
        raise UnreachableError(", ".join(reasons))
    return left


def open_url(url: str, start: int, timeout: float) -> HTTPResponse:
    """Ask for a file from byte `start` on; the answer may begin at 0 all the same.

    Raises MirrorError: an error status, no connection, `timeout` seconds without a byte, a web page instead
    of a file, or a redirect that leaves https.
    """
    _check_url(url, url)
    headers = {"User-Agent": f"cifarlab/{VERSION}", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        response: HTTPResponse = OPENER.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # what we have is longer than what they have
            return open_url(url, 0, timeout)
        kind = UselessMirrorError if 400 <= error.code < 500 and error.code != 429 else MirrorError
        raise kind(f"the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(reason(error)) from error
    if response.headers.get_content_type() == "text/html":
        response.close()
        raise UselessMirrorError("the server sent text/html, not an archive; a log-in page of this network?")
    return response


def host(url: str) -> str:
    """The server's name."""
    return urllib.parse.urlsplit(url).netloc


def reason(error: Exception) -> str:
    """Say in a few words what went wrong with a connection."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no byte came in time"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _probe(mirror: str, seconds: float, answered: set[str], news: queue.SimpleQueue[News]) -> None:
    try:
        with open_url(mirror, 0, seconds) as response:
            answered.add(mirror)
            response.read(PROBE)
        news.put((mirror, None))
    except MirrorError as error:
        news.put((mirror, error))
    except (OSError, http.client.HTTPException) as error:
        news.put((mirror, MirrorError(reason(error))))


def _may_deliver(failure: MirrorError | None, has_answered: bool) -> bool:
    """A slow server and a busy one are worth another attempt; a silent one is not."""
    return has_answered if failure is None else type(failure) is MirrorError


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https to something else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        _check_url(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check_url(url: str, origin: str) -> None:
    """Allow https, and http within this machine."""
    if urllib.parse.urlsplit(url).scheme == "https" or (_is_local(url) and _is_local(origin)):
        return
    raise UselessMirrorError(f"refused to leave https for {url}")


def _is_local(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


OPENER = urllib.request.build_opener(_SecureRedirects)
"""Uses the proxies of the environment."""
