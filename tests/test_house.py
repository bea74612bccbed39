"""The house as its plan has it (docs/design.md): imports point one way, late ones included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MEMSTORE = Path(__file__).resolve().parent.parent / "memstore"


def module_of(path: Path) -> str:
    parts = path.relative_to(MEMSTORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): ast.parse(path.read_text("utf-8")) for path in MEMSTORE.rglob("*.py")}


def imports(node: ast.AST) -> Iterator[str]:
    """The modules of the library that code needs when it runs; those that are named for types alone are left out."""
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.If) and ast.unparse(below.test) == "TYPE_CHECKING":
            continue
        if isinstance(below, ast.Import):
            yield from (alias.name for alias in below.names)
        elif isinstance(below, ast.ImportFrom):
            for alias in below.names:
                whole = f"{below.module}.{alias.name}"
                yield whole if whole in MODULES else str(below.module)
        else:
            yield from imports(below)


def test_no_module_needs_one_that_needs_it() -> None:
    needs = {name: {other for other in imports(tree) if other in MODULES} for name, tree in MODULES.items()}
    assert needs["memstore.actions.commit"] >= {"memstore.actions.record", "memstore.actions.checkout"}
    while needs:
        lowest = {name for name, others in needs.items() if not others & (needs.keys() - {name})}
        assert lowest, f"these need one another: {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in lowest}


def test_only_one_module_changes_the_disk() -> None:
    """What the recorder of the crash tests sees of a run holds for all of the code (locks are no content)."""
    changes = {
        *("write", "replace", "rename", "unlink", "remove", "rmdir", "mkdir", "makedirs", "link", "symlink"),
        *("truncate", "ftruncate", "chmod", "fchmod", "utime", "fsync", "fdatasync", "sync"),
    }
    strangers = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in changes
    }
    assert strangers == {"memstore.files"}
