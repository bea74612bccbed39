"""The format is what docs/format.md says: a second reader, written from that page, finds what memstore wrote.

`tests/golden` is a committed store (`tests/make_golden.py`) that must stay readable for ever. The bytes of
single structures are pinned in test_format_bytes.py, what a reader refuses in test_format_refused.py.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import Store
from memstore.actions import checkout
from memstore.ids import ContentId
from memstore.manifest import references
from memstore.manifest.version import Entry, Kind
from memstore.objects.encoding import Base, Encoded, encode, own_cost
from memstore.objects.record import Encoding, RecordKind
from tests import make_golden
from tests.conftest import Memory
from tests.naive_reader import (
    CONTENT,
    DELTA,
    MANIFEST,
    RAW,
    RECIPE,
    ZSTD,
    NaiveStore,
    NotReadable,
    canonical,
    manifest_id,
    read_store,
    unpack,
)

EXPECTED: dict[str, Any] = json.loads((make_golden.GOLDEN / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def naive() -> NaiveStore:
    return read_store(make_golden.GOLDEN / "store")


@pytest.fixture
def golden_copy(tmp_path: Path) -> Iterator[Store]:
    """A workspace whose store is a copy of the golden one."""
    root = tmp_path / "golden"
    (root / "Data").mkdir(parents=True)
    (root / "paths.json").write_text('{"local_data_dir": "Data/"}')
    shutil.copytree(make_golden.GOLDEN / "store", root / ".memsync")
    with Store.open(root) as store:
        yield store


def plain_manifest(naive: NaiveStore, id_: bytes) -> dict[str, list[Any]]:
    return {
        path: [kind, size, content.hex(), modified]
        for path, (kind, size, content, modified) in naive.manifest(id_).items()
    }


# -- the golden store --------------------------------------------------------------------------------------


def test_the_second_reader_finds_every_version_of_the_golden_store(naive: NaiveStore) -> None:
    found = [
        [
            version.id.hex(),
            version.generation,
            version.time,
            manifest_id(canonical(naive.manifest(version.id))).hex(),
        ]
        for version in sorted(naive.versions.values(), key=lambda version: (version.generation, version.id))
    ]
    assert found == EXPECTED["versions"]
    assert naive.store_id.hex() == EXPECTED["store"]
    assert [head.hex() for head in naive.heads] == EXPECTED["heads"]
    assert naive.head is not None and naive.head.hex() == EXPECTED["head"]


def test_the_second_reader_finds_what_was_said_of_a_version(naive: NaiveStore) -> None:
    for wanted in (EXPECTED["first"], EXPECTED["last"]):
        version = naive.version(bytes.fromhex(wanted["version"]))
        assert [parent.hex() for parent in version.parents] == wanted["parents"]
        assert (version.device, version.device_id.hex()) == (wanted["device"], wanted["device_id"])
        said = {
            key: wanted[key]
            for key in ("note", "context_tags", "chat_name", "reason", "actor")
            if wanted[key]
        }
        assert version.meta == said
        words = ("add", "append", "replace", "delete", "archive")
        assert [(words[change[0]], change[1]) for change in version.changes] == [
            (change["change"], change["path"]) for change in wanted["changes"]
        ]


def test_the_second_reader_finds_every_manifest_of_the_golden_store(naive: NaiveStore) -> None:
    assert EXPECTED["manifests"] == {
        id: plain_manifest(naive, bytes.fromhex(id)) for id in EXPECTED["manifests"]
    }


def test_the_second_reader_finds_every_content_of_the_golden_store(naive: NaiveStore) -> None:
    # content() compares each with its id.
    assert {id: len(naive.content(bytes.fromhex(id))) for id in EXPECTED["contents"]} == EXPECTED["contents"]
    head = naive.manifest(bytes.fromhex(EXPECTED["head"]))
    assert {path: naive.content(head[path][2]).decode() for path in EXPECTED["plain"]} == EXPECTED["plain"]


def test_the_second_reader_finds_every_archive_reference_of_the_golden_store(naive: NaiveStore) -> None:
    found = {
        f"{id_.hex()[:8]} {name}": content.hex()
        for id_ in naive.versions
        for name, content in naive.references(id_).items()
    }
    assert found == EXPECTED["references"]


def test_a_content_that_only_a_tombstone_names_is_removed(naive: NaiveStore) -> None:
    removed = {id_.hex(): fact["why"] for id_, fact in naive.tombstones.items()}
    assert removed == EXPECTED["removed"]
    with pytest.raises(NotReadable, match="removed"):
        naive.content(next(iter(naive.tombstones)))


def test_the_golden_store_uses_every_part_of_the_format(naive: NaiveStore) -> None:
    used = {(form.kind, form.encoding) for form in naive.forms}
    every = {
        (CONTENT, RAW),
        (CONTENT, ZSTD),
        (CONTENT, DELTA),
        (RECIPE, RAW),
        (MANIFEST, ZSTD),
        (MANIFEST, DELTA),
    }
    assert every <= used
    assert max(form.rank for form in naive.forms) > 100
    assert len(naive.packs) == 2 and len(naive.segments) == 1
    changes = [change for version in naive.versions.values() for change in version.changes]
    assert {change[0] for change in changes} == {0, 1, 2, 3, 4}
    assert {len(change) for change in changes} == {3, 6, 7}
    assert {change[2] for change in changes if len(change) > 3} == {0, 1, 2}
    names = [name for id_ in naive.versions for name in naive.references(id_)]
    assert any("Z~" in name for name in names) and any("Z" in name and "~" not in name for name in names)
    assert any(len(version.parents) == 2 for version in naive.versions.values())
    assert any(not size for _, size, _, _ in naive.manifest(naive.heads[0]).values())


def test_checkpoints_hold_the_manifests_of_the_versions_that_name_them(naive: NaiveStore) -> None:
    named = {v.extra["manifest"]: v for v in naive.versions.values() if "manifest" in v.extra}
    checkpoints = {id_ for kind, id_ in naive.objects if kind == MANIFEST}
    assert len(checkpoints) == 2 and checkpoints <= set(named)
    for id_ in checkpoints:
        assert naive.object(MANIFEST, id_) == canonical(naive.manifest(named[id_].id))


def test_every_128th_generation_and_every_merge_carries_its_manifests_id(naive: NaiveStore) -> None:
    for version in naive.versions.values():
        due = version.generation % 128 == 0 or len(version.parents) > 1
        assert ("manifest" in version.extra) is due


def test_generations_and_times_never_go_back(naive: NaiveStore) -> None:
    for version in naive.versions.values():
        parents = [naive.version(parent) for parent in version.parents]
        assert version.generation == 1 + max((parent.generation for parent in parents), default=0)
        assert all(parent.time <= version.time for parent in parents)


def test_the_second_reader_reads_the_golden_remote(naive: NaiveStore) -> None:
    remote = read_store(make_golden.GOLDEN / "remote")
    assert remote.head is not None and remote.head.hex() == EXPECTED["remote_head"]
    assert remote.versions.items() <= naive.versions.items()
    for _, _, content, _ in remote.manifest(remote.head).values():
        assert remote.content(content) == naive.content(content)


def test_memstore_finds_the_same_in_the_golden_store(golden_copy: Store) -> None:
    found = make_golden.described(golden_copy)
    assert json.loads(json.dumps(found)) == {key: EXPECTED[key] for key in EXPECTED if key != "remote_head"}
    for id, size in EXPECTED["contents"].items():
        assert len(golden_copy.repository.read(ContentId.from_hex(id))) == size
    assert golden_copy.verify().problems == ()


def test_a_copied_segment_is_read_but_never_appended_to(golden_copy: Store) -> None:
    segments = Path(golden_copy.repository.state) / "segments"
    (before,) = segments.iterdir()
    content = before.read_bytes()
    golden_copy.restore(["."])
    Path(golden_copy.workspace.data, "new.txt").write_bytes(b"made in the copy")
    version = golden_copy.commit()
    assert version is not None
    assert before.read_bytes() == content
    naive = read_store(segments.parent)
    assert sorted(own for own, _ in naive.segments.values()) == [False, True]
    assert naive.head == version.id and version.parents[0].hex() == EXPECTED["head"]


def test_memstore_clones_the_golden_remote(tmp_path: Path) -> None:
    shutil.copytree(make_golden.GOLDEN / "remote", tmp_path / "remote" / ".memsync")
    with Store.clone(str(tmp_path / "remote"), tmp_path / "clone") as store:
        assert str(store.head()) == EXPECTED["remote_head"]
        naive = read_store(tmp_path / "clone" / ".memsync")
        assert naive.head == store.head()
        assert {row.path for row in store.ls()} >= set(naive.manifest(naive.head or b""))


@pytest.mark.skipif(os.name != "posix", reason="the golden store has links and mode bits")
def test_todays_writer_gives_the_same_ids(tmp_path: Path) -> None:
    found = make_golden.make(tmp_path)
    assert json.loads(json.dumps(found)) == EXPECTED


# -- freshly written stores --------------------------------------------------------------------------------

PATHS = st.sampled_from(["a.txt", "b", "Core/Rules.txt", "Core/ü", "Archive/a.txt", ".x"])
LINES = st.lists(
    st.sampled_from([b"one line\n", b"another, longer line\n", b"\x00\xff", b"end"]), max_size=60
)
STEPS = st.one_of(
    st.tuples(st.just("write"), PATHS, LINES.map(b"".join)),
    st.tuples(st.just("append"), PATHS, LINES.map(b"".join)),
    st.tuples(st.just("delete"), PATHS, st.just(b"")),
    st.tuples(st.just("archive"), PATHS, st.sampled_from([b"", b"keep"])),
    st.tuples(st.just("push"), st.just(""), st.just(b"")),
    st.tuples(st.just("remake"), st.just(""), st.just(b"")),
)


def take_step(store: Store, step: tuple[str, str, bytes]) -> None:
    what, path, content = step
    place = Path(store.workspace.data, path)
    if what in {"write", "append"}:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((place.read_bytes() if what == "append" and place.exists() else b"") + content)
    elif what == "delete":
        place.unlink(missing_ok=True)
    elif what == "archive" and place.exists():
        store.archive([path], keep=bool(content))
    elif what == "push":
        store.push(mirror=False)
    elif what == "remake":
        store.repository.catalogue.db.execute("UPDATE facts SET value = 0 WHERE name = 'complete'")
    store.commit(note=what, context_tags=[path] if path else [])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, max_size=14))
def test_the_second_reader_reads_whatever_memstore_writes(steps: list[tuple[str, str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "memory" / "Data").mkdir(parents=True)
        with Store.init(place / "memory") as store:
            store.set_remote(str(place / "remote"))
            model: dict[bytes, dict[str, bytes]] = {}
            for step in steps:
                take_step(store, step)
                head = store.head()
                if head is not None:
                    model.setdefault(head, data_of(store))
            naive = read_store(place / "memory" / ".memsync")
            assert naive.head == store.head()
            assert set(model) <= set(naive.versions)  # an archive may commit what lay there before, too
            for id, files in model.items():
                manifest = naive.manifest(id)
                assert {path: naive.content(entry[2]) for path, entry in manifest.items()} == files
            named = {
                (naive_name, content)
                for id in naive.versions
                for naive_name, content in naive.references(id).items()
            }
            assert named == {
                (row.name, row.entry.content) for row in references.under(store.repository.catalogue)
            }
            if (place / "remote" / ".memsync").exists():
                remote = read_store(place / "remote" / ".memsync")
                assert remote.versions.items() <= naive.versions.items()


def data_of(store: Store) -> dict[str, bytes]:
    data = Path(store.workspace.data)
    return {
        file.relative_to(data).as_posix(): file.read_bytes() for file in data.rglob("*") if file.is_file()
    }


def test_a_large_file_is_a_recipe_of_pieces(memory: Memory) -> None:
    content = make_golden.large(9)
    memory.save("vectors.bin", content)
    naive = read_store(memory.state)
    assert [kind for kind, _ in naive.objects].count(RECIPE) == 1
    assert naive.content(ContentId.of(content)) == content


def test_deltas_in_opposite_directions_are_both_readable(memory: Memory) -> None:
    one, two = b"a note that is long enough\n" * 9, b"a note that is long enough, too\n" * 9
    first, second = ContentId.of(one), ContentId.of(two)
    with memory.repository.writing() as writer:
        for plain, id, base in (
            (one, first, None),
            (two, second, Base(first[:8], one, 0, own_cost(len(one)))),
        ):
            writer.add(RecordKind.CONTENT, id, len(plain), encode(plain, base))
        back = encode(one, Base(second[:8], two, 1, 2 * own_cost(len(two))))
        assert back.rank == 2
        writer.add(RecordKind.CONTENT, first, len(one), back)
        writer.commit(None)
    naive = read_store(memory.state)
    assert naive.content(first) == one and naive.content(second) == two
    assert memory.repository.read(first) == one and memory.repository.read(second) == two


def test_head_survives_in_the_reflog_when_the_segments_are_gone(memory: Memory, tmp_path: Path) -> None:
    version = memory.save("a.txt", "kept")
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.store.push(mirror=False)
    memory.store.close()
    for segment in (memory.state / "segments").iterdir():
        segment.unlink()
    assert read_store(memory.state).head == version.id
    assert memory.reopen().head() == version.id


def test_the_checkout_record_is_what_the_page_says(memory: Memory) -> None:
    head = memory.save("a.txt", "kept").id
    entry = Entry("a.txt", Kind.FILE, 4, ContentId.of(b"kept"), 1_745_416_800_123)
    checkout.begin(memory.repository, None, [checkout.Step("a.txt", entry, None)])
    row = [0, 4, bytes(ContentId.of(b"kept")), 1_745_416_800_123]
    written = (memory.state / "checkout").read_bytes()
    assert written[-16:] == blake3(written[:-16]).digest()[:16]
    record = unpack(written[:-16])
    assert record == {"format": 1, "from": bytes(head), "to": None, "steps": [["a.txt", row, None]]}


def test_a_content_that_comes_again_is_stored_though_a_tombstone_names_it(memory: Memory) -> None:
    """A `retention` tombstone is void then."""
    id = ContentId.of(b"gone, and back")
    fact = msgpack.packb({"content": bytes(id), "why": "retention", "time": 1_745_416_800_000})
    with memory.repository.writing() as writer:
        writer.add(RecordKind.TOMBSTONE, id, len(fact), Encoded(Encoding.RAW, fact, b"", 0, 0))
        writer.commit(None)
    memory.save("a.txt", b"gone, and back")
    assert memory.reopen().read("a.txt") == b"gone, and back"
    naive = read_store(memory.state)
    assert naive.tombstones[id]["why"] == "retention" and naive.content(id) == b"gone, and back"
