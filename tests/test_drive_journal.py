"""The journal survives crashes and is shared by processes."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import files
from memstore.errors import StoreLocked
from memstore.remotes.drive import journal as journals
from memstore.remotes.drive.journal import Journal, Upload

ROOT = {"root": "r", "store": "s", "packs": "p", "heads": "h", "format": "f"}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "drive-journal.x.jsonl")


def numbered() -> list[str]:
    numbered.count = getattr(numbered, "count", 0) + 1  # type: ignore[attr-defined]
    return [f"id{numbered.count}-{number}" for number in range(5)]  # type: ignore[attr-defined]


def test_what_one_process_wrote_the_next_one_reads(path: str) -> None:
    first = Journal(path)
    taken = first.take("packs/x", numbered)
    first.set_root(ROOT)
    first.set_folder("Core", "c")
    first.set_upload("packs/x", Upload("https://up", 5, "md5", 1.5))
    second = Journal(path)
    assert second.root == ROOT
    assert second.folder("Core") == "c"
    assert second.pending("packs/x") == taken
    assert second.take("packs/x", numbered) == taken
    assert second.upload("packs/x") == Upload("https://up", 5, "md5", 1.5)
    second.done("packs/x")
    assert first.pending("packs/x") is None
    assert first.upload("packs/x") is None


def test_an_id_is_durable_before_it_is_used(path: str) -> None:
    journal = Journal(path)
    journal.take("first", numbered)
    steps: list[str] = []
    with files.watch(lambda step, where, data: steps.append(step)):
        journal.take("second", numbered)
    assert steps[-3:] == ["write", "sync", "read"]
    assert steps.count("sync") == 1


def test_a_made_thing_keeps_its_id_until_it_is_forgotten(path: str) -> None:
    journal = Journal(path)
    taken = journal.take("file:a.txt", numbered)
    journal.done("file:a.txt")
    assert journal.pending("file:a.txt") is None
    assert Journal(path).take("file:a.txt", numbered) == taken
    journal.forget("file:a.txt")
    assert journal.take("file:a.txt", numbered) != taken


def test_refused_ids_are_never_handed_out_again(path: str) -> None:
    journal = Journal(path)
    old = {journal.take(key, numbered) for key in ("a", "b")}
    journal.refused("a")
    fresh = {journal.take(key, numbered) for key in ("a", "c", "d")}
    assert not old & fresh
    assert len({identity.partition("-")[0] for identity in fresh}) == 1


def test_the_file_is_readable_by_its_owner_only(path: str) -> None:
    Journal(path).set_root(ROOT)
    assert Path(path).stat().st_mode & 0o777 == 0o600


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 2000), junk=st.binary(max_size=30))
def test_a_torn_end_loses_that_line_only_and_the_next_one_is_kept(
    cut: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("torn") / "journal.jsonl")
    whole = Journal(path)
    lengths = []
    for number in range(10):
        whole.set_folder(f"folder{number}", f"id{number}")
        lengths.append(Path(path).stat().st_size)
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[:cut] + junk.replace(b"\n", b"").replace(b"\r", b""))
    journal = Journal(path)
    kept = [number for number, length in enumerate(lengths) if length <= cut]
    for number in kept:
        assert journal.folder(f"folder{number}") == f"id{number}"
    journal.set_folder("after", "the crash")
    assert Journal(path).folder("after") == "the crash"
    for number in kept:
        assert Journal(path).folder(f"folder{number}") == f"id{number}"


def test_lines_of_a_newer_memsync_are_passed_over(path: str) -> None:
    Journal(path).set_root(ROOT)
    with Path(path).open("ab") as file:
        file.write(b'{"something": "new"}\n[1, 2]\n7\n{"take": 3}\n{"ids": 5}\n')
    journal = Journal(path)
    journal.set_folder("a", "b")
    assert Journal(path).root == ROOT
    assert Journal(path).folder("a") == "b"


def test_a_journal_that_grew_is_written_anew_and_other_processes_notice(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "COMPACT_AT", 2000)
    journal, other = Journal(path), Journal(path)
    journal.set_root(ROOT)
    pending = journal.take("packs/pending", numbered)
    other.set_folder("Core", "c")
    for number in range(200):
        journal.set_folder("changing", f"id{number}")
        journal.take(f"packs/{number}", numbered)
        journal.done(f"packs/{number}")
    assert Path(path).stat().st_size < 4000
    for reader in (journal, other, Journal(path)):
        assert reader.root == ROOT
        assert reader.folders() == {"Core": "c", "changing": "id199"}
        assert reader.pending("packs/pending") == pending


def test_a_crash_at_any_step_of_a_write_keeps_what_was_there(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "COMPACT_AT", 300)

    class Cut(BaseException):
        pass

    for last in itertools.count():
        Path(path).unlink(missing_ok=True)
        journal = Journal(path)
        journal.set_root(ROOT)
        journal.set_folder("Core", "c")
        taken = journal.take("packs/x", lambda: ["one", "two"])
        steps = 0

        def cut(step: str, where: str, data: bytes, last: int = last) -> None:
            nonlocal steps
            steps += 1
            if steps > last:
                raise Cut

        try:
            with files.watch(cut):
                for number in range(6):
                    journal.set_folder("changing", f"id{number}")
        except Cut:
            died = True
        else:
            died = False
        reader = Journal(path)
        assert reader.root == ROOT
        assert reader.folder("Core") == "c"
        assert reader.pending("packs/x") == taken
        if not died:
            assert last > 10
            return


def test_many_threads_and_objects_never_share_an_id(path: str) -> None:
    taken: list[str] = []
    counter = itertools.count()

    def work(number: int) -> None:
        journal = Journal(path)
        taken.extend(
            journal.take(f"{number}/{step}", lambda: [f"id{next(counter)}" for _ in range(3)])
            for step in range(10)
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 50


def test_a_journal_that_is_held_too_long_is_said_so(path: str) -> None:
    import filelock

    with filelock.FileLock(path + ".lock"), pytest.raises(StoreLocked, match="another process"):
        Journal(path, lock_timeout=0).set_root(ROOT)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["take", "done", "forget", "reopen"]), st.sampled_from("abcd")), max_size=30
    )
)
def test_any_sequence_is_as_a_plain_dict_has_it(
    steps: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("model") / "journal.jsonl")
    journal = Journal(path)
    known: dict[str, str] = {}
    pending: set[str] = set()
    used: set[str] = set()
    counter = itertools.count()
    for verb, key in steps:
        if verb == "take":
            identity = journal.take(key, lambda: [f"id{next(counter)}" for _ in range(3)])
            assert identity == known.get(key, identity)
            if key not in known:
                assert identity not in used
                pending.add(key)
            known[key] = identity
            used.add(identity)
        elif verb == "done":
            journal.done(key)
            pending.discard(key)
        elif verb == "forget":
            journal.forget(key)
            known.pop(key, None)
            pending.discard(key)
        else:
            journal = Journal(path)
        for name in "abcd":
            assert journal.pending(name) == (known[name] if name in pending else None)
