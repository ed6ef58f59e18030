"""The application as a host runs it, without a network."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the server does, before numpy is imported

from collections.abc import Iterator
from typing import cast

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import create_app
from app.settings import Settings
from lessons.catalogue import Lesson, load_lesson

os.environ["ACADEMY_MAKE_AHEAD"] = "0"  # tests send few requests
os.environ["ACADEMY_CLASSES"] = "off"  # a server on a loopback address would make a database


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings()), follow_redirects=False) as running:
        yield running


@pytest.fixture(scope="session")
def lesson() -> Lesson:
    return load_lesson("quantization")


def application(client: TestClient) -> FastAPI:
    """The application that a client asks; Starlette's type says only that it can be called."""
    return cast(FastAPI, client.app)
