# syntax=docker/dockerfile:1
#
# The base image is pinned by digest. This one stands in published Dockerfiles and build logs of September 2026; a newer
# one is looked up and used so:
#
#   docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}'
#   make docker PYTHON_DIGEST=sha256:…
#
# Run it with nothing writable but the data:
#
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:8080:8080 -v glassline:/data glassline:dev
#
# The admin port listens inside the container alone until it has a password; docs/configuration.md, `admin`, says how.

ARG PYTHON_DIGEST=sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
FROM python:3.13-slim@${PYTHON_DIGEST} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies first: they change less often than the code, and the layer is then reused.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/glassline \
    && python -m pip --python /opt/glassline/bin/python install --require-hashes --only-binary :all: -r requirements.lock \
    && python -m pip install --require-hashes --only-binary :all: -r requirements-build.lock

COPY pyproject.toml README.md LICENSE ./
COPY pricing pricing
COPY proxy proxy
RUN python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist . \
    && python -m pip --python /opt/glassline/bin/python install --no-deps --no-index /dist/*.whl \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data

FROM python:3.13-slim@${PYTHON_DIGEST}
COPY --from=build /opt/glassline /opt/glassline
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/opt/glassline/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root; nobody else uses it.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2).close()"]
ENTRYPOINT ["glassline"]
CMD ["serve", "--host", "0.0.0.0", "--data-dir", "/data", "--log-format", "json"]
