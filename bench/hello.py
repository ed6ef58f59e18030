"""The unit of the server's ratios: the least that FastAPI can do, served with the lesson's own settings."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fastapi import FastAPI, Response

from scripts import serve


def create_app() -> FastAPI:
    """One route that answers five bytes."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def hello() -> Response:
        return Response(b"hello", media_type="text/plain")

    return app


def main() -> None:
    """Let the lesson's start script start this application, so that no setting can differ."""
    sys.exit(serve.main(create_app))


if __name__ == "__main__":
    main()
