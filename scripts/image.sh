#!/bin/sh
# Build the container image with docker, podman or buildah: scripts/image.sh NAME
# Environment: PYTHON_IMAGE (the base), PIP_CONF and NPMRC (files passed to the build as secrets).
set -eu
cd "$(dirname "$0")/.."
name=$1
set --
[ -z "${PYTHON_IMAGE:-}" ] || set -- "$@" --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE"
[ -z "${PIP_CONF:-}" ] || set -- "$@" --secret "id=pip,src=$PIP_CONF"
[ -z "${NPMRC:-}" ] || set -- "$@" --secret "id=npm,src=$NPMRC"

# Only Docker's image format has a health check; podman and buildah need --format docker.
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    exec docker build --tag "$name" "$@" .
elif command -v podman >/dev/null; then
    exec podman build --format docker --tag "$name" "$@" .
elif command -v buildah >/dev/null; then
    exec buildah build --format docker --tag "$name" "$@" .
fi
echo "No container engine is running here: install docker (and start it), podman or buildah." >&2
exit 1
