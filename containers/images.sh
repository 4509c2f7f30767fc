#!/bin/sh
# Builds Slipway's images with docker, podman or buildah, whichever is found first, and pushes them when REGISTRY is set.
#   containers/images.sh [stage …]     light, ml and operator without any
# SLIPWAY_BUILD_FLAGS and SLIPWAY_PUSH_FLAGS hold more arguments for the program: for a registry that speaks plain HTTP,
# SLIPWAY_PUSH_FLAGS=--tls-verify=false (buildah, podman; docker wants it among its daemon's insecure-registries).
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' steps/__init__.py)
program=
for candidate in docker podman buildah; do
    # An installed docker whose daemon does not run is none.
    if command -v "$candidate" >/dev/null && "$candidate" info >/dev/null 2>&1; then
        program=$candidate
        break
    fi
done
if [ -z "$program" ]; then
    echo "None of docker, podman and buildah is installed and running here." >&2
    exit 16
fi

[ $# -gt 0 ] || set -- light ml operator
for stage in "$@"; do
    image=${REGISTRY:+${REGISTRY%/}/}slipway/$stage:$version
    # shellcheck disable=SC2086 # the flags are words
    "$program" build ${SLIPWAY_BUILD_FLAGS:-} \
        ${PIP_INDEX_URL:+--build-arg "PIP_INDEX_URL=$PIP_INDEX_URL"} \
        ${PIP_EXTRA_INDEX_URL:+--build-arg "PIP_EXTRA_INDEX_URL=$PIP_EXTRA_INDEX_URL"} \
        -f containers/Dockerfile --target "$stage" -t "$image" .
    # shellcheck disable=SC2086
    [ -z "${REGISTRY:-}" ] || "$program" push ${SLIPWAY_PUSH_FLAGS:-} "$image"
    echo "$image"
done
