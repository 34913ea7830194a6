# Two stages: the first has pip and hashes, the second only what runs. Build with `--format docker` where the
# builder makes OCI images (they drop HEALTHCHECK). Stop with `-t 45`: ShutdownTimeout is 30 s.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/insignia-worker
# Dependencies first: they change seldom, and their layer is kept.
COPY requirements.lock ./
RUN /opt/insignia-worker/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY worker worker
RUN /opt/insignia-worker/bin/pip install --no-deps --no-build-isolation . \
    && /opt/insignia-worker/bin/pip uninstall --yes hatchling editables pip \
    && /opt/insignia-worker/bin/python -m compileall -q /opt/insignia-worker

FROM ${PYTHON}
RUN groupadd --gid 10001 worker && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin worker \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/insignia-worker \
    && install -d /etc/insignia-worker
COPY --from=build /opt/insignia-worker /opt/insignia-worker
COPY config/appsettings.json /etc/insignia-worker/appsettings.json
ENV PATH=/opt/insignia-worker/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    STATE_DIRECTORY=/var/lib/insignia-worker
USER 10001:10001
WORKDIR /var/lib/insignia-worker
VOLUME /var/lib/insignia-worker
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["insignia-worker", "health", "--contentRoot", "/etc/insignia-worker"]
ENTRYPOINT ["insignia-worker"]
CMD ["run", "--contentRoot", "/etc/insignia-worker"]
