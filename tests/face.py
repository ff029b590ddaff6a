"""A program that calls every public name, for mypy: `make lint` refuses one whose parameters or result have no type."""

import ast

from tierlab.core.paths import ROOT


def program():
    """One call a line, with arguments of any type, so that only a name without types is an error."""
    stub = ast.parse((ROOT / "tierlab" / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports if "." in (node.module or "") for alias in node.names]
    calls = [f"tl.{name}(*any_, **any_)" for name in names if not name.isupper()]
    return "\n".join(["from typing import Any", "import tierlab as tl", "any_: Any = ()", *calls])


if __name__ == "__main__":
    print(program())
