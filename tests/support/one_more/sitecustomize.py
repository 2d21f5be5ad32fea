"""On PYTHONPATH this appends one row to the table of quantities of every Python that starts, and no more.

The source of `broker.contract.quantities` is read with the row behind the last one, and never cached.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

TABLE = "broker.contract.quantities"
ROW = '        Quantity("test_quantity", "°C", _M, "", -40.0, 125.0, 2, "Test quantity", "of a test"),\n'
END = "    )\n}\n# fmt: on\n"
"""Of the table, in the source."""


class _OneMore(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        assert source.count(END) == 1, f"the end of the table in {self.path} looks otherwise"
        return compile(source.replace(END, ROW + END), self.path, "exec")


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != TABLE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _OneMore(fullname, spec.origin)
        return spec


sys.meta_path.insert(0, _Finder())
