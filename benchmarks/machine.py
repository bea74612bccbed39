"""Where a measurement was made, and how its section gets into a document."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib import metadata

from memstore import files


def describe() -> str:
    """Cores, processor, memory and Python of this machine, on one line; no name and no path of it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{cores} cores", _processor()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(
            f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.0f} GiB of memory"
        )
    parts += [platform.system(), f"Python {platform.python_version()}"]
    return ", ".join(parts)


def versions() -> str:
    """Versions of what took part."""
    from memstore.objects import encoding

    zstd = vars(encoding)["zstd"].zstd_version
    git = subprocess.run(["git", "--version"], check=True, capture_output=True, text=True).stdout.split()[2]
    memsync = metadata.version("memsync")
    return f"memsync {memsync}, zstd {zstd}, SQLite {sqlite3.sqlite_version}, git {git}"


def write_section(document: str, name: str, text: str) -> None:
    """Put `text` between the document's markers of that name; at its end where it has none yet."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    try:
        with open(document, encoding="utf-8") as file:
            whole = file.read()
    except FileNotFoundError:
        whole = "# Measurements\n"
    section = f"{begin}\n\n{text.strip()}\n\n{end}"
    before, found, rest = whole.partition(begin)
    if found and end in rest:
        whole = before + section + rest.partition(end)[2]
    else:
        whole = whole.rstrip("\n") + "\n\n" + section + "\n"
    files.write_atomic(document, whole.encode())


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for row in file:
                if row.startswith("model name"):
                    return row.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
