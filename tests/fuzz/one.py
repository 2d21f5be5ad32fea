"""``python -m tests.fuzz.one TARGET CORPUS …``: one target under atheris; the rest is libFuzzer's options."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(
    include=["admin", "bridge", "broker", "meter_firmware", "mms_bridge", "scl_builder"]
):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    logging.disable(logging.CRITICAL)
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
