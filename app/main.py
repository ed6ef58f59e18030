"""The application: `create_app(settings)` wires routes, headers, errors and logging together."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.responses import RedirectResponse

from app.assets import version
from app.cache import ahead
from app.cache.store import ResponseCache
from app.classroom.database import Database, url_of
from app.classroom.live import Live
from app.classroom.operations import settle_due
from app.classroom.schema import migrate
from app.http import errors
from app.http.clients import ClientAddress, Turns
from app.http.language import LanguagePrefix
from app.http.query import Forms
from app.http.refusals import Refusals
from app.http.security import SecurityHeaders
from app.routes import classroom, figure, job, lesson, misc, own, question, task, teach
from app.routes.classroom.common import install as refusals_of_classes
from app.server.job_runner import JobRunner
from app.settings import Settings
from app.site import Site
from lessons.catalogue import lesson_slugs, load_lesson
from lessons.kit.language import languages, use_language

log = logging.getLogger("academy")


def create_app(settings: Settings | None = None, *, only_this_machine: bool = False) -> FastAPI:
    """The web application, configured by `settings` or by the environment.

    `only_this_machine`: nobody else reaches it, so its classes refuse another host's name.
    """
    settings = settings or Settings()
    logging.getLogger("academy").setLevel(settings.log_level.upper())

    database = (
        Database(url_of(settings.database_url, settings.data_folder)) if settings.holds_classes else None
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.ready = False
        for language in languages():
            with use_language(language):
                for slug in lesson_slugs():
                    load_lesson(slug)
        if database and not database.migrated:
            await database.run(partial(migrate, database))
        if app.state.live:
            app.state.live.start()
        log.info("serving content version %s", version())
        app.state.ready = True
        # Beside the first requests, not before them: a start stays quick and the first drawing is soon there.
        if settings.make_ahead and not app.state.made_ahead:
            threading.Thread(target=ahead.make, args=(app,), name="ahead", daemon=True).start()
        yield
        stop()
        await app.state.job_runner.close()
        if app.state.live:
            await app.state.live.close()
        if database:
            database.close()

    def stop() -> None:
        """Refuse what is not begun; what is begun is finished."""
        app.state.ready = False
        app.state.stopping.set()
        app.state.cache.close()
        app.state.job_runner.stopping = True
        if app.state.live:
            app.state.live.stop()

    app = FastAPI(
        title="openalicelabs academy",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.database = database  # None on a host without classes, as is what listens to it
    app.state.live = Live(database, settle_due) if database else None
    app.state.stop = stop
    app.state.job_runner = JobRunner(settings)
    app.state.site = Site(
        settings.root_path,
        settings.embed_ancestors,
        app.state.job_runner.found,
        settings.code_key,
        settings.holds_classes,
        settings.retention_months,
        only_this_machine,
    )
    app.state.cache = ResponseCache(settings.cache_mib * 2**20)
    app.state.made_ahead = False  # whether all that `ahead.make` makes is in the cache
    app.state.stopping = threading.Event()
    app.state.forms = Forms()
    app.state.ready = False
    _add_routes(app, settings)
    errors.install(app)
    refusals_of_classes(app)
    _add_middleware(app, settings)
    return app


def _add_routes(app: FastAPI, settings: Settings) -> None:
    root_path = settings.root_path
    for prefix in {"", root_path}:
        app.include_router(misc.probes, prefix=prefix)
    for routes in (job, question, task, figure, own, lesson, teach, misc):
        app.include_router(routes.router, prefix=root_path)
    app.include_router(classroom.router(settings.holds_classes), prefix=root_path)
    app.include_router(misc.plain, prefix=root_path)  # last: it matches every path of one part
    if root_path:
        app.add_route(root_path, lambda _: RedirectResponse(f"{root_path}/"))


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """From the innermost to the outermost."""
    app.add_middleware(Refusals)
    app.add_middleware(LanguagePrefix, site=app.state.site, pseudo=settings.pseudo_languages)
    # Outside of all that answers, so that refusals have them too.
    app.add_middleware(SecurityHeaders, embed_ancestors=settings.embed_ancestors)
    app.add_middleware(Turns)
    app.add_middleware(ClientAddress)
