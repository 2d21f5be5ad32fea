"""``meter61850 init`` makes a deployment: authority, certificates, identities of the services, settings.

>>> new_deployment(Path("deployment"), NewDeployment(hosts=("broker.example",)))  # doctest: +SKIP
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from bridge.scl.hosts import Hosts, hosts_of
from broker.contract.errors import ConfigurationError
from broker.daemon.ports import LOOPBACK
from broker.durable import SECRET, make_folder, replace
from broker.environment import ENV
from broker.mqtt import keypair
from registrar import pki
from registrar.deployment import Deployment
from registrar.identities import SERVICES, Identity
from registrar.layout import FOLDERS
from registrar.pki import SERVER_DAYS, Authority, common_name

_HOST = re.compile(
    r"(?=.{1,253}$)[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?(\.[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?)*"
)

_SETTINGS = """\
# Settings of this meter61850 deployment. Every command with `--dir {folder}` (or METER61850_DIR) takes
# them from here; systemd takes them as EnvironmentFile. A variable in the environment overrides this file.
# docs/settings.md lists all settings; docs/security.md explains these.

# Names and addresses of the broker for meters and operators, which are in its certificate, the usual one
# first. After a change: meter61850 credentials rotate server
METER61850_BROKER_HOSTS="{hosts}"
# Its listeners for meters, operators and command issuers (certificates), and for enrolment and meters with
# a token (passwords). TLS only. 0.0.0.0 is every IPv4 address of this machine.
METER61850_BROKER_BIND={bind}
METER61850_BROKER_PORT={port}
METER61850_BROKER_PASSWORD_PORT={password_port}
# The listener of our own services; on loopback unless they run on other machines.
METER61850_SERVICES_HOST=127.0.0.1
METER61850_BROKER_SERVICES_BIND=127.0.0.1
METER61850_BROKER_SERVICES_PORT={services_port}
METER61850_BROKER_SECURITY={folder}/security

METER61850_MQTT_PREFIX={prefix}

# MMS over TLS for SCADA; IED number n has port + n - 1, as in the SCD. Operators may observe, issuers
# control. METER61850_MMS_HOST is the address for SCADA (an IP, also in the SCD). The plain port listens on
# loopback (METER61850_MMS_PLAIN_BIND opens it, METER61850_MMS_PLAIN=false closes it).
METER61850_MMS_HOST={mms_host}
# Or an address for each IED, such as 10.0.0.10-10.0.0.19: then all have the same ports. These addresses are
# in the certificate. After a change: meter61850 credentials rotate server
METER61850_MMS_HOSTS={mms_hosts}
METER61850_MMS_PORT={mms_port}
METER61850_MMS_TLS_PORT={mms_tls_port}
METER61850_MMS_TLS_CERT={folder}/mms/mms.crt,{folder}/mms/mms-rsa.crt
METER61850_MMS_TLS_KEY={folder}/mms/mms.key,{folder}/mms/mms-rsa.key
METER61850_MMS_TLS_CA={folder}/mms/ca.crt
METER61850_MMS_TLS_CRL={folder}/mms/crl.pem
METER61850_MMS_CLIENTS={folder}/mms/mms-clients.toml

# Mosquitto's own data goes to the folder broker/ in here.
METER61850_DATA_DIR={folder}

# postgresql://USER@HOST/NAME if SQLite is too small (docs/operations-store.md).
METER61850_DATABASE_URL=sqlite:///{folder}/{database}
# File for the end of the audit, outside of the database (docs/operations.md).
METER61850_AUDIT_HEAD_FILE={folder}/bridge/audit.head

# Accounts of the web page and the HTTP API: meter61850 web user add NAME
METER61850_WEB_USERS={folder}/web/web-users.json
# Audit events of the web wait here while the database is locked or away.
METER61850_WEB_SPOOL={folder}/spool/web-audit.sqlite
"""


PRIVATE = 0o700

UNFINISHED = f".{ENV}.unfinished"
"""The settings until all else is made."""


@dataclass(frozen=True)
class NewDeployment:
    """The options of a new deployment."""

    hosts: tuple[str, ...] = ("localhost",)
    """Names and addresses of the broker; meters use the first."""
    bind: str = "127.0.0.1"
    port: int = 8883
    password_port: int = 8884
    services_port: int = 8882
    mms_port: int = 102
    """Of the first IED, without TLS."""
    mms_tls_port: int = 3782
    """Of the first IED (IEC 62351-3 and -4)."""
    mms_host: str = ""
    """Address of the MMS servers, or one for each IED (a range); default: the first address of ``hosts``."""
    prefix: str = "sm/v1"
    database: str = "database/meter61850.sqlite"
    """The SQLite file, below the folder."""
    authority: tuple[Path, Path] | None = None
    """Certificate and key of an authority of yours; a new one is made otherwise."""


def new_deployment(folder: Path, plan: NewDeployment) -> Deployment:
    """Make the deployment; ConfigurationError if there is one already, or the plan is impossible.

    Whatever goes wrong, nothing half-made is left: the folder's settings are written last.
    """
    folder = folder.absolute()
    deployment = Deployment(folder)
    if deployment.exists:
        raise ConfigurationError(f"{folder} is a deployment already: choose another folder, or use this one")
    _check_unused(folder)
    for host in plan.hosts:
        check_host(host)
    _mms_hosts(plan)
    if not str(folder).isprintable() or set(str(folder)) & set(" \"'$`\\#"):
        raise ConfigurationError(f"folder {str(folder)!r}: choose a path without spaces, quotes, $ and #")
    authority = _authority(plan)
    made = [name for name in FOLDERS if not (folder / name).exists()]
    _make_private(folder)
    try:
        _make(Deployment(folder, UNFINISHED), plan, authority)
    except BaseException:
        for name in made:
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "register.sqlite").unlink(missing_ok=True)
        (folder / UNFINISHED).unlink(missing_ok=True)
        raise
    return deployment


def _make(deployment: Deployment, plan: NewDeployment, authority: Authority) -> None:
    folder = deployment.folder
    for name in FOLDERS:
        make_folder(folder / name)
    keep_authority(deployment, "ca", authority)
    replace(folder / UNFINISHED, _settings(folder, plan).encode(), mode=SECRET)
    certify_server(deployment, authority)
    keep_authority(deployment, "services", Authority.new(f"{common_name(authority.certificate)} services"))
    for name, role in SERVICES.items():
        deployment.enlist(Identity(name, role), deployment.identity_folder(name))
    deployment.publish()
    (folder / UNFINISHED).rename(folder / ENV)


def _make_private(folder: Path) -> None:
    """Make ``folder``, or take an empty one, for its owner alone; ConfigurationError if it is in use."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        mode = folder.stat().st_mode & 0o777
        if mode & 0o077 and any(folder.iterdir()):
            raise ConfigurationError(
                f"{folder} is open to others (mode {mode:04o}), and something is in it: chmod 700 {folder}, "
                "or choose a new folder"
            )
        folder.chmod(PRIVATE)
    except OSError as error:
        raise ConfigurationError(f"folder {folder}: {error.strerror}") from error


def _check_unused(folder: Path) -> None:
    """An authority must not be replaced because only the settings beside it were lost."""
    for name in ("ca/ca.key", "register.sqlite"):
        if (folder / name).exists():
            raise ConfigurationError(
                f"{folder} holds {name} but no {ENV}: restore it from a copy; or, if an init was interrupted "
                "here, move its whole content away"
            )


def keep_authority(deployment: Deployment, name: str, authority: Authority) -> None:
    """Put ``authority`` in the place of ``ca``, ``previous`` or ``services``."""
    _keep(deployment.folder / "ca" / name, authority.key, authority.certificate)


def certify_server(deployment: Deployment, authority: Authority) -> None:
    """New keys and certificates of broker, MMS bridge and web, for all their hosts and for loopback."""
    hosts = server_hosts(deployment)
    for pair in deployment.server_pairs():
        key = pki.new_rsa_key() if pair.name == pki.MMS_RSA else pki.new_key()
        certificate = authority.issue(hosts[0], key.public_key(), days=SERVER_DAYS, hosts=hosts)
        _keep(pair, key, certificate)


def server_hosts(deployment: Deployment) -> list[str]:
    """The names and addresses in the servers' certificates, the usual one first; ConfigurationError."""
    environment = deployment.environment
    names = ("METER61850_MMS_HOSTS", "METER61850_MMS_HOST")
    mms = next((_addresses(name, environment[name]).addresses for name in names if environment.get(name)), ())
    brokers = environment["METER61850_BROKER_HOSTS"].split()
    return list(dict.fromkeys([*brokers, *map(str, mms), *LOOPBACK]))


def _keep(pair: Path, key: pki.PrivateKey, certificate: x509.Certificate) -> None:
    keypair.replace(
        pair.with_suffix(".key"), pair.with_suffix(".crt"), pki.key_pem(key), pki.pem(certificate)
    )


def _authority(plan: NewDeployment) -> Authority:
    if plan.authority is None:
        return Authority.new(f"meter61850 {plan.hosts[0]}")
    certificate, key = plan.authority
    try:
        return Authority.load(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"authority {error.filename}: {error.strerror}") from error


def _settings(folder: Path, plan: NewDeployment) -> str:
    hosts = _mms_hosts(plan)
    return _SETTINGS.format(
        folder=folder,
        database=plan.database,
        hosts=" ".join(plan.hosts),
        bind=plan.bind,
        port=plan.port,
        password_port=plan.password_port,
        services_port=plan.services_port,
        mms_host=hosts.addresses[0],
        mms_hosts=hosts if len(hosts.addresses) > 1 else "",
        mms_port=plan.mms_port,
        mms_tls_port=plan.mms_tls_port,
        prefix=plan.prefix,
    )


def _mms_hosts(plan: NewDeployment) -> Hosts:
    """Where the MMS servers are; ConfigurationError if that is no address."""
    return _addresses("--mms-host", plan.mms_host or first_address(plan.hosts))


def _addresses(setting: str, text: str) -> Hosts:
    try:
        return hosts_of(text)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}") from error


def first_address(hosts: tuple[str, ...]) -> str:
    """Where the MMS servers are by default: the first IP address among ``hosts``: the SCD takes no names."""
    for host in hosts:
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            continue
    return "127.0.0.1"


def check_host(host: str) -> None:
    """ConfigurationError if ``host`` is no name and no IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host):
            raise ConfigurationError(f"host {host[:64]!r} is no name and no IP address") from None
