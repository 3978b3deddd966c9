from __future__ import annotations

import email.message
import errno
import hashlib
import io
import logging
import os
import re
import subprocess
import sys
import threading
import urllib.request
import urllib.response
from collections.abc import Callable
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import DataError, MachineError
from cifarlab.images.archives import mirrors
from cifarlab.images.archives.download import Patience, download
from cifarlab.images.archives.official import CIFAR10, CIFAR100, LAYOUTS, Archive

CONTENT = np.random.default_rng(0).bytes(300_000)
QUICK = Patience(read_seconds=60, num_retries=3, pause_seconds=0)
GONE = "http://127.0.0.1:1/data.tar.gz"
"""Nobody listens on port 1, so the connection is refused at once."""

Answer = Callable[[BaseHTTPRequestHandler, int], None]
"""Answers one request, given its number: 0, 1, ..."""


class Server(ThreadingHTTPServer):
    """Counts what it is asked for."""

    daemon_threads = True
    address_family = 2

    def __init__(self, answer: Answer) -> None:
        self.answer, self.num_requests, self.ranges = answer, 0, []
        self.stopped = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data.tar.gz"

    def handle_error(self, request, client_address) -> None:
        """The client may go whenever it likes."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.num_requests += 1
        self.server.ranges.append(self.headers["Range"])
        self.server.answer(self, self.server.num_requests - 1)

    def log_message(self, *arguments) -> None:
        pass


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Type": "application/gzip", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    if "Content_Length" not in headers:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def send_range(handler: BaseHTTPRequestHandler, content: bytes = CONTENT, cut: int | None = None) -> None:
    """Answer like a server that knows ranges; `cut`: close the connection after so many bytes."""
    start = int(re.sub(r"\D", "", handler.headers["Range"] or "0"))
    body, total = content[start:], len(content)
    headers = {"Content_Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
    send(handler, body[:cut], 206 if start else 200, Content_Length=str(len(body)), **headers)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def serve():
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.stopped.set()
        server.shutdown()
        server.server_close()


def archive(*servers: Server) -> Archive:
    sha256, md5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()
    return Archive("data.tar.gz", md5, len(CONTENT), sha256, tuple(server.url for server in servers))


def whole(handler: BaseHTTPRequestHandler, number: int) -> None:
    send(handler, CONTENT)


def test_the_file_arrives_whole_and_is_fetched_once(serve, tmp_path: Path) -> None:
    server = serve(whole)
    path = download(archive(server), tmp_path / "new", QUICK)
    assert path == tmp_path / "new/data.tar.gz" and path.read_bytes() == CONTENT
    assert download(archive(server), tmp_path / "new", QUICK) == path
    assert server.num_requests == 1
    assert sorted(file.name for file in path.parent.iterdir()) == [".data.tar.gz.lock", "data.tar.gz"]


def test_a_file_of_unknown_size_is_checked_by_md5(serve, tmp_path: Path) -> None:
    plain = Archive("data.tar.gz", hashlib.md5(CONTENT).hexdigest(), mirrors=(serve(whole).url,))
    assert download(plain, tmp_path, QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize("cut", [0, 1, 8191, 65_535, 65_536, 65_537, 150_000, 299_999])
def test_d01_a_cut_download_is_continued(cut: int, serve, tmp_path: Path) -> None:
    def answer(handler, number):
        send_range(handler, cut=None if number else cut)

    server = serve(answer)
    assert download(archive(server), tmp_path, QUICK).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={cut}-" if cut else None]


def test_d01_it_is_cut_every_time(serve, tmp_path: Path) -> None:
    server = serve(lambda handler, number: send_range(handler, cut=1000))
    with pytest.raises(DataError, match=r"ended after 4,000 of 300,000 bytes\)\.\nPut data\.tar\.gz"):
        download(archive(server), tmp_path, QUICK)
    assert server.num_requests == 4
    assert (tmp_path / "data.tar.gz.part").read_bytes() == CONTENT[:4000]
    assert not (tmp_path / "data.tar.gz").exists()


def test_d01_the_next_command_continues(serve, tmp_path: Path) -> None:
    (tmp_path / "data.tar.gz.part").write_bytes(CONTENT[:200_000])
    server = serve(lambda handler, number: send_range(handler))
    assert download(archive(server), tmp_path, QUICK).read_bytes() == CONTENT
    assert server.ranges == ["bytes=200000-"]


def test_d01_pauses_double(serve, tmp_path: Path, monkeypatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("cifarlab.images.archives.download.time.sleep", pauses.append)
    server = serve(lambda handler, number: send_range(handler, cut=0))
    with pytest.raises(DataError):
        download(archive(server), tmp_path, Patience(60, 3, 0.5))
    assert pauses == [0.5, 1, 2]


def test_a_server_without_ranges_starts_over(serve, tmp_path: Path) -> None:
    (tmp_path / "data.tar.gz.part").write_bytes(b"x" * 200_000)
    assert download(archive(serve(whole)), tmp_path, QUICK).read_bytes() == CONTENT


def test_another_range_than_asked_for_is_refused(serve, tmp_path: Path) -> None:
    def answer(handler, number):
        send(handler, CONTENT[5:], 206, Content_Range="bytes 5-299999/300000")

    (tmp_path / "data.tar.gz.part").write_bytes(CONTENT[:10])
    with pytest.raises(DataError, match="another part of the file"):
        download(archive(serve(answer)), tmp_path, QUICK)


def test_a_part_that_the_server_cannot_continue(serve, tmp_path: Path) -> None:
    def answer(handler, number):
        send(handler, b"", 416) if handler.headers["Range"] else send(handler, CONTENT)

    (tmp_path / "data.tar.gz.part").write_bytes(b"x" * 299_999)
    assert download(archive(serve(answer)), tmp_path, QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [300_000, 300_001, 900_000])
def test_a_wrong_part_is_fetched_again(length: int, serve, tmp_path: Path) -> None:
    (tmp_path / "data.tar.gz.part").write_bytes(b"x" * length)
    assert download(archive(serve(whole)), tmp_path, QUICK).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(serve, tmp_path: Path) -> None:
    server = serve(lambda handler, number: send(handler, b"", 503) if number < 2 else send(handler, CONTENT))
    assert download(archive(server), tmp_path, QUICK).read_bytes() == CONTENT
    assert server.num_requests == 3


def test_a_server_without_the_file_is_not_asked_again(serve, tmp_path: Path) -> None:
    server = serve(lambda handler, number: send(handler, b"", 404))
    with pytest.raises(DataError, match="the server answered 404 Not Found"):
        download(archive(server), tmp_path, QUICK)
    assert server.num_requests == 1


def stall(handler: BaseHTTPRequestHandler, number: int) -> None:
    """Send a third of the file, then nothing more."""
    send(handler, CONTENT[:100_000], Content_Length="300000")
    handler.wfile.flush()
    handler.server.stopped.wait()


def test_d02_stalled_server(serve, tmp_path: Path) -> None:
    server = serve(stall)
    with pytest.raises(DataError, match="no byte came in time"):
        download(archive(server), tmp_path, Patience(read_seconds=0.1, num_retries=1, pause_seconds=0))
    assert not (tmp_path / "data.tar.gz").exists()


def test_d02_the_next_mirror_continues_where_one_has_stalled(serve, tmp_path: Path, monkeypatch) -> None:
    read1 = HTTPResponse.read1

    def read_in_time(response: HTTPResponse, size: int) -> bytes:
        if response.url == stalled.url and response.length == 200_000:
            raise TimeoutError
        return read1(response, min(size, 50_000))

    stalled, willing = serve(stall), serve(lambda handler, number: send_range(handler))
    monkeypatch.setattr(HTTPResponse, "read1", read_in_time)
    assert download(archive(stalled, willing), tmp_path, QUICK).read_bytes() == CONTENT
    assert (stalled.ranges, willing.ranges) == ([None], ["bytes=100000-"])


def test_d02_a_slow_mirror_is_read_to_its_end(serve, tmp_path: Path, monkeypatch) -> None:
    """Only the wait for the next byte is limited, and by half a minute: the whole may take as long as it needs."""
    timeouts: list[float] = []

    def open_url(url: str, start: int, timeout: float) -> HTTPResponse:
        timeouts.append(timeout)
        return mirrors.open_url(url, start, timeout)

    monkeypatch.setattr("cifarlab.images.archives.download.open_url", open_url)
    first, second = serve(whole), serve(whole)
    assert download(archive(first, second), tmp_path).read_bytes() == CONTENT
    assert timeouts == [30] and (first.num_requests, second.num_requests) == (1, 0)


def test_d03_wrong_hash(serve, tmp_path: Path) -> None:
    flipped = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    server = serve(lambda handler, number: send(handler, flipped))
    with pytest.raises(DataError, match=r"checksum is wrong .* kept as data\.tar\.gz\.bad and was not read"):
        download(archive(server), tmp_path, QUICK)
    assert (tmp_path / "data.tar.gz.bad").read_bytes() == flipped
    assert not (tmp_path / "data.tar.gz").exists() and not (tmp_path / "data.tar.gz.part").exists()
    assert server.num_requests == 1, "the same mirror would send the same again"


@pytest.mark.parametrize("md5_is_right", [True, False])
def test_d03_each_checksum_counts(md5_is_right: bool, serve, tmp_path: Path) -> None:
    published = archive(serve(whole))
    md5, sha256 = (published.md5, "0" * 64) if md5_is_right else ("0" * 32, published.sha256)
    with pytest.raises(DataError, match="checksum is wrong"):
        download(Archive(published.name, md5, published.size_bytes, sha256, published.mirrors), tmp_path, QUICK)


def test_d03_the_next_mirror_helps(serve, tmp_path: Path) -> None:
    flipped = serve(lambda handler, number: send(handler, CONTENT[::-1]))
    assert download(archive(flipped, serve(whole)), tmp_path, QUICK).read_bytes() == CONTENT
    assert flipped.num_requests == 1
    assert (tmp_path / "data.tar.gz.bad").exists()


@pytest.mark.parametrize("after_a_cut", [False, True])
def test_d05_html_page(after_a_cut: bool, serve, tmp_path: Path) -> None:
    def answer(handler, number):
        if after_a_cut and number == 0:
            return send_range(handler, cut=1000)
        return send(handler, b"<html>Log in</html>", Content_Type="text/html; charset=utf-8")

    with pytest.raises(DataError, match="the server sent text/html, not an archive"):
        download(archive(serve(answer)), tmp_path, QUICK)
    assert [file.read_bytes() for file in tmp_path.glob("data*")] == ([CONTENT[:1000]] if after_a_cut else [])


def test_d06_redirect_from_https_to_http(tmp_path: Path, monkeypatch) -> None:
    class FakeHttps(urllib.request.HTTPSHandler):
        def https_open(self, request):
            headers = email.message.Message()
            headers["Location"] = "http://127.0.0.1:1/data.tar.gz"
            response = urllib.response.addinfourl(io.BytesIO(), headers, request.full_url, 302)
            response.msg = "Found"
            return response

    monkeypatch.setattr(mirrors, "OPENER", urllib.request.build_opener(FakeHttps, mirrors._SecureRedirects))
    secure = Archive("data.tar.gz", "", 1, None, ("https://example.org/data.tar.gz",))
    with pytest.raises(DataError, match="refused to leave https for http://127"):
        download(secure, tmp_path, QUICK)


@pytest.mark.parametrize("target", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_d06_redirects_out_of_this_machine(target: str, serve, tmp_path: Path) -> None:
    server = serve(lambda handler, number: send(handler, b"", 302, Location=target))
    with pytest.raises(DataError):
        download(archive(server), tmp_path, QUICK)
    assert not (tmp_path / "data.tar.gz").exists()


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/passwd", "http://localhost.example.org/x"])
def test_d06_mirrors_without_https(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="refused to leave https"):
        download(Archive("data.tar.gz", "", 1, None, (url,)), tmp_path, QUICK)


def test_redirects_within_this_machine_are_followed(serve, tmp_path: Path) -> None:
    target = serve(whole)
    server = serve(lambda handler, number: send(handler, b"", 302, Location=target.url))
    assert download(archive(server), tmp_path, QUICK).read_bytes() == CONTENT


def test_d07_body_larger_than_the_known_size(serve, tmp_path: Path) -> None:
    sent: list[int] = []

    def answer(handler, number):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/gzip")
        handler.end_headers()
        while not handler.server.stopped.is_set():
            handler.wfile.write(bytes(10_000))
            sent.append(10_000)

    with pytest.raises(DataError, match="sent more than the 300,000 bytes"):
        download(archive(serve(answer)), tmp_path, QUICK)
    files = [file for file in tmp_path.iterdir() if file.suffix != ".lock"]
    assert sum(file.stat().st_size for file in files) <= 300_000


def test_d07_a_length_that_is_not_the_published_one(serve, tmp_path: Path) -> None:
    server = serve(lambda handler, number: send(handler, CONTENT + b"x"))
    with pytest.raises(DataError, match="offers 300,001 bytes, the published file has 300,000"):
        download(archive(server), tmp_path, QUICK)


def test_mirrors_are_tried_in_order(serve, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    busy = serve(lambda handler, number: send(handler, b"", 503))
    absent = serve(lambda handler, number: send(handler, b"", 404))
    cut = serve(lambda handler, number: send_range(handler, cut=1000))
    asked = archive(busy, absent, cut, serve(lambda handler, number: send_range(handler, cut=2000)))
    with pytest.raises(DataError) as caught:
        download(asked, tmp_path, Patience(60, num_retries=1, pause_seconds=0))
    names = [mirrors.host(url) for url in asked.mirrors]
    assert re.findall(r"from (\S+) into", caplog.text) == [*names, names[0], *names[2:]], "a 404 is final"
    assert cut.ranges == [None, "bytes=3000-"], "each continues what the others have left"
    places = [str(caught.value).index(name) for name in names]
    assert places == sorted(places), "each is named with its reason"


def test_an_unreachable_mirror_is_passed_over(serve, tmp_path: Path) -> None:
    there = archive(serve(whole))
    both = Archive(there.name, there.md5, there.size_bytes, there.sha256, (GONE, *there.mirrors))
    assert download(both, tmp_path, QUICK).read_bytes() == CONTENT


def test_a_mirror_that_vanishes_is_asked_again(serve, tmp_path: Path) -> None:
    """Only a first round without any connection means that this machine is offline."""

    def answer(handler, number):
        if number != 1:  # whose connection is closed without an answer
            send_range(handler, cut=None if number else 1000)

    server = serve(answer)
    assert download(archive(server), tmp_path, QUICK).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=1000-"]


CHILD = """
import sys
from pathlib import Path
from cifarlab.images.archives.download import download
from cifarlab.images.archives.official import Archive
name, md5, size, sha256, url, folder = sys.argv[1:]
print("ready", flush=True)
print(download(Archive(name, md5, int(size), sha256, (url,)), Path(folder)).stat().st_size)
"""


def test_d26_several_processes_make_one_download(serve, tmp_path: Path) -> None:
    everybody_is_ready = threading.Event()

    def answer(handler, number):
        everybody_is_ready.wait()
        send(handler, CONTENT)

    server = serve(answer)
    want = archive(server)
    arguments = [want.name, want.md5, str(want.size_bytes), want.sha256, server.url, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, *arguments]
    children = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 4
    everybody_is_ready.set()
    results = [(*child.communicate(timeout=60), child.returncode) for child in children]
    assert results == [("300000\n", "", 0)] * 4
    assert server.num_requests == 1


def test_d25_a_folder_that_cannot_be_written(serve, tmp_path: Path, monkeypatch) -> None:
    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    server = serve(whole)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MachineError) as caught:
        download(archive(server), tmp_path / "cache", QUICK)
    assert str(tmp_path / "cache") in str(caught.value) and "CIFARLAB_DATA" in str(caught.value)
    assert caught.value.exit_code == 5 and server.num_requests == 0


def test_d25_a_folder_without_the_right_to_write(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("cifarlab.images.archives.download.os.access", lambda path, mode: False)
    with pytest.raises(MachineError, match="read-only"):
        download(archive(), tmp_path, QUICK)


def test_d28_a_disk_that_is_too_small(serve, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "cifarlab.images.archives.download.shutil.disk_usage", lambda path: type("", (), {"free": 299_999})
    )
    with pytest.raises(MachineError, match="needs 0 MB"):
        download(archive(serve(whole)), tmp_path, QUICK)


def test_d28_a_disk_that_fills_up(serve, tmp_path: Path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cifarlab.images.archives.download.os.fsync", full)
    with pytest.raises(MachineError, match="No space left"):
        download(archive(serve(whole)), tmp_path, QUICK)
    assert not list(tmp_path.glob("data*"))


def test_d31_offline(tmp_path: Path) -> None:
    nobody = Archive("data.tar.gz", "", 300_000, None, (GONE, "http://127.0.0.1:2/b"))
    with pytest.raises(DataError) as caught:
        download(nobody, tmp_path)
    first, second, third = str(caught.value).splitlines()
    assert "127.0.0.1:1 (Connection refused), 127.0.0.1:2 (Connection refused)." in first
    assert second.startswith(f"Put data.tar.gz (300,000 bytes) into {tmp_path}, or set CIFARLAB_DATA")
    assert "--data sample" in third


def test_d31_a_network_that_swallows_everything(serve, tmp_path: Path) -> None:
    server = serve(lambda handler, number: handler.server.stopped.wait())
    with pytest.raises(DataError, match=r"no server delivers it: 127\.0\.0\.1:\d+ \(no byte came in time\)"):
        download(archive(server), tmp_path, Patience(read_seconds=0.1))
    assert server.num_requests <= 1, "there is no second round without a network"


def test_the_published_archives_are_known() -> None:
    assert (CIFAR10.archive.size_bytes, CIFAR100.archive.size_bytes) == (170_498_071, 169_001_437)
    for layout in LAYOUTS:
        assert re.fullmatch("[0-9a-f]{32}", layout.archive.md5)
        assert re.fullmatch("[0-9a-f]{64}", layout.archive.sha256 or "0" * 64)
        assert all(url.startswith("https://") and url.endswith(layout.archive.name) for url in layout.archive.mirrors)
        assert sum(layout.splits["train"].values()) == 50_000 and sum(layout.splits["test"].values()) == 10_000


def test_what_is_going_on_is_said(serve, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    download(archive(serve(whole)), tmp_path, QUICK)
    assert re.search(r"Downloading data\.tar\.gz from 127\.0\.0\.1:\d+ into", caplog.text)
