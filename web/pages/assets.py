"""Style sheets and scripts: read once, compressed once, and cached by browsers until they change.

>>> Assets().url("app.css")[:17]
'/static/app.css?v'
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from starlette.responses import Response

from web.serving.answers import has_already, takes_gzip
from web.serving.problem import ProblemError

FOLDER = Path(__file__).parents[1] / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file."""

    body: bytes
    compressed: bytes
    etag: str
    kind: str


class Assets:
    """The files below ``static`` that a browser may have."""

    def __init__(self) -> None:
        files = (file for file in FOLDER.rglob("*") if file.suffix in _TYPES)
        self._known = {str(file.relative_to(FOLDER)): _read(file) for file in files}

    def url(self, name: str) -> str:
        """Where ``name`` is; the URL changes with the file."""
        return f"/static/{name}?v={self._known[name].etag}"

    def answer(self, request: Request, name: str) -> Response:
        """The file; 404 for none of ours."""
        asset = self._known.get(name)
        if asset is None:
            raise ProblemError(404, f"no file {name[:100]!r}")
        current = request.query_params.get("v") == asset.etag
        etag = f'"{asset.etag}"'
        headers = {
            "ETag": etag,
            "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
            "Vary": "Accept-Encoding",
        }
        if has_already(request, etag):
            return Response(status_code=304, headers=headers)
        if takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.compressed, headers=headers, media_type=asset.kind)
        return Response(asset.body, headers=headers, media_type=asset.kind)


def _read(file: Path) -> Asset:
    body = file.read_bytes()
    digest = hashlib.blake2b(body, digest_size=8).hexdigest()
    return Asset(body, gzip.compress(body, 9, mtime=0), digest, _TYPES[file.suffix])
