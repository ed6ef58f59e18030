"""The reference of the server's ratios: a minimal FastAPI application, served with the lesson's settings."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fastapi import FastAPI, Response

from scripts import serve


def create_app() -> FastAPI:
    """An application with one route that returns five bytes."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def hello() -> Response:
        return Response(b"hello", media_type="text/plain")

    return app


def main() -> None:
    """Start this application with the lesson's start script, so that the settings are the same."""
    sys.exit(serve.main(create_app))


if __name__ == "__main__":
    main()
