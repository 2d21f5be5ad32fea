# One image for every service of meter61850; compose.yaml says which command each one runs.
# The exact tag, since a digest is known only where the registry can be asked. To pin the bytes too:
# docker build --build-arg BASE=python@sha256:… .   (docs/release.md)
ARG BASE=python:3.11.14-slim-bookworm
FROM ${BASE}

RUN apt-get update \
 && apt-get install -y --no-install-recommends mosquitto \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin meter61850 \
 && install -d -o meter61850 -g meter61850 -m 0700 /data

WORKDIR /app
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

# The packages first: they change less often than the sources. The same two steps as in the Makefile.
COPY requirements.lock ./
RUN python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY admin admin
COPY bridge bridge
COPY broker broker
COPY meter_firmware meter_firmware
COPY mms_bridge mms_bridge
COPY registrar registrar
COPY scl_builder scl_builder
COPY web web
RUN python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation .

USER meter61850
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["meter61850"]
CMD ["--help"]
