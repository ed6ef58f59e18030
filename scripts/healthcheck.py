"""Health check of the container: whether the server responds. HOST and PORT are those of `serve.py`."""

import os
import sys
import urllib.request

TIMEOUT = 4  # seconds; the image waits for 5
ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def main() -> int:
    host = os.environ.get("HOST", "127.0.0.1")
    host = ALL_ADDRESSES.get(host, host)
    host = f"[{host}]" if ":" in host else host
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # ignore HTTP_PROXY
    try:
        direct.open(f"http://{host}:{os.environ.get('PORT') or 8000}/healthz", timeout=TIMEOUT)
    except OSError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
