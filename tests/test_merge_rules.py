"""What a merge is made of: names, times, ids, and histories that cross."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore import merging
from memstore.actions import merge
from memstore.errors import Conflict, DamagedData
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Kind
from memstore.merging import ancestry, names
from memstore.objects.reader import ObjectReader
from memstore.objects.tombstone import FORGOTTEN, Tombstone
from tests.folder_place import without_waiting
from tests.merge_places import Apart, Clock

MIB = 1 << 20


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    without_waiting(monkeypatch)
    made = Apart(tmp_path / "memory", Clock(monkeypatch))
    yield made
    made.store.close()


def base_of(here: Apart) -> VersionId:
    return here.saved("laptop", None, {"a.txt": b"1\n2\n3\n4\n5\n", "stays.txt": b"stays\n"})


# -- a function of its parents -----------------------------------------------------------------------------


def test_a_merge_says_what_it_is_and_nothing_of_who_made_it(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n2\n3\n4\n5\n"})
    two = here.saved("server", base, {"a.txt": b"1\n2\n3\n4\ntwo\n"})
    here.clock.tick(9999)
    version = here.store.version(here.merged(one, two).version)
    assert version.parents == tuple(sorted((one, two)))
    assert version.time_ms == here.store.version(two).time_ms + 1
    assert (version.device, version.device_id) == ("merge", "6d657267")
    assert (version.actor, version.note, version.reason) == ("merge", "", "")
    assert version.merge_rules == merging.RULES
    seq = here.repository.seq(version.id)
    assert version.manifest == history.manifest_id_at(here.repository.catalogue, seq)
    assert here.merged(two, one) == here.merged(one, two), "whoever makes it again finds it"
    assert here.store.verify().ok


def test_head_and_data_stay_where_they_are(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    two = here.saved("server", base, {"b.txt": b"two\n"})
    here.merged(one, two)
    assert here.store.head() == two
    assert here.store.status().clean


def test_of_heads_of_which_one_has_the_others_nothing_is_made(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    before = here.repository.catalogue.version_count()
    assert here.merged(base, one, base).version == one
    assert here.repository.catalogue.version_count() == before


def test_three_heads_are_folded_the_same_way_in_whatever_order_they_come(here: Apart) -> None:
    base = base_of(here)
    heads = [
        here.saved(name, base, {"a.txt": name.encode() + b"\n"}) for name in ("laptop", "server", "agent")
    ]
    found = {here.merged(*order).version for order in itertools.permutations(heads)}
    assert len(found) == 1
    (version,) = found
    kept = here.texts(version)
    assert kept.pop("stays.txt") == b"stays\n"
    assert sorted(kept.values()) == [b"agent\n", b"laptop\n", b"server\n"]
    assert kept["a.txt"] == b"agent\n"


@pytest.mark.parametrize("automatic", [True, False])
def test_configuration_has_no_part_in_it(here: Apart, automatic: bool) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    two = here.saved("server", base, {"a.txt": b"two\n"})
    here.repository.workspace.config.values = {
        **here.repository.workspace.config.values,
        "archive.automatic": automatic,
    }
    version = here.store.version(here.merged(one, two).version)
    first = here.texts(version.parents[0])["a.txt"]
    changes = [change for change in version.changes if change.path == "a.txt"]
    if first == b"one\n":
        (change,) = changes
        assert change.archived_as is not None
        assert change.archived_as.endswith(f"~{ContentId.of(first).hex()[:8]}.txt")
        assert here.store.read(change.archived_as) == b"one\n"
    else:
        assert not changes


def test_what_the_other_side_replaced_has_its_reference_already(here: Apart) -> None:
    base = base_of(here)
    ours = [here.saved("laptop", base, {f"{n}.txt": b"new\n"}) for n in range(6)]
    theirs = here.saved("server", base, {"a.txt": b"two\n"})
    for one in ours:
        version = here.store.version(here.merged(one, theirs).version)
        assert all(change.archived_as is None for change in version.changes)


def test_a_content_that_cannot_be_read_ends_the_merge(here: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n2\n3\n4\n5\n"})
    two = here.saved("server", base, {"a.txt": b"1\n2\n3\n4\ntwo\n"})
    damaged = ContentId.of(b"1\n2\n3\n4\n5\n")
    real = ObjectReader.stream

    def stream(self: ObjectReader, id: ContentId) -> Iterator[bytes]:
        if id == damaged:
            raise DamagedData("it is damaged", hint="run 'memsync verify'")
        return real(self, id)

    monkeypatch.setattr(ObjectReader, "stream", stream)
    before = here.repository.catalogue.version_count()
    with pytest.raises(DamagedData, match="the merge needs a content"):
        here.merged(one, two)
    assert here.repository.catalogue.version_count() == before


# -- ancestry ----------------------------------------------------------------------------------------------


def test_histories_that_cross_have_several_nearest_common_versions(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n2\n3\n4\n5\n"})
    two = here.saved("server", base, {"a.txt": b"1\n2\n3\n4\ntwo\n"})
    later = here.saved("server", two, {"b.txt": b"b\n"})
    mine, theirs = here.merged(one, two).version, here.merged(one, later).version
    common, only_mine, only_theirs = ancestry.nearest_common(here.repository.catalogue, [mine], [theirs])
    assert common == [one, two]
    assert only_mine == {here.repository.seq(mine)}
    assert only_theirs == {here.repository.seq(theirs), here.repository.seq(later)}
    joined = here.merged(mine, theirs)
    assert not joined.clashes
    assert here.texts(joined.version) == {
        "a.txt": b"one\n2\n3\n4\ntwo\n",
        "b.txt": b"b\n",
        "stays.txt": b"stays\n",
    }


def test_a_conflict_met_on_both_sides_is_no_new_one(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    two = here.saved("server", base, {"a.txt": b"two\n"})
    first = here.merged(one, two)
    (clash,) = first.clashes
    assert clash.kept_as is not None
    settled = here.saved("laptop", first.version, {"a.txt": b"both\n", clash.kept_as: None})
    later = here.saved("server", two, {"b.txt": b"b\n"})
    again = here.merged(one, later)
    joined = here.merged(settled, again.version)
    assert not joined.clashes
    assert here.texts(joined.version) == {"a.txt": b"both\n", "b.txt": b"b\n", "stays.txt": b"stays\n"}


def test_without_a_common_version_everything_is_new_on_both_sides(here: Apart) -> None:
    one = here.saved("laptop", None, {"a.txt": b"a\n", "same.txt": b"same\n"})
    with here.repository.writing() as writer:
        history.replace_tree(here.repository.catalogue, None)
        writer.commit(None)
    (here.data / "same.txt").write_bytes(b"same\n")
    two = here.saved("server", None, {"a.txt": b"b\n", "b.txt": b"b\n"})
    assert here.store.version(two).parents == ()
    joined = here.merged(one, two)
    assert [clash.path for clash in joined.clashes] == ["a.txt"]
    assert set(here.texts(joined.version).values()) == {b"a\n", b"b\n", b"same\n"}


# -- who keeps the name ------------------------------------------------------------------------------------


def test_the_side_that_changed_the_path_later_keeps_the_name_whatever_else_came_after(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    two = here.saved("server", base, {"a.txt": b"two\n"})
    here.clock.now_ms -= 61_000
    one = here.saved(
        "laptop",
        one,
        {"b.txt": b"later, but another path\n"},
    )
    joined = here.merged(one, two)
    assert here.texts(joined.version)["a.txt"] == b"two\n"
    assert joined.clashes[0].kept_as == "a (from laptop 2025-04-23T14-04-00Z).txt"


def test_at_the_same_time_the_greater_version_id_decides(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    two = here.made("server", base, lambda here: (here.data / "a.txt").write_bytes(b"two\n"), after=0)
    joined = here.merged(one, two)
    assert here.texts(joined.version)["a.txt"] == (b"one\n" if one > two else b"two\n")


def test_a_side_file_is_named_by_letters_digits_and_hyphens(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("Ana's laptop (new)/2 ü", base, {"a.txt": b"one\n"})
    two = here.saved("server", base, {"a.txt": b"two\n"})
    (clash,) = here.merged(one, two).clashes
    assert clash.kept_as == "a (from Ana-s-laptop-new-2 2025-04-23T14-04-00Z).txt"
    assert names.is_side_file(clash.kept_as)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("a", "a (from x 2025-04-23T14-02-00Z)"),
        ("d/.hidden", "d/.hidden (from x 2025-04-23T14-02-00Z)"),
        ("d.d/a.tar.gz", "d.d/a.tar (from x 2025-04-23T14-02-00Z).gz"),
        ("é" * 125 + ".txt", "é" * 110 + " (from x 2025-04-23T14-02-00Z).txt"),
    ],
)
def test_a_side_file_keeps_its_extension_and_fits_a_disk(path: str, named: str) -> None:
    found = names.beside(path, "x", 1_745_416_920_123)
    assert found == named
    assert names.is_side_file(found)
    assert not names.is_side_file(path)
    assert names.is_side_file(names.beside(path, "", 0, ContentId.of(b"")))


def test_a_name_that_is_taken_gets_eight_digits(here: Apart) -> None:
    base = here.saved(
        "laptop", None, {"a.txt": b"1\n", "a (from laptop 2025-04-23T14-04-00Z).txt": b"somebody's\n"}
    )
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    two = here.saved("server", base, {"a.txt": b"two\n"})
    (clash,) = here.merged(one, two).clashes
    mark = ContentId.of(b"one\n").hex()[:8]
    assert clash.kept_as == f"a (from laptop 2025-04-23T14-04-00Z~{mark}).txt"


# -- kinds and sizes ---------------------------------------------------------------------------------------


def test_of_large_binary_content_only_the_later_side_stays(here: Apart) -> None:
    base = here.saved("laptop", None, {"index.bin": b"\0" * (MIB + 1), "small.bin": b"\0"})
    one = here.saved("laptop", base, {"index.bin": b"\1\0" * MIB, "small.bin": b"\1\0"})
    two = here.saved("server", base, {"index.bin": b"\2\0" * MIB, "small.bin": b"\2\0"})
    joined = here.merged(one, two)
    kept = {clash.path: clash.kept_as for clash in joined.clashes}
    assert kept.keys() == {"index.bin", "small.bin"}
    assert kept["index.bin"] is None and kept["small.bin"] is not None
    assert here.texts(joined.version)["index.bin"] == b"\2\0" * MIB
    assert here.repository.read(ContentId.of(b"\1\0" * MIB)) == b"\1\0" * MIB


def test_large_text_is_merged_like_any_other(here: Apart) -> None:
    base = here.saved("laptop", None, {"log.txt": b"a line of a log\n" * 70_000})
    whole = b"a line of a log\n" * 70_000
    one = here.saved("laptop", base, {"log.txt": whole + b"one\n"})
    two = here.saved("server", base, {"log.txt": whole + b"two\n"})
    joined = here.merged(one, two)
    assert here.texts(joined.version)["log.txt"] == whole + b"one\ntwo\n"
    assert joined.combined == ("log.txt",)


def test_mode_and_content_are_merged_apart(here: Apart) -> None:
    base = base_of(here)
    one = here.made("laptop", base, lambda here: (here.data / "a.txt").chmod(0o755))
    two = here.saved("server", base, {"a.txt": b"two\n"})
    joined = here.merged(one, two)
    assert here.tree(joined.version)["a.txt"] == (Kind.EXECUTABLE, b"two\n")
    assert not joined.clashes


def test_a_file_and_a_folder_of_one_name_are_laid_side_by_side(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"turns": b"a file\n"})
    two = here.saved("server", base, {"turns/1.txt": b"below\n"})
    joined = here.merged(one, two)
    assert here.texts(joined.version) == {
        "a.txt": b"1\n2\n3\n4\n5\n",
        "stays.txt": b"stays\n",
        "turns/1.txt": b"below\n",
        "turns (from laptop 2025-04-23T14-04-00Z)": b"a file\n",
    }


def test_a_note_renamed_differently_has_both_names(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": None, "one.txt": b"1\n2\n3\n4\n5\n"})
    two = here.saved("server", base, {"a.txt": None, "two.txt": b"1\n2\n3\n4\n5\n"})
    assert here.texts(here.merged(one, two).version).keys() == {"one.txt", "two.txt", "stays.txt"}


# -- names that some disks take for one --------------------------------------------------------------------


@pytest.mark.parametrize(("one", "two"), [("Notes.txt", "notes.txt"), ("é.txt", "e\u0301.txt")])
def test_names_that_are_one_on_some_disks_are_kept_apart(here: Apart, one: str, two: str) -> None:
    base = base_of(here)
    mine = here.saved("laptop", base, {one: b"one\n"})
    theirs = here.saved("server", base, {two: b"two\n"})
    joined = here.merged(mine, theirs)
    found = here.texts(joined.version)
    assert {b"one\n", b"two\n"} < set(found.values())
    assert len({names.folded(path) for path in found}) == len(found) == 4
    assert len(joined.clashes) == 1


def test_names_that_one_side_has_both_stay_as_they_are(here: Apart) -> None:
    base = here.saved("laptop", None, {"Notes.txt": b"1\n", "notes.txt": b"2\n"})
    one = here.saved("laptop", base, {"a.txt": b"a\n"})
    two = here.saved("server", base, {"b.txt": b"b\n"})
    joined = here.merged(one, two)
    assert here.texts(joined.version).keys() == {"Notes.txt", "notes.txt", "a.txt", "b.txt"}
    assert not joined.clashes


def test_the_same_note_under_two_spellings_is_one(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"Notes.txt": b"same\n"})
    two = here.saved("server", base, {"notes.txt": b"same\n"})
    assert "Notes.txt" in here.texts(here.merged(one, two).version)
    assert "notes.txt" not in here.texts(here.merged(one, two).version)


def test_a_folder_spelled_in_two_ways_is_one_folder(here: Apart) -> None:
    base = here.saved("laptop", None, {"core/a.txt": b"a\n", "core/b.txt": b"b\n"})
    one = here.saved(
        "laptop", base, {"core/a.txt": None, "core/b.txt": None, "Core/a.txt": b"a\n", "Core/b.txt": b"B\n"}
    )
    two = here.saved("server", base, {"core/a.txt": b"a\nmore\n", "core/c.txt": b"c\n"})
    joined = here.merged(one, two)
    assert here.texts(joined.version) == {
        "Core/a.txt": b"a\nmore\n",
        "Core/b.txt": b"B\n",
        "Core/c.txt": b"c\n",
    }
    assert not joined.clashes


# -- other ways to settle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_can_be_given_precedence_where_they_exclude_one_another(here: Apart, side: str) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n", "x.txt": b"x\n"})
    two = here.saved("server", base, {"a.txt": b"two\n", "y.txt": b"y\n"})
    joined = here.merged(one, two, ours=one, on_conflict=side)
    found = here.texts(joined.version)
    assert found["a.txt"] == (b"one\n" if side == "ours" else b"two\n")
    assert {"x.txt", "y.txt"} < found.keys()
    assert len(found) == 4
    version = here.store.version(joined.version)
    assert (version.parents, version.merge_rules) == ((one, two), 0)
    assert version.device != "merge"
    assert joined.clashes[0].kept_as is None


def test_precedence_without_a_conflict_is_the_merge_that_everyone_makes(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"x.txt": b"x\n"})
    two = here.saved("server", base, {"y.txt": b"y\n"})
    assert here.merged(one, two, ours=one, on_conflict="theirs").version == here.merged(one, two).version


def test_fail_records_nothing(here: Apart) -> None:
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n"})
    two = here.saved("server", base, {"a.txt": b"two\n"})
    before = here.repository.catalogue.version_count()
    with pytest.raises(Conflict, match=r"a\.txt") as caught:
        here.merged(one, two, on_conflict="fail")
    assert caught.value.exit_code == 3
    assert here.repository.catalogue.version_count() == before


def test_a_base_that_was_removed_counts_as_none(here: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gc` keeps what a merge will be held against; a content that was forgotten is gone whatever needs it. That
    a device still has its bytes makes no difference."""
    base = base_of(here)
    one = here.saved("laptop", base, {"a.txt": b"one\n2\n3\n4\n5\n"})
    two = here.saved("server", base, {"a.txt": b"1\n2\n3\n4\ntwo\n", "stays.txt": None})
    forgotten = Tombstone(ContentId.of(b"1\n2\n3\n4\n5\n"), FORGOTTEN, here.clock.now_ms)
    monkeypatch.setattr(merge, "in_force", lambda *_: {forgotten.content: forgotten})
    joined = here.merged(one, two)
    assert [clash.path for clash in joined.clashes] == ["a.txt"]
    assert {b"one\n2\n3\n4\n5\n", b"1\n2\n3\n4\ntwo\n"} == set(here.texts(joined.version).values())
