# The lesson as one image, which needs no network and no writable file system. Classes, where the host holds any,
# are stored in the volume /data or in PostgreSQL.
#
#   docker build -t quant-lesson .        (or: make docker)
#   docker run --read-only -p 8000:8000 quant-lesson
#   docker run --read-only -p 8000:8000 -v classes:/data -e ACADEMY_CLASSES=open quant-lesson
#
# PYTHON_IMAGE may be any image with Python 3.11 or newer and its venv module. Pass configuration of pip or npm as
# the build secrets `pip` and `npm`, which do not become part of the image.

ARG PYTHON_IMAGE=python:3.13-slim

# The Python packages, installed by the same script and lock file as on a developer's machine.
FROM ${PYTHON_IMAGE} AS packages
WORKDIR /srv/lesson
COPY requirements.txt ./
COPY scripts/bootstrap.py scripts/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 scripts/bootstrap.py packages

# The browser's assets. Node.js is not copied to the image.
FROM packages AS assets
COPY package.json package-lock.json .npmrc requirements-node.txt ./
COPY scripts/assets.py scripts/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=npm,target=/root/.npmrc \
    python3 scripts/bootstrap.py run

# The lesson: packages without tests, stubs, headers and installer, and precompiled code.
FROM packages AS lesson
RUN .venv/bin/python -m pip uninstall --quiet --yes pip setuptools \
    && find .venv -type d \( -name tests -o -name include \) -prune -exec rm -rf {} + \
    && find .venv -name '*.pyi' -delete
COPY app app
COPY lessons lessons
COPY quant_core quant_core
COPY templates templates
COPY static static
COPY scripts/serve.py scripts/healthcheck.py scripts/
COPY LICENSE* NOTICE* ./
COPY --from=assets /srv/lesson/static/vendor static/vendor
RUN .venv/bin/python -m compileall -q --invalidation-mode unchecked-hash app lessons quant_core scripts \
    && .venv/bin/python -c "from app.cache.ahead import make_now; make_now()" \
    && rm scripts/bootstrap.py .setup.lock && mkdir /data

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="LLM quantization, a lesson" \
      org.opencontainers.image.description="An interactive lesson on the quantization of large language models" \
      org.opencontainers.image.licenses="MIT AND CC-BY-4.0" \
      org.opencontainers.image.vendor="openalicelabs academy contributors" \
      org.opencontainers.image.version="${VERSION}"
ENV HOST=0.0.0.0 PORT=8000 WORKERS=1 ACADEMY_DATA_DIR=/data \
    PATH="/srv/lesson/.venv/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=lesson /srv/lesson /srv/lesson
COPY --from=lesson --chown=10001:10001 /data /data
WORKDIR /srv/lesson
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "scripts/healthcheck.py"]
CMD ["python", "scripts/serve.py"]
