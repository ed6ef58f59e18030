"""Serve the lesson: what `make run` and the container start.

HOST (127.0.0.1), PORT (8000), WORKERS (1), CONNECTIONS (4000 for each worker), CLIENT_CONNECTIONS (2000 for
one address), KEEP_ALIVE (130 s) and TRUSTED_PROXIES (none) come from the environment; every other setting
belongs to the application. Headers of a proxy are trusted only if it is in TRUSTED_PROXIES. SIGTERM and
Ctrl-C stop the server gracefully within ten seconds: running responses are finished.
"""

from __future__ import annotations

import errno
import gc
import ipaddress
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.settings import Settings

BACKLOG = 2048
OTHER_FILES = 256  # open files of a worker besides its connections
KEEP_ALIVE = 130
"""Seconds that a connection may rest: longer than nginx and AWS (60) and Caddy (120) keep one for the next
request, so that it is never closed just when a proxy uses it."""


def main(make_app: Callable[[], FastAPI] | None = None) -> int:
    """Serve an application, by default the lesson, until a signal arrives."""
    host = os.environ.get("HOST", "127.0.0.1")
    port = whole_number("PORT", default=8000, low=1, high=65535)
    workers = whole_number("WORKERS", default=1, low=1, high=64)
    connections = whole_number("CONNECTIONS", default=4000, low=8, high=100_000)
    of_one_client = whole_number("CLIENT_CONNECTIONS", default=2000, low=8, high=100_000)
    keep_alive = whole_number("KEEP_ALIVE", default=KEEP_ALIVE, low=1, high=3600)
    proxies = trusted_proxies()
    sockets = bound(host, port)
    # The matrices are small and the workers share the cores: more threads would only compete.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ["CLIENT_CONNECTIONS"], os.environ["WORKERS"] = str(of_one_client), str(workers)

    gc.disable()  # hardly anything that is read is garbage, and looking for it takes a second
    import uvicorn

    from app.http.connections import BoundedHttp
    from app.server.logs import logging_config
    from app.server.supervisor import GRACE, Server, Supervisor

    app = (make_app or lesson)()
    gc.enable()
    connections = with_files_for(connections)

    def server(sign_of_life: Callable[[], None]) -> uvicorn.Server:
        config = uvicorn.Config(
            app,
            http=BoundedHttp,
            ws="none",
            lifespan="on",
            limit_concurrency=connections,
            log_config=logging_config(),
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies or None,
            backlog=BACKLOG,
            timeout_keep_alive=keep_alive,
            timeout_graceful_shutdown=GRACE,
        )
        return Server(config, sign_of_life, getattr(app.state, "stop", lambda: None))

    for listening in sockets:
        try:
            listening.listen(BACKLOG)
        except OSError as error:
            sys.exit(taken(host, port, error))
    print(f"Serving the lesson on http://{host}:{port} (Ctrl-C stops it)", flush=True)
    return Supervisor(workers, server, sockets).run()


def lesson() -> FastAPI:
    """The lesson with all files read; exit with one line for each invalid setting."""
    from app.assets import version

    version()  # of the files as they are now, before the code is imported here

    from pydantic import ValidationError

    from app.cache import ahead
    from app.server.job_runner import unusable
    from app.settings import Settings, explained

    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(explained(error))
    if reason := unusable(settings.jobs_folder):
        sys.exit(f"ACADEMY_JOBS_FOLDER={settings.jobs_folder!r} cannot be used: {reason}.")
    app = with_classes(settings)
    try:
        ahead.read_everything(app)
    except ahead.ContentChangedError:
        sys.exit("Files of the lesson were changed while they were read: start it again.")
    if settings.make_ahead:
        ahead.take(app)
    ahead.settle()
    return app


def with_classes(settings: Settings) -> FastAPI:
    """The application, with its database made or brought up to date if this host holds classes.

    Nobody has asked for classes where nothing is set: on a disk that cannot be written there are none then.
    """
    from app.classroom.database import DatabaseError
    from app.classroom.schema import migrate
    from app.main import create_app

    unasked = not (settings.classes or settings.database_url)
    loopback = is_loopback(os.environ.get("HOST", "127.0.0.1"))
    if not settings.classes:
        settings.classes = "open" if loopback else "off"
    only_this_machine = loopback and settings.classes == "open" and not trusted_proxies()
    try:
        app = create_app(settings, only_this_machine=only_this_machine)
        if app.state.database:
            migrate(app.state.database)
        return app
    except DatabaseError as error:
        where = "DATABASE_URL" if settings.database_url else f"ACADEMY_DATA_DIR={settings.data_dir!r}"
        reason = f"{where} cannot be used: {error}."
        if not unasked:
            sys.exit(reason)
    print(f"There are no classes: {reason}", flush=True)
    settings.classes = "off"
    return create_app(settings)


def whole_number(name: str, default: int, low: int, high: int) -> int:
    """Read a setting from the environment; exit with one line if it is not a number in its range."""
    given = os.environ.get(name) or str(default)
    if not (given.isascii() and given.isdigit() and low <= int(given) <= high):
        sys.exit(f"{name}={given!r} cannot be used: give a whole number from {low} to {high}.")
    return int(given)


def with_files_for(connections: int) -> int:
    """Raise the limit of open files for this many connections; return how many it then allows."""
    needed = connections * 5 // 4 + OTHER_FILES  # refused connections are open for a while
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < needed:
        connections = max(8, (soft - OTHER_FILES) * 4 // 5)
    files = "any number of" if soft == resource.RLIM_INFINITY else soft
    print(f"Each worker may open {files} files: {connections} connections", flush=True)
    return connections


def trusted_proxies() -> str:
    """Read TRUSTED_PROXIES; exit with one line if it is not a list of addresses."""
    given = os.environ.get("TRUSTED_PROXIES", "").strip()
    if given and given != "*":
        for address in given.split(","):
            try:
                ipaddress.ip_network(address.strip())
            except ValueError:
                sys.exit(
                    f"TRUSTED_PROXIES={given!r} cannot be used: {address.strip()!r} is neither an IP address "
                    "nor a network such as 10.0.0.0/8. Give them comma-separated, or *."
                )
    return given


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses of the host; exit with one line if there are none."""
    try:
        found = dict.fromkeys(
            socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        )
        return [_bound(*address, alone=len(found) == 1) for address in found]
    except OSError as error:
        sys.exit(taken(host, port, error))


def _bound(
    family: int, kind: int, protocol: int, _name: str, address: tuple[str, int], *, alone: bool
) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and not alone:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listening.bind(address)
    listening.setblocking(False)
    return listening


def taken(host: str, port: int, error: OSError) -> str:
    """The reason why an address cannot be used."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken: stop what listens there or choose another with PORT=…"
    return f"Cannot serve on {host}:{port} ({error.strerror}): choose another with HOST=… and PORT=…"


if __name__ == "__main__":
    sys.exit(main())
