"""Who this store is, and who this clone of it is: two small files in `.memsync` that are never derived."""

from __future__ import annotations

import json
import os
import secrets
from typing import Any, Final, NamedTuple

from memstore import files
from memstore.errors import BadInput, DamagedData
from memstore.objects import chunker
from memstore.objects.record import PIECE_LIMIT
from memstore.objects.segment import FEATURES, FORMAT

FORMAT_NAME: Final = "format"
DEVICE_NAME: Final = "device"


class StoreFormat(NamedTuple):
    """The `format` file, the same in every clone and on the remote (docs/format.md, "The format file")."""

    store: bytes
    """16 random bytes that tell one store from another."""
    features: tuple[str, ...] = ()

    def encoded(self) -> bytes:
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
    """Raises `BadInput` if the store was never completed."""
    path = os.path.join(state, FORMAT_NAME)
    try:
        return StoreFormat.parse(files.read(path), path)
    except FileNotFoundError:
        raise BadInput(
            f"{path} is missing: the store was not made whole", hint="run 'memsync init' in that workspace"
        ) from None


def load_device(state: str, name: str) -> Device:
    """This clone's id, made on first use, under the name that the configuration gives it."""
    path = os.path.join(state, DEVICE_NAME)
    try:
        id = str(json.loads(files.read(path))["id"])
        if len(bytes.fromhex(id)) != 4:
            raise ValueError(id)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        id = secrets.token_hex(4)
        files.write_atomic(path, (json.dumps({"id": id}) + "\n").encode())
    return Device(id, name)
