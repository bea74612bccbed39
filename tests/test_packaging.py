"""What people install: two import names, whole, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout and the wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def modules() -> set[str]:
    return {
        str(path.relative_to(top).as_posix())
        for top, package in ((CHECKOUT, "memstore"), (CHECKOUT / "cli", "memsync"))
        for path in (top / package).rglob("*.py")
    }


def test_the_wheel_holds_the_two_packages_whole_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = next(
            archive.read(name).decode() for name in names if name.endswith("entry_points.txt")
        )
    code = {name for name in names if ".dist-info/" not in name}
    assert code == modules() | {"memstore/py.typed"}
    assert {name.partition("/")[0] for name in code} == {"memstore", "memsync"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "memsync = memsync.__main__:main" in entry_points


def test_the_sdist_holds_what_the_tests_need_and_nothing_made(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"Makefile", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", ".memsync/config.toml"}
    assert wanted <= names
    assert {
        name.removeprefix("cli/") for name in names if name.startswith(("memstore/", "cli/"))
    } >= modules()
    assert "tests/test_packaging.py" in names
    folders = {"memstore", "cli", "tests", "docs", "benchmarks"}
    made_by_the_build = {"PKG-INFO", ".gitignore"}
    tops = {name.partition("/")[0] for name in names}
    assert tops <= folders | made_by_the_build | {name.partition("/")[0] for name in wanted}
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in names)
