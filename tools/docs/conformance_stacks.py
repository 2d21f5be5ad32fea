"""Software of others that was run against the server and its files, for docs/conformance.md.

Those with a test run with each change; the others were run once, on the date of the table.

>>> "| iec61850 (Rust) | 0.14.0 |" in stacks_markdown()
True
"""

from __future__ import annotations

from dataclasses import dataclass

DATE = "2026-12-01"
MATRIX = "integration/test_mms_matrix.py"
READERS_TEST = "unit/test_scl_readers.py"


@dataclass(frozen=True)
class Stack:
    """A program, what was done with it, and what came of it; ``test`` is empty if that was done by hand."""

    name: str
    version: str
    run: str
    result: str
    test: str = ""


# fmt: off
CLIENTS: tuple[Stack, ...] = (
    Stack("libiec61850 (C)", "1.6.1",
          "browse, types, read, data sets, `@name`, URCB, BRCB with resynchronisation and overflow, four "
          "control models, cancel, identify; TLS (mbedtls)", "all", MATRIX),
    Stack("open61850 (Python)", "0.9.12",
          "browse, types, comparison with the CID, read, URCB, BRCB with resynchronisation and overflow, "
          "four control models, cancel; TLS (OpenSSL)",
          "all; has no Identify and no data set services", MATRIX),
    Stack("iec61850 (Rust)", "0.14.0",
          "browse, types, read, data sets, URCB, BRCB with resynchronisation and overflow, four control "
          "models, cancel; TLS (rustls)",
          "all; has no Identify and no `@name`, writes EntryId for EntryID (so that was written as data), "
          "and shows each AddCause as unknown", MATRIX),
    Stack("Wireshark (tshark)", "4.0.17",
          "the octets of the three above, and the answers to 300 odd requests", "decoded without a finding",
          "integration/test_mms_wireshark.py"),
    Stack("py61850 (Python)", "0.4.0",
          "browse, types, all 429 values one by one, several in one Read, data sets; FileDirectory",
          "all; the file service is rejected"),
    Stack("pyiec61850 (libiec61850 of before)", "1.5.2a1",
          "browse, read, BRCB, select and operate with enhanced security; FileDirectory",
          "all; the file service is rejected"),
)
READERS: tuple[Stack, ...] = (
    Stack("open61850", "0.9.12", "SCD and CID: model, addresses, data sets, blocks, compared with our tables",
          "equal", READERS_TEST),
    Stack("scl_loader", "1.11.7", "SCD and CID of each profile: types, values, addresses", "equal",
          READERS_TEST),
    Stack("iec61850 (Rust)", "0.14.0", "SCD and CID: read, and a server made of the CID",
          "its data are those of ours; it makes no report control blocks of a file"),
    Stack("py61850", "0.4.0", "SCD and CID: IEDs, addresses, instances", "read"),
)
# fmt: on

_HEAD = f"""
## Software of others

What was run against the server and its files. Lines with a test run with each change, the others were run
on {DATE}. All of them are from public registries; no commercial client and no test system of a laboratory was
at hand.

| client | version | what was run | result | test |
|---|---|---|---|---|
"""
_READERS = """
| reader of SCL | version | what was run | result | test |
|---|---|---|---|---|
"""


def stacks_markdown() -> str:
    """The section."""
    return _HEAD + _rows(CLIENTS) + _READERS + _rows(READERS)


def _rows(stacks: tuple[Stack, ...]) -> str:
    return "".join(
        f"| {one.name} | {one.version} | {one.run} | {one.result} | {_test(one.test)} |\n" for one in stacks
    )


def _test(file: str) -> str:
    return f"`{file}`" if file else "–"
