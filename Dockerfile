# One image for every service of meter61850; compose.yaml says which command each one runs.
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends mosquitto \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home meter61850 \
 && install -d -o meter61850 -g meter61850 /data

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
