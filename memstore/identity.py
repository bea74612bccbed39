"""Who this store is, and who this clone of it is: two small files in `.memsync` that are never derived."""

from __future__ import annotations

import json
import os
from typing import Any, Final, NamedTuple

from memstore import files
from memstore.errors import BadInput, DamagedData
from memstore.objects.file_header import FEATURES, FORMAT

FORMAT_NAME: Final = "format"
DEVICE_NAME: Final = "device"
CATALOGUE_NAME: Final = "catalogue.sqlite"
_LARGEST_DEVICE: Final = 1 << 16
"""Bytes; a device file above this is something else."""


class StoreFormat(NamedTuple):
    """The `format` file, the same in every clone and on the remote (docs/format.md, "The format file")."""

    store: bytes
    """16 random bytes that tell one store from another."""
    features: tuple[str, ...] = ()

    def encoded(self) -> bytes:
        from memstore.objects import chunker
        from memstore.objects.record import PIECE_LIMIT

        facts = {
            "format": FORMAT,
            "store": self.store.hex(),
            "features": list(self.features),
            "pieces": {
                "name": chunker.NAME,
                "whole": PIECE_LIMIT,
                "min": chunker.MIN,
                "avg": chunker.AVERAGE,
                "max": PIECE_LIMIT,
            },
        }
        return (json.dumps(facts, sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes, where: str) -> StoreFormat:
        """Raises `DamagedData` for what is no format file, `BadInput` for one of a newer memsync."""
        try:
            facts: dict[str, Any] = json.loads(data)
            number, features = facts["format"], tuple(facts["features"])
            store = bytes.fromhex(facts["store"])
            if type(number) is not int or not all(isinstance(name, str) for name in features):
                raise TypeError("a number or a name is none")
            if number == FORMAT and len(store) != 16:
                raise ValueError("the store's id is not 16 bytes")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedData(
                f"the format file of {where} is damaged",
                hint="run 'memsync repair'; the one of another clone is the same",
            ) from error
        unknown = sorted(set(features) - FEATURES)
        if number != FORMAT or unknown:
            raise BadInput(
                f"{where} was written by a newer memsync (format {number}, features {unknown})",
                hint="pip install --upgrade memsync",
                code="newer_format",
            )
        return cls(store, features)


class Device(NamedTuple):
    """One clone. The id stays; the name is for people and may be configured."""

    id: str
    """8 hex digits."""
    name: str


def load_format(state: str) -> StoreFormat:
    """Raises `BadInput` if the store was never completed, `DamagedData` if the file is damaged or lost."""
    path = os.path.join(state, FORMAT_NAME)
    try:
        return StoreFormat.parse(files.read(path), path)
    except FileNotFoundError:
        if holds_files(state):
            raise DamagedData(
                f"{path} is missing",
                hint="run 'memsync repair', which writes it anew: packs and segments say whose they are",
            ) from None
        raise BadInput(
            f"{path} is missing: the store was not made whole", hint="run 'memsync init' in that workspace"
        ) from None


def holds_files(state: str) -> bool:
    """Whether a store has packs or segments: then it was made whole once."""
    folders = (os.path.join(state, name) for name in ("packs", "segments"))
    return any(files.names(folder) for folder in folders if os.path.isdir(folder))


def load_device(state: str, name: str) -> Device:
    """This clone's id, made on first use, under the name that the configuration gives it.

    The file remembers itself: its own device and inode number, as segments do, and the machine and folder it
    was written in. Where both are others now, the folder is a copy, or one that a sync program laid over ours:
    it gets an id of its own. One of them may change alone: a folder that was moved keeps its inodes, and some
    file systems (FAT, network shares) give out new numbers at each mount.
    """
    path = os.path.join(state, DEVICE_NAME)
    here = _place(state)
    while True:
        found = _read_device(path)
        if found is None:
            id = os.urandom(4).hex()
            if _write_device(path, id, here, new=True):
                return Device(id, name)
            continue  # another process was quicker
        id, file, place, now = found
        if file != now and place != here:
            id = _derived(id, here, now)
            _forget_catalogues(state, Device(id, name))
            _write_device(path, id, here)
        elif file == now and place != here:  # it was moved: a copy that comes here later is one all the same
            _write_device(path, id, here)
        return Device(id, name)


def catalogue_name(device: Device) -> str:
    """Of the catalogue in `.memsync`: one for each device, so that a sync program never mixes the files of two."""
    return f"{CATALOGUE_NAME}.{device.id}"


def _read_device(path: str) -> tuple[str, list[int], str, list[int]] | None:
    """(id, numbers it had, place it was in, numbers it has now); None for what is absent or no such file."""
    try:
        descriptor = files.open_read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise files.disk_error(error, "could not read", path) from error
    try:
        now = files.identity(descriptor)
        facts = json.loads(files.read_at(descriptor, 0, _LARGEST_DEVICE))
        id = str(facts["id"])
        if len(bytes.fromhex(id)) != 4:
            raise ValueError(id)
        return id, facts.get("file", []), facts.get("place", ""), list(now)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        files.discard(path)
        return None
    finally:
        os.close(descriptor)


def _write_device(path: str, id: str, place: str, *, new: bool = False) -> bool:
    """Durable when this returns. False if it was to be `new` and another process made one meanwhile."""
    with files.new_file(os.path.dirname(path)) as (descriptor, temporary):
        facts = {"id": id, "file": files.identity(descriptor), "place": place}
        files.write_all(descriptor, (json.dumps(facts) + "\n").encode(), temporary)
        files.sync(descriptor, temporary)
    if not new:
        files.publish(temporary, path)
        return True
    try:
        files.rename_new(temporary, path)
    except FileExistsError:
        files.discard(temporary)
        return False
    files.sync_dir(os.path.dirname(path))
    return True


def _place(state: str) -> str:
    return f"{machine()}:{os.path.realpath(state)}"


def _derived(id: str, place: str, now: list[int]) -> str:
    """The new id of a copy: the same for two processes that notice at once."""
    from blake3 import blake3

    return blake3(f"{id}\n{place}\n{now}".encode(), derive_key_context="memsync device 1").hexdigest(4)


def _forget_catalogues(state: str, but: Device) -> None:
    """Caches of the folder that this one was copied from."""
    for name in files.names(state):
        if name.startswith(CATALOGUE_NAME) and not name.startswith(catalogue_name(but)):
            files.remove(os.path.join(state, name))


def machine() -> str:
    """What this machine calls itself; '' where nothing says."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
