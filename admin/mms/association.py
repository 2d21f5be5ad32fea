"""An MMS association of the independent client (open61850), with its errors made ours.

>>> with association("127.0.0.1:10102") as client:  # doctest: +SKIP
...     client.get_name_list(OBJECT_CLASS_DOMAIN)
['SMGW001M17', 'SMGW001GW']
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from open61850.data import (
    BoolData,
    FloatData,
    IECData,
    IntData,
    MmsStringData,
    UIntData,
    VisibleStringData,
)
from open61850.display import format_leaf
from open61850.mms import MmsClient
from open61850.mms.client import InformationReportCallback
from open61850.mms.errors import DataAccessError, MmsConnectionError, MmsError, MmsTimeout, ServiceError

from admin.exits import NotFoundError, RefusedError
from admin.mms.tls_client import ClientCertificate, connect_plain, connect_tls
from broker.contract.errors import ConfigurationError, UnavailableError, reason

MMS_PORT, TLS_PORT = 102, 3782
TIMEOUT = 10.0
DATA_NON_EXISTENT = 10
ACCESS, OBJECT_NON_EXISTENT = 7, 2
"""Codes of ISO 9506-2: DataAccessError; ServiceError's class and code."""

Server = Annotated[
    str,
    typer.Argument(metavar="HOST[:PORT]", help="An IEC 61850 server; default port: 102, with TLS 3782."),
]


def _file(option: str, what: str) -> typer.models.OptionInfo:
    name = f"METER61850_CLIENT_{option.removeprefix('--tls-').upper()}"
    option_info: typer.models.OptionInfo = typer.Option(
        option, metavar="PEM", envvar=name, show_default=False, help=what
    )
    return option_info


TlsCert = Annotated[Path | None, _file("--tls-cert", "Associate over TLS, with this client certificate.")]
TlsKey = Annotated[Path | None, _file("--tls-key", "The key of --tls-cert.")]
TlsCa = Annotated[Path | None, _file("--tls-ca", "The CA of the server's certificate.")]


def identity(cert: Path | None, key: Path | None, ca: Path | None) -> ClientCertificate | None:
    """What the three options say; None without any."""
    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None or ca is None:
        raise ConfigurationError("TLS needs all three: --tls-cert, --tls-key and --tls-ca")
    return ClientCertificate(cert, key, ca)


def endpoint(server: str, *, tls: bool = False) -> tuple[str, int]:
    """Host and port of ``HOST[:PORT]``."""
    host, colon, port = server.rpartition(":")
    host, number = (host, port) if colon else (server, str(TLS_PORT if tls else MMS_PORT))
    if not number.isdecimal():
        raise ConfigurationError(f"{server!r} is no HOST:PORT")
    return host.strip("[]"), int(number)


@contextmanager
def association(
    server: str, on_report: InformationReportCallback | None = None, *, tls: ClientCertificate | None = None
) -> Iterator[MmsClient]:
    """An association with ``HOST[:PORT]``, over TLS if told; errors of the client become ours."""
    try:
        with _connect(*endpoint(server, tls=tls is not None), on_report, tls) as client:
            yield client
    except (MmsConnectionError, MmsTimeout) as error:
        raise UnavailableError(f"MMS server {server}: {reason(error)}") from error
    except (DataAccessError, ServiceError) as error:
        kind = NotFoundError if _is_absence(error) else RefusedError
        raise kind(
            f"MMS server {server}: {reason(error)}: `meter61850 mms browse {server}` shows what there is"
        ) from error
    except MmsError as error:
        raise RefusedError(f"MMS server {server}: {reason(error)}") from error


def _connect(
    host: str, port: int, on_report: InformationReportCallback | None, tls: ClientCertificate | None
) -> MmsClient:
    if tls is not None:
        return connect_tls(host, port, tls, timeout=TIMEOUT, on_report=on_report)
    return connect_plain(host, port, timeout=TIMEOUT, on_report=on_report)


def _is_absence(error: DataAccessError | ServiceError) -> bool:
    """Whether what was asked for is not there, rather than not allowed."""
    if isinstance(error, DataAccessError):
        return error.code == DATA_NON_EXISTENT
    return (error.error_class, error.code) == (ACCESS, OBJECT_NON_EXISTENT)


def plain(name: str, value: IECData) -> bool | int | float | str:
    """A leaf for people and for JSON: a number, a truth, or the standard's words."""
    if isinstance(value, BoolData | FloatData | IntData | UIntData):
        return value.value
    if isinstance(value, VisibleStringData | MmsStringData):
        return value.value
    return format_leaf(name, value)
