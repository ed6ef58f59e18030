"""Serve the lesson: what `make run` and the container start.

HOST (127.0.0.1), PORT (8000), WORKERS (1), CONNECTIONS (4000 for each worker), CLIENT_CONNECTIONS (2000 for
one address) and TRUSTED_PROXIES (none) come from the environment; every other setting belongs to the
application. What a proxy says of the client is believed only when the proxy is named. SIGTERM and Ctrl-C stop
it gracefully: open answers are finished, for at most ten seconds.
"""

import errno
import os
import resource
import socket
import sys
from pathlib import Path

import uvicorn

ROOT = Path(__file__).resolve().parent.parent
GRACE = 10  # seconds
OTHER_FILES = 256  # that a worker has open besides its connections
IDLE = 10  # seconds that a connection may rest before it is closed


def main() -> None:
    host = os.environ.get("HOST", "127.0.0.1")
    port = whole_number("PORT", default=8000, low=1, high=65535)
    workers = whole_number("WORKERS", default=1, low=1, high=64)
    connections = whole_number("CONNECTIONS", default=4000, low=8, high=100_000)
    of_one_client = whole_number("CLIENT_CONNECTIONS", default=2000, low=8, high=100_000)
    proxies = os.environ.get("TRUSTED_PROXIES", "")
    stop_if_taken(host, port)
    # The matrices are small and the workers share the cores: more threads would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    stop_if_unusable()
    os.environ["CLIENT_CONNECTIONS"] = str(of_one_client)
    from app.logs import logging_config

    print(f"Serving the lesson on http://{host}:{port} (Ctrl-C stops it)", flush=True)
    connections = with_files_for(connections)
    uvicorn.run(
        "app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        app_dir=str(ROOT),
        http="app.connections:BoundedHttp",
        ws="none",
        limit_concurrency=connections,
        log_config=logging_config(),
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies or None,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
    )


def whole_number(name: str, default: int, low: int, high: int) -> int:
    """Read a setting from the environment; stop with one line where it is not a number in its range."""
    given = os.environ.get(name) or str(default)
    if not (given.isascii() and given.isdigit() and low <= int(given) <= high):
        sys.exit(f"{name}={given!r} cannot be used: give a whole number from {low} to {high}.")
    return int(given)


def with_files_for(connections: int) -> int:
    """Raise the limit of open files to what so many connections need; return how many it then allows."""
    needed = connections * 5 // 4 + OTHER_FILES  # some more are open while they are refused
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < needed:
        connections = max(8, (soft - OTHER_FILES) * 4 // 5)
    files = "any number of" if soft == resource.RLIM_INFINITY else soft
    print(f"Each worker may open {files} files: {connections} connections", flush=True)
    return connections


def stop_if_taken(host: str, port: int) -> None:
    """Try the address first: uvicorn's own message comes late, from a worker and with a stack."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} on {host} is taken: stop what listens there or choose another with PORT=…")
        sys.exit(f"Cannot serve on {host}:{port} ({error.strerror}): choose another with HOST=… and PORT=…")


def stop_if_unusable() -> None:
    """Read the application's settings first: a worker would fail with a stack, and be started again."""
    sys.path.insert(0, str(ROOT))
    from pydantic import ValidationError

    from app.settings import Settings, explained

    try:
        Settings()
    except ValidationError as error:
        sys.exit(explained(error))


if __name__ == "__main__":
    main()
