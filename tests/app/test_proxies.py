"""The lesson behind nginx and Caddy with the files of `deploy/`: statements of docs/hosting.md."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.addresses import path
from app.classroom import operations
from app.classroom.database import Database, url_of
from app.classroom.models import Classroom
from app.http.query import MAXIMUM_FORM_BYTES
from app.routes.classroom.events import COMMENT_SECONDS, LASTS_SECONDS
from app.routes.job import STREAM_SECONDS
from scripts import proxies, serve
from tests.app.servers import LIMIT, ROOT, free_port, serving

DEPLOY = ROOT / "deploy"
JOB = "/lessons/specimen/jobs/squares"
OWN = "/lessons/quantization/figures/rtn"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SMALL_WEIGHTS = "own.text=" + "+".join(str(number / 10) for number in range(64))


@dataclass
class Proxy:
    """A running proxy: its name and port, and the folders of jobs and classes of the lesson behind it."""

    name: str
    port: int
    jobs: Path
    classes: Path
    lesson: int  # the lesson's own port

    def connect(self, source: str = "127.0.0.1") -> http.client.HTTPSConnection:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(
            "localhost", self.port, timeout=LIMIT, context=trusting, source_address=(source, 0)
        )

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(self.connect()) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


@contextlib.contextmanager
def running(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        print(process.communicate(timeout=LIMIT)[0])


@contextlib.contextmanager
def nginx(folder: Path, port: int, lesson: int) -> Iterator[subprocess.Popen[str]]:
    certificate = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    files = ["-keyout", str(folder / "lesson.key"), "-out", str(folder / "lesson.pem")]
    subprocess.run(["openssl", "req", *certificate, *files], check=True, capture_output=True)
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for given, here in (
        (" 443 ssl;", f" 127.0.0.1:{port} ssl;"),
        ("listen [::]:443 ssl;", f"listen [::1]:{port} ssl;" if has_ipv6() else ""),
        ("127.0.0.1:8000", f"127.0.0.1:{lesson}"),
        ("/etc/ssl/certs/lesson.example.pem", str(folder / "lesson.pem")),
        ("/etc/ssl/private/lesson.example.key", str(folder / "lesson.key")),
        ("rate=200r/s", "rate=20r/s"),  # reachable by the test
        ("burst=3000", "burst=50"),
    ):
        assert text.count(given) == 1
        text = text.replace(given, here)
    if is_older_than_http2_on():
        text = text.replace(" ssl;", " ssl http2;").replace("http2 on;", "")
    (folder / "lesson.conf").write_text(text)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{ worker_connections 2048; }}\n"
        f"http {{ access_log off; {places} {ADDRESSES} include {folder}/lesson.conf; }}\n"
    )
    command = [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr  # nothing deprecated
    with running(command) as process:
        yield process


ADDRESSES = "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Address;"
"""Lets a test call itself any client."""


def program(name: str) -> str:
    found = proxies.find(name)
    assert found
    return found


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def is_older_than_http2_on() -> bool:
    said = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, check=True).stderr
    version = re.findall(r"nginx/(\d+)\.(\d+)\.(\d+)", said)[0]
    return tuple(map(int, version)) < (1, 25, 1)


@contextlib.contextmanager
def caddy(folder: Path, port: int, *lessons: int) -> Iterator[subprocess.Popen[str]]:
    command = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    places = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    site = {
        "SITE": f"https://localhost:{port}",
        "LESSON": " ".join(f"127.0.0.1:{lesson}" for lesson in lessons),
    }
    with running(command, **places, **site) as process:
        yield process


PROXIES: dict[str, Callable[..., contextlib.AbstractContextManager[subprocess.Popen[str]]]] = {
    "nginx": nginx,
    "caddy": caddy,
}


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    name: str = request.param
    if not proxies.find(name) or not shutil.which("openssl"):
        pytest.skip(f"NOT TESTED BEHIND {name.upper()}: install it (Debian: apt-get install {name} openssl)")
    folder, port = tmp_path_factory.mktemp(name), free_port()
    jobs, classes = tmp_path_factory.mktemp("jobs"), tmp_path_factory.mktemp("classes")
    settings = {
        "TRUSTED_PROXIES": "127.0.0.1",
        "ACADEMY_JOBS_FOLDER": str(jobs),
        "ACADEMY_MAKE_AHEAD": "0",
        "ACADEMY_CLASSES": "open",
        "ACADEMY_DATA_DIR": str(classes),
    }
    with serving(**settings) as (lesson, _), PROXIES[name](folder, port, lesson) as process:
        running_one = Proxy(name, port, jobs, classes, lesson)
        wait_for(running_one, process)
        yield running_one


def wait_for(proxy: Proxy, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT
    while True:
        try:
            assert proxy.ask("/readyz")[0] == 200
            return
        except OSError:
            if time.monotonic() > end or process.poll() is not None:
                pytest.fail(f"{proxy.name} did not start")
            time.sleep(0.2)


def test_pages_are_compressed_and_have_hsts(proxy: Proxy) -> None:
    status, headers, _ = proxy.ask("/lessons/quantization", Accept_Encoding="br")
    assert status == 200
    assert headers["content-encoding"] == "br"
    assert headers["strict-transport-security"]
    again = proxy.ask("/lessons/quantization", Accept_Encoding="br", If_None_Match=headers["etag"])
    assert again[0] == 304


def test_only_forms_of_own_pages_are_accepted(proxy: Proxy) -> None:
    for origin, expected in (
        (f"https://localhost:{proxy.port}", 200),
        ("https://elsewhere.example", 403),
        ("null", 403),
    ):
        status, _, _ = proxy.ask(OWN, "POST", SMALL_WEIGHTS, Origin=origin, **FORM)
        assert status == expected, origin


def test_too_large_a_body_is_refused_by_the_proxy(proxy: Proxy) -> None:
    status, _, _ = proxy.ask(OWN, "POST", "own.text=" + "1+" * 200_000, **FORM)
    assert status in (413, 502)  # Caddy before 2.7 reports a bad gateway


def test_events_are_not_buffered(proxy: Proxy) -> None:
    with open(proxy.jobs / "lock", "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another job runs, so that this one waits
        assert proxy.ask(JOB, "POST")[0] == 303
        began = time.monotonic()
        with contextlib.closing(proxy.connect()) as connection:
            connection.request("GET", f"{JOB}/steps")
            answer = connection.getresponse()
            first = b""
            while b"data: " not in first:
                line = answer.readline()
                assert line, "the stream ended"
                first += line
            assert time.monotonic() - began < STREAM_SECONDS  # buffered events would arrive later


def test_events_of_a_class_pass_at_once(proxy: Proxy) -> None:
    database, room = new_class(proxy)
    with contextlib.closing(proxy.connect()) as connection:
        connection.request("GET", path("screen events", room.code))
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream")
        began, versions = time.monotonic(), [next_version(answer)]
        for screen in ("code", "blank"):
            with database.write() as session:
                known = operations.find_class(session, room.code)
                operations.set_screen(session, known, known.version, screen)
            versions.append(next_version(answer))
        assert versions == [room.version, room.version + 1, room.version + 2]
        assert time.monotonic() - began < LASTS_SECONDS[0]  # buffered events would arrive at the end
    database.close()


def test_pages_of_a_class_are_compressed(proxy: Proxy) -> None:
    database, room = new_class(proxy)
    database.close()
    for page in ("screen", "screen state"):
        status, headers, body = proxy.ask(path(page, room.code), Accept_Encoding="gzip, br")
        assert status == 200
        assert headers["content-encoding"] == "gzip", page
        assert b'id="screen"' in gzip.decompress(body)


def new_class(proxy: Proxy) -> tuple[Database, Classroom]:
    """A class on the lesson behind a proxy, and its database."""
    database = Database(url_of("", str(proxy.classes)))
    with database.write() as session:
        today = datetime.now(UTC).date()
        return database, operations.create(session, "Monday", today, lesson="quantization").classroom


def test_the_other_container_answers_for_one_that_is_down(proxy: Proxy, tmp_path: Path) -> None:
    if proxy.name != "caddy":
        pytest.skip("the file of nginx names one host")
    port, nobody = free_port(), free_port()
    with caddy(tmp_path, port, nobody, proxy.lesson) as process:
        both = replace(proxy, port=port)
        wait_for(both, process)
        own = f"https://localhost:{port}"
        for _ in range(10):
            assert both.ask("/lessons/quantization")[0] == 200
            assert both.ask(OWN, "POST", SMALL_WEIGHTS, Origin=own, **FORM)[0] == 200


def next_version(answer: http.client.HTTPResponse) -> int:
    """The version that the next `changed` event of a stream tells."""
    while line := answer.readline():
        if line == b"event: changed\n":
            return int(answer.readline().removeprefix(b"data: "))
    raise AssertionError("the stream ended")


def test_slow_reader_gets_the_whole_response(proxy: Proxy) -> None:
    with contextlib.closing(proxy.connect()) as connection:
        connection.request("GET", "/lessons/quantization", headers={"Accept-Encoding": "identity"})
        answer = connection.getresponse()
        received = 0
        while piece := answer.read(65536):
            received += len(piece)
            time.sleep(0.02)
        assert received == int(answer.headers["content-length"] or received)
        assert received > 100_000


def test_idle_timeout_of_the_proxy_is_below_keep_alive() -> None:
    idle = re.findall(r"keepalive_timeout (\d+)s", (DEPLOY / "nginx.conf").read_text("utf-8"))
    idle += re.findall(r"keepalive (\d+)s", (DEPLOY / "Caddyfile").read_text("utf-8"))
    assert len(idle) == 2
    assert max(map(int, idle)) < serve.KEEP_ALIVE


def test_proxies_let_a_stream_of_a_class_end_by_itself() -> None:
    nginx_file = (DEPLOY / "nginx.conf").read_text("utf-8")
    (silent,) = re.findall(r"proxy_read_timeout (\d+)s", nginx_file)
    assert int(silent) > COMMENT_SECONDS
    (whole,) = re.findall(r"write (\d+)s", (DEPLOY / "Caddyfile").read_text("utf-8"))
    assert int(whole) > LASTS_SECONDS[1]


def test_proxy_accepts_the_largest_form() -> None:
    sizes = re.findall(r"client_max_body_size (\d+)k", (DEPLOY / "nginx.conf").read_text("utf-8"))
    caddy_file = (DEPLOY / "Caddyfile").read_text("utf-8")
    sizes += re.findall(r"\tmax_size (\d+)KiB", caddy_file)
    assert len(sizes) == 2
    assert min(map(int, sizes)) * 1024 >= MAXIMUM_FORM_BYTES
    said = (ROOT / "docs" / "hosting.md").read_text("utf-8")
    assert f"at most {MAXIMUM_FORM_BYTES // 1024} KiB" in said


def test_http_2_and_ipv6_are_supported(proxy: Proxy) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    for address in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
        with (
            socket.create_connection((address, proxy.port), LIMIT) as plain,
            trusting.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            assert connection.selected_alpn_protocol() == "h2"


def assert_limited(proxy: Proxy, requests: Sequence[Mapping[str, str]]) -> None:
    """Send as fast as one connection allows: the first requests are served, then one is refused."""
    statuses = []
    with contextlib.closing(proxy.connect()) as flooding:
        for headers in requests:
            flooding.request("GET", "/healthz", headers=dict(headers))
            answer = flooding.getresponse()
            answer.read()
            statuses.append(answer.status)
            if answer.status == 429:
                break
    assert statuses[-1] == 429
    assert statuses[:50] == [200] * 50


def test_proxy_limits_ipv6_by_network(proxy: Proxy) -> None:
    if proxy.name != "nginx":
        pytest.skip("Caddy has no limits for each client")
    assert_limited(proxy, [{"X-Test-Address": f"2001:db8:1:{number:x}::1"} for number in range(400)])
    assert proxy.ask("/healthz", X_Test_Address="2001:db8:2::1")[0] == 200


def test_request_loop_is_refused_and_other_clients_are_served(proxy: Proxy) -> None:
    if proxy.name != "nginx":
        pytest.skip("Caddy has no limits for each client")
    assert_limited(proxy, [{}] * 400)
    try:
        other = proxy.connect("127.0.0.2")
        other.request("GET", "/healthz")
    except OSError:
        pytest.skip("this machine has no second address")
    with contextlib.closing(other):
        assert other.getresponse().status == 200
