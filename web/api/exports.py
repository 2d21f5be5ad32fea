"""A whole table to download, as CSV or Parquet, or a text: written to disk before the first octet is sent.

The file has no name, so nothing of it is left when the request ends.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TextIO

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from bridge.store.export import Table, stream_parquet, write_csv
from web.serving.answers import ATOM, CSV, GZIP_LEVEL, NEM12, PARQUET, PRIVATE, has_already, takes_gzip

PIECE = 256 * 1024
"""Octets that are sent at once."""

ENDINGS = {CSV: "csv", PARQUET: "parquet", ATOM: "xml", NEM12: "nem12.csv"}
Text = Callable[[TextIO], object]
"""Writes it."""


def export(
    request: Request, table: Table | Text, kind: str, *, name: str, place: AbstractContextManager[None]
) -> Response:
    """``table`` as a file of that name without ending; 304 if the client has it.

    ``place`` is held while it is written. It blocks.
    """
    packed = kind != PARQUET and takes_gzip(request)  # Parquet is packed in itself
    with place:
        file = _written(table, kind, packed=packed)
    headers = {"ETag": _etag(file), "Cache-Control": PRIVATE, "Vary": "Accept, Accept-Encoding"}
    if has_already(request, headers["ETag"]):
        file.close()
        return Response(status_code=304, headers=headers)
    headers |= {
        "Content-Disposition": f'attachment; filename="{name}.{ENDINGS[kind]}"',
        "Content-Length": str(file.seek(0, io.SEEK_END)),
    }
    if packed:
        headers["Content-Encoding"] = "gzip"
    return StreamingResponse(_pieces(file), headers=headers, media_type=kind)


def _written(table: Table | Text, kind: str, *, packed: bool) -> io.BufferedRandom:
    """A file without a name that has all of ``table``."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the sender closes it
    try:
        if isinstance(table, Table) and kind == PARQUET:
            stream_parquet(table, file)
        elif packed:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as smaller:
                _write_text(table, smaller)
        else:
            _write_text(table, file)
    except BaseException:
        file.close()
        raise
    return file


def _write_text(table: Table | Text, out: io.BufferedRandom | gzip.GzipFile) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    write_csv(table, text) if isinstance(table, Table) else table(text)
    text.detach()  # written through, and left open


def _etag(file: io.BufferedRandom) -> str:
    file.seek(0)
    return f'"{hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=12)).hexdigest()}"'


def _pieces(file: io.BufferedRandom) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece
