"""What an MMS server shows of its logical devices, for the comparison with a file.

The independent client discovers names and types; one read for each logical node and functional constraint
gives the values. Nothing with functional constraint CO is read: to read SBO is to select.

>>> read_device(client, "SMGW001GW", wanted={})["GGIO1"].types["ST", "IntIn1", "stVal"]  # doctest: +SKIP
'integer32'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from open61850.data import BitStringData, BoolData, IECData, VisibleStringData
from open61850.mms import DataAccessError, MmsClient, ObjectName, OptFlds, TrgOps, discover
from open61850.mms.model import LogicalNode
from open61850.mms.types import MmsType, StructureType, describe, label

from admin.mms.association import plain
from admin.mms.comparison import Block, Node, Path, Scalar
from admin.mms.scl_model import block_words

READ_AT_ONCE = 8
"""Variables in one read: the answer must fit into one MMS message."""
BLOCK_ATTRIBUTES = ("RptID", "DatSet", "ConfRev", "BufTm", "IntgPd")


def read_device(client: MmsClient, domain: str, *, wanted: Mapping[str, Node]) -> dict[str, Node]:
    """The logical nodes of ``domain``, with the values that ``wanted`` (of the file) has an opinion on."""
    nodes = discover(client, [domain], types=True).logical_devices[domain].logical_nodes
    values = _values(client, nodes, wanted)
    return {
        name: Node(
            types=_types(node),
            values=values.get(name, {}),
            data_sets={data_set: _members(client, node, data_set) for data_set in node.data_sets},
            blocks=dict(_blocks(client, node)),
        )
        for name, node in nodes.items()
    }


def _types(node: LogicalNode) -> dict[Path, str]:
    """Every leaf that is named, with its type; one that the node's type does not have is a ``?``."""
    told = dict(_leaves(node.type, ()))
    return {path: told.get(path, "?") for path in map(_path, node.references())}


def _path(reference: object) -> Path:
    fc, path = getattr(reference, "fc", ""), getattr(reference, "path", ())
    return (fc or "", *path)


def _leaves(kind: MmsType | None, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(kind, StructureType):
        yield path, describe(kind)
        return
    for name, part in kind.components:
        yield from _leaves(part, (*path, name))


def _values(
    client: MmsClient, nodes: Mapping[str, LogicalNode], wanted: Mapping[str, Node]
) -> dict[str, dict[Path, Scalar]]:
    """Node → what is read of it."""
    groups: list[tuple[LogicalNode, str]] = []
    for name, file in wanted.items():
        if name in nodes:
            constraints = {path[0] for path in (*file.values, *file.literals)} - {"CO"}
            has = nodes[name].functional_constraints()
            groups += [(nodes[name], fc) for fc in sorted(constraints) if fc in has]
    found: dict[str, dict[Path, Scalar]] = {}
    for start in range(0, len(groups), READ_AT_ONCE):
        chunk = groups[start : start + READ_AT_ONCE]
        results = client.read_many([ObjectName(f"{node.name}${fc}", node.ld) for node, fc in chunk])
        for (node, fc), result in zip(chunk, results, strict=True):
            asked = {
                path for path in (*wanted[node.name].values, *wanted[node.name].literals) if path[0] == fc
            }
            found.setdefault(node.name, {}).update(_read(node, fc, result, asked))
    return found


def _read(
    node: LogicalNode, fc: str, result: IECData | DataAccessError, asked: set[Path]
) -> Iterator[tuple[Path, Scalar]]:
    if isinstance(result, DataAccessError):
        yield from ((path, f"not readable: {result}") for path in asked)
        return
    kind = node.type.component(fc) if isinstance(node.type, StructureType) else None
    for name, leaf in label(result, kind):
        path = (fc, *name.split("."))
        if path in asked:
            yield path, plain(name, leaf)


def _members(client: MmsClient, node: LogicalNode, data_set: str) -> tuple[str, ...]:
    return tuple(
        _member(name) for name in client.get_data_set_members(ObjectName(f"{node.name}${data_set}", node.ld))
    )


def _member(name: ObjectName) -> str:
    ln, fc, path = (*name.item.split("$", 2), "", "")[:3]
    return f"{name.domain}/{'.'.join((ln, *path.split('$')))} [{fc}]"


def _blocks(client: MmsClient, node: LogicalNode) -> Iterator[tuple[str, Block]]:
    """Each report control block by name; one read for each."""
    names = [reference for reference in node.control_blocks() if reference.fc in ("RP", "BR")]
    for start in range(0, len(names), READ_AT_ONCE):
        chunk = names[start : start + READ_AT_ONCE]
        for reference, value in zip(chunk, client.read_many(chunk), strict=True):
            kind = node.type_of(reference)
            told = {} if isinstance(value, DataAccessError) else dict(label(value, kind))
            yield f"{reference.path[0]} [{reference.fc}]", _block(told, buffered=reference.fc == "BR")


def _block(told: Mapping[str, IECData], *, buffered: bool) -> Block:
    attributes = {name: _text(name, told[name]) for name in BLOCK_ATTRIBUTES if name in told}
    for name, flags in (("OptFlds", OptFlds), ("TrgOps", TrgOps)):
        if isinstance(value := told.get(name), BitStringData):
            bits = vars(flags.from_bitstring(value))
            said = {bit.replace("_", "-") for bit, is_set in bits.items() if is_set}
            attributes[name] = block_words(said, buffered=buffered)
    return Block(attributes, in_use=any(told.get(name) == BoolData(True) for name in ("RptEna", "Resv")))


def _text(name: str, value: IECData) -> str:
    if isinstance(value, VisibleStringData):
        return value.value
    return str(plain(name, value))
