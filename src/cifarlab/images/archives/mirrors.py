"""Ask one of the servers that have an archive for it, over https only."""

from __future__ import annotations

import http.client
import ipaddress
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from http.client import HTTPResponse
from typing import IO

from cifarlab.errors import DataError, cause
from cifarlab.language import tr
from cifarlab.version import VERSION


class MirrorError(DataError):
    """A mirror failed this time; another attempt may go well."""


class UnreachableError(MirrorError):
    """No connection was made, or the server did not answer the request."""


class UselessMirrorError(MirrorError):
    """A mirror failed in a way that it will repeat every time."""


def open_url(url: str, start: int, timeout: float) -> HTTPResponse:
    """Request a file from byte `start` on; a server without ranges sends it from byte 0 with status 200.

    timeout: seconds, for the connection and then for each single read, never for the whole file. Raises MirrorError
    for an error status, no connection, no byte in time, a web page instead of a file, or a redirect that leaves https.
    """
    _check_url(url, url)
    headers = {"User-Agent": f"cifarlab/{VERSION}", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        response: HTTPResponse = OPENER.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # Range Not Satisfiable: our part is longer than their file, so it cannot be its start
            return open_url(url, 0, timeout)
        # 4xx is about this request and will not change, except 429 (Too Many Requests); 5xx may pass.
        kind = UselessMirrorError if 400 <= error.code < 500 and error.code != 429 else MirrorError
        raise kind(tr("the server answered {code} {reason}", code=error.code, reason=error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(reason(error)) from error
    # Hotels and companies answer every request with status 200 and their own log-in page.
    if response.headers.get_content_type() == "text/html":
        response.close()
        raise UselessMirrorError(tr("the server sent text/html, not an archive; a log-in page of this network?"))
    return response


def host(url: str) -> str:
    """Return the name of the server, with its port if the URL has one."""
    return urllib.parse.urlsplit(url).netloc


def reason(error: Exception) -> str:
    """Say in a few words what went wrong with a connection."""
    problem = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(problem, TimeoutError):
        return tr("no byte came in time")
    return (cause(problem) if isinstance(problem, Exception) else str(problem)) or type(problem).__name__


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https to anything else; urllib itself would follow them to http and ftp."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        try:
            _check_url(newurl, req.full_url)
        except UselessMirrorError:
            fp.close()  # urllib closes it only when the redirect is followed
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check_url(url: str, origin: str) -> None:
    """Allow https, and http from this machine to itself, which is how the tests serve files."""
    if urllib.parse.urlsplit(url).scheme == "https" or (_is_local(url) and _is_local(origin)):
        return
    raise UselessMirrorError(tr("refused to leave https for {url}", url=url))


def _is_local(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    try:
        # An address, not a name: whoever answers the look-up could point "localhost.example.org" anywhere.
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


OPENER = urllib.request.build_opener(_SecureRedirects)
"""Uses the proxies that the environment names (https_proxy, no_proxy)."""
