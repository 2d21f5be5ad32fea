# One image for every service of meter61850; compose.yaml says which command each one runs.
# The exact tag, since a digest is known only where the registry can be asked. To pin the bytes too:
# docker build --build-arg BASE=python@sha256:… .   (docs/release.md)
ARG BASE=python:3.11.14-slim-bookworm
FROM ${BASE}

RUN apt-get update \
 && apt-get install -y --no-install-recommends mosquitto \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10000 meter61850 \
 && groupadd --gid 10001 meter61850-database \
 && add() { useradd --uid "$1" --groups "$2" --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin "$3"; } \
 && add 10002 meter61850 meter61850-broker \
 && add 10003 meter61850,meter61850-database meter61850-bridge \
 && add 10004 meter61850 meter61850-mms \
 && add 10005 meter61850,meter61850-database meter61850-web \
 && add 10006 meter61850 meter61850-meters \
 && add 10007 meter61850,meter61850-database meter61850-registrar \
 && add 10009 meter61850 meter61850-homeassistant \
 && add 10010 meter61850 meter61850-sparkplug \
 && useradd --uid 10008 --user-group --no-create-home --shell /usr/sbin/nologin meter61850-adapter \
 && install -d -o meter61850-adapter -g meter61850-adapter -m 0700 /var/lib/meter61850-adapter \
 && install -d -o meter61850-sparkplug -g meter61850-sparkplug -m 0700 /var/lib/meter61850-sparkplug \
 && install -d -o meter61850-registrar -g meter61850-registrar -m 0700 /data

WORKDIR /app
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

# The packages first: they change less often than the sources. The same two steps as in the Makefile.
COPY requirements/run.lock requirements/
RUN python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY adapters adapters
COPY admin admin
COPY bridge bridge
COPY broker broker
COPY meter_firmware meter_firmware
COPY mms_bridge mms_bridge
COPY registrar registrar
COPY scl_builder scl_builder
COPY web web
RUN python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation .

USER meter61850-registrar
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["meter61850"]
CMD ["--help"]
