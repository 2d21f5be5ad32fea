"""``/iec61850``: directories and values of the IEC 61850 model, by path (Table 2.8 of the thesis)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel
from starlette.responses import Response

from web.acsi import Acsi
from web.api.common import also, problems
from web.auth.guard import Observer
from web.serving.answers import XML, answer

router = APIRouter(prefix="/iec61850", tags=["acsi"])

Name = Annotated[str, Path(max_length=64)]
_ANSWERS = {**problems(404, 406), **also(XML)}


class Directory(BaseModel):
    """What there is below a place; GetServerDirectory, GetLogicalDeviceDirectory, GetLogicalNodeDirectory."""

    reference: str
    children: list[dict[str, str]]


class Values(BaseModel):
    """GetDataValues."""

    reference: str
    cdc: str | None = None
    fc: str | None = None
    value: Any


def _acsi(request: Request) -> Acsi:
    acsi: Acsi = request.app.state.acsi
    return acsi


@router.get("/", response_model=Directory, responses=_ANSWERS)
def server(request: Request, _caller: Observer) -> Response:
    """The logical devices (GetServerDirectory)."""
    children = [{"name": ld, "ied": place.cid.ied} for ld, place in sorted(_acsi(request).places().items())]
    return answer(request, {"reference": "", "children": children}, root="server")


@router.get("/{ld}", response_model=Directory, responses=_ANSWERS)
def logical_device(request: Request, _caller: Observer, ld: Name) -> Response:
    """The logical nodes of a device (GetLogicalDeviceDirectory)."""
    children = [{"name": node.name} for node in _acsi(request).place(ld).device.nodes]
    return answer(request, {"reference": ld, "children": children}, root="logicalDevice")


@router.get("/{ld}/{ln}", response_model=Directory, responses=_ANSWERS)
def logical_node(request: Request, _caller: Observer, ld: Name, ln: Name) -> Response:
    """The data objects of a node (GetLogicalNodeDirectory)."""
    children = [{"name": one.name, "cdc": one.cdc} for one in _acsi(request).node(ld, ln).objects]
    return answer(request, {"reference": f"{ld}/{ln}", "children": children}, root="logicalNode")


@router.get("/{ld}/{ln}/{do}", response_model=Values, responses=_ANSWERS)
def data_object(request: Request, _caller: Observer, ld: Name, ln: Name, do: Name) -> Response:
    """All attributes of a data object, with quality and time (GetDataValues)."""
    acsi = _acsi(request)
    told = {"reference": f"{ld}/{ln}.{do}", "cdc": acsi.data_object(ld, ln, do).cdc}
    return answer(request, {**told, "value": acsi.read(ld, ln, do)}, root="data")


@router.get("/{ld}/{ln}/{do}/{da:path}", response_model=Values, responses=_ANSWERS)
def attribute(
    request: Request,
    _caller: Observer,
    ld: Name,
    ln: Name,
    do: Name,
    da: Annotated[str, Path(description="Such as mag/f or q.", max_length=128)],
) -> Response:
    """One attribute (GetDataValues)."""
    path = [name for name in da.split("/") if name]
    if not path:
        return data_object(request, _caller, ld, ln, do)
    value, fc = _acsi(request).attribute(ld, ln, do, path)
    told = {"reference": ".".join((f"{ld}/{ln}.{do}", *path)), "fc": fc, "value": value}
    return answer(request, told, root="data")
