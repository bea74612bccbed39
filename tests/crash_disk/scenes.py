"""The workloads whose every crash point is tried; those of care (gc, repair, forget) are in `care`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memstore import Store, crew
from memstore.actions import ingest
from memstore.objects import catalogue, dictionary
from tests.crash_disk import care
from tests.crash_disk.world import ENVIRON, PICTURE, SCENES, World, filled, opened, scene

# -- init and commit ---------------------------------------------------------------------------------------


@scene("init", resume=lambda world: Store.init(world.subject, environ=ENVIRON))
def _init(world: World) -> Iterator[None]:
    yield
    world.nothing_yet()
    Store.init(world.subject, environ=ENVIRON).close()
    world.reported()


@scene("first commit")
def _first_commit(world: World) -> Iterator[None]:
    Store.init(world.subject, environ=ENVIRON).close()
    world.write("Core/Rules.txt", "be kind\n")
    world.write("log.txt", b"line\n" * 400)
    world.write("picture.bin", PICTURE)
    yield
    world.reported()
    world.store().commit(note="first")
    world.reported()


@scene("append, replace, delete")
def _commits(world: World) -> Iterator[None]:
    filled(world)
    yield
    world.reported()
    world.write("log.txt", "first line\nsecond line\nthird line\n")
    world.store().commit(note="append")
    world.reported()
    world.write("Core/Rules.txt", "be kinder\n" * 50)
    world.store().commit(["Core/Rules.txt"], note="replace")
    world.reported()
    world.remove("Core/Tone.txt")
    world.write("Core/Tone", b"\x00\x01" * 700)
    world.store().commit(note="delete and add")
    world.reported()


@scene("many files")
def _many(world: World) -> Iterator[None]:
    filled(world)
    for number in range(150):
        world.write(f"notes/{number % 7}/{number}.txt", f"note {number}\n" * (number % 40 + 1))
    yield
    world.reported()
    world.store().commit(note="many")
    world.reported()


@scene("many notes alike")
def _alike(world: World) -> Iterator[None]:
    """They lean on a dictionary, which is one of few records more."""
    filled(world)
    for number in range(36):
        world.write(f"notes/{number:02}.md", _note(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "MANY", 20)
        patch.setattr(ingest, "JOB_FILES", 14)
        patch.setattr(dictionary, "_FEWEST", 16)
        patch.setattr(crew, "_processors", lambda: 0)
        yield
        world.reported()
        world.store().commit(note="many")
        world.reported()
    known = world.store().repository.catalogue
    ids = [id for place, *_ in known.places().values() for id, _ in known.objects_in(place)]
    assert len(ids) == len({*ids}) + 1, "the dictionary is there twice, all else once"


def _note(number: int) -> str:
    """A note like all others, but for its number here and there."""
    lines = (
        f"in line {line} this note says what note {number * line % 7} says as well" for line in range(12)
    )
    return f"---\nnote: {number}\n---\n" + "\n".join(lines)


@scene("a large file of pieces")
def _large(world: World) -> Iterator[None]:
    filled(world)
    piece = bytes(range(251)) * 4001
    world.write("vectors.bin", b"".join(bytes([turn]) + piece for turn in range(17)))
    yield
    world.reported()
    world.store().commit(note="large")
    world.reported()


# -- archive and restore -----------------------------------------------------------------------------------


@scene("archive")
def _archive(world: World) -> Iterator[None]:
    filled(world)
    world.write("Core/Tone.txt", "not committed yet\n")
    yield
    world.reported()
    world.store().archive(["Core/Tone.txt", "log.txt"], reason="old")
    world.reported()


@scene("restore")
def _restore(world: World) -> Iterator[None]:
    filled(world)
    first = list(world.store().history())[-1]
    yield
    world.reported()
    world.store().restore(["."], at=first.id, exact=True)
    world.reported()


@scene("restore over what was not committed")
def _restore_uncommitted(world: World) -> Iterator[None]:
    filled(world)
    first = list(world.store().history())[-1]
    (world.subject / "Data/log.txt").chmod(0o755)
    (world.subject / "Data/alias").symlink_to("Core/Rules.txt")
    world.store().commit(note="a link and a mode")
    before = world.store().head()
    world.write("Core/Rules.txt", "by hand\n")
    (world.subject / "Data/log.txt").chmod(0o644)
    (world.subject / "Data/alias").unlink()
    yield
    world.reported()
    world.store().restore(["Core", "log.txt"], at=first.id)
    world.reported()
    world.store().restore(["."], at=before)
    world.reported()


# -- push, pull, clone -------------------------------------------------------------------------------------


@scene("first push")
def _first_push(world: World) -> Iterator[None]:
    filled(world)
    yield
    world.reported()
    world.store().push()
    world.reported()


@scene("later push")
def _later_push(world: World) -> Iterator[None]:
    filled(world)
    world.store().push()
    world.write("log.txt", "first line\nsecond line\nthird line\n")
    world.write("Core/Rules.txt", "be kinder\n" * 50)
    world.write("new/deep/note.txt", "new\n")
    world.remove("Core/Tone.txt")
    world.store().commit(note="changes of every kind")
    yield
    world.reported()
    world.store().push()
    world.reported()


@scene("push what a person changed in the mirror")
def _push_person(world: World) -> Iterator[None]:
    filled(world)
    world.store().push()
    world.write("log.txt", "first line\nby hand on the other side\n", world.remote)
    world.write("Core/Tone.txt", "changed here\n")
    world.write("Core/Tone.txt", "changed there\n", world.remote)
    world.store().commit(note="both sides")
    yield
    world.reported()
    world.store().push()
    world.reported()


@scene("push from a copied folder")
def _push_copied(world: World) -> Iterator[None]:
    import shutil

    filled(world)
    world.close()
    shutil.copytree(world.subject, world.root / "copy")
    world.subject = world.root / "copy"
    world.write("log.txt", "in the copy\n")
    yield
    world.reported()
    world.store().commit(note="in the copy")
    world.reported()
    world.store().push()
    world.reported()


@scene("pull", again=lambda store: store.pull())
def _pull(world: World) -> Iterator[None]:
    filled(world)
    world.store().push()
    other = world.root / "other"
    Store.clone(str(world.remote), other, environ={"MEMSYNC_DEVICE": "desk"}).close()
    world.write("log.txt", "first line\nfrom the desk\n", other / "Data")
    world.write("desk/new.txt", "from the desk\n", other / "Data")
    (other / "Data/Core/Tone.txt").unlink()
    world.store(other).commit(note="at the desk")
    world.store(other).push()
    yield
    world.reported()
    world.store().pull()
    world.reported()


@scene("pull with merge", again=lambda store: store.pull())
def _pull_merge(world: World) -> Iterator[None]:
    """Both sides changed: one file each, one file both in different lines, one both in the same."""
    filled(world)
    lines = [f"line {number}\n" for number in range(30)]
    world.write("Core/Both.txt", "".join(lines))
    world.store().commit(note="fourth")
    world.store().push()
    other = world.root / "other"
    Store.clone(str(world.remote), other, environ={"MEMSYNC_DEVICE": "desk"}).close()
    world.write("Core/Both.txt", "".join(["at the desk\n", *lines[1:]]), other / "Data")
    world.write("Core/Tone.txt", "as the desk has it\n", other / "Data")
    world.write("desk.txt", "new at the desk\n", other / "Data")
    world.store(other).commit(note="at the desk")
    world.store(other).push()
    world.write("Core/Both.txt", "".join([*lines[:-1], "here\n"]))
    world.write("Core/Tone.txt", "as it is here\n")
    world.store().commit(note="here")
    world.write("log.txt", "first line\nsecond line\nnot committed\n")
    yield
    world.reported()
    world.store().pull()
    world.reported()


def _clone_again(world: World) -> Store:
    from memstore.errors import BadInput

    try:
        return Store.clone(str(world.remote), world.subject, environ=ENVIRON)
    except BadInput as error:
        assert "is a workspace already" in error.message, error
        return opened(world)


@scene("clone", resume=_clone_again)
def _clone(world: World) -> Iterator[None]:
    filled(world)
    world.store().push()
    world.close()
    world.subject = world.root / "copy"
    yield
    world.nothing_yet()
    Store.clone(str(world.remote), world.subject, environ=ENVIRON).close()
    world.reported()


@scene("catalogue upgrade")
def _upgrade(world: World) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "SCHEMA", catalogue.SCHEMA + 1_000)
        filled(world)
        world.close()
    yield
    world.reported()
    world.write("log.txt", "after the upgrade\n")
    world.store().commit(note="with the new catalogue")
    world.reported()


__all__ = ["SCENES", "care"]
