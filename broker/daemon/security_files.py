"""The files of the folder ``security``, which Mosquitto reads: which they are, and whether they are whole.

>>> check_files(Path("deployment/security"))  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path

from broker.contract.errors import ConfigurationError
from broker.mqtt.identity import check_secret

SERVER_FILES = {"certfile": "server.crt", "keyfile": "server.key"}
LISTS = ("ca.crt", "services-ca.crt", "crl.pem", "services-crl.pem")
WATCHED = (*SERVER_FILES.values(), *LISTS, "acl", "passwords")
"""What Mosquitto reads again at SIGHUP."""

EDITION, END = b"# Edition ", b"# End\n"
"""An access list of ours has both, in its second and its last line (`registrar.acl`)."""


def check_files(folder: Path) -> None:
    """ConfigurationError if Mosquitto cannot take, or must not take, what is in ``folder``."""
    check_secret(folder / "server.key")
    _check_whole(folder, tuple(SERVER_FILES.values()))
    check_lists(folder)


def check_lists(folder: Path) -> None:
    """The same of what is written from the identity store.

    With an empty access list Mosquitto allows everything to every client; with half of one it allows what the
    missing half denies. Without the passwords no client that needs one can connect.
    """
    check_secret(folder / "passwords")
    _check_whole(folder, (*LISTS, "acl"))


def _check_whole(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{folder / name}: {error.strerror}: {RESTORE}") from error
        whole = content.endswith(END) or EDITION not in content
        if name != "acl":
            whole = content.rstrip().endswith(b"-----")
        if not content.strip() or not whole:
            raise ConfigurationError(f"{folder / name} is empty or cut short: {RESTORE}")


RESTORE = (
    "restore it from a copy, or write it again: "
    "meter61850 credentials list (access list, passwords, revocation lists), "
    "meter61850 credentials rotate server (server.crt and server.key)"
)
