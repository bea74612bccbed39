"""forget: what was forgotten is in no byte of any copy, all else reads back, and nobody brings it again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from click.testing import CliRunner
from memsync.app import app

from memstore import Store, drive_upload
from memstore.ids import ContentId
from memstore.objects.reader import Removed
from memstore.remotes.folder import FolderRemote
from memstore.reports import ForgetReport
from tests.command_line import run
from tests.folder_place import Place, forget_catalogue, tree, without_waiting
from tests.forgetful_place import SECRET, forget, keys, lived, note, other, password, pull, read, where, whole
from tests.mended_place import flip
from tests.naive_reader import read_pack
from tests.traces import decoded


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# -- alone -----------------------------------------------------------------------------------------------------


def test_all_that_a_file_ever_held_is_nowhere_any_more(place: Place) -> None:
    versions = lived(place)
    assert len(where(place.base)) > 8
    report = forget(place, "Core/Keys.txt", reason="a password", actor="me")
    assert (len(report.contents), report.deleted) == (5, ("Core/Copy.txt", "Core/Keys.txt"))
    assert report.remote_packs and report.mirror_files
    assert where(place.base) == []
    whole(place)
    assert tree(place.data) == {"Core/Rules.txt": note(9)}
    for number, version in enumerate(versions):
        assert read(place, "Core/Rules.txt", version) == note(number)
        assert read(place, "Core/Keys.txt", version) is None
    with place.open() as store:
        newest, *_, first = store.history("Core/Keys.txt")
        assert (newest.reason, newest.actor, newest.note) == (
            "a password",
            "me",
            "forget Core/Copy.txt, Core/Keys.txt",
        )
        assert first.changes[0].entry is not None and first.changes[0].entry.content == ContentId.of(keys(0))
        assert store.status().clean
    assert place.clone("fresh").history("Core/Rules.txt")[0] == note(9)
    assert where(place.base) == []


def test_what_is_not_sent_yet_is_never_sent(place: Place) -> None:
    place.commit({"Core/Rules.txt": note(0)})
    place.push()
    place.commit({"Core/Keys.txt": keys(1), "Core/Rules.txt": note(1)})
    sent: list[bytes] = []

    class Watching(FolderRemote):
        def create(self, name: str, source: Any, notes: Any = None) -> None:
            sent.append(source.read_at(0, source.size))
            super().create(name, source, notes)

    with place.open() as store:
        store.__dict__["_open_remote"] = lambda: Watching(str(place.remote))
        assert store.forget(["Core/Keys.txt"]).error is None
        assert store.status().unpushed == 0
    packs = decoded(place.remote / ".memsync")
    for data in sent:
        if data.startswith(b"MSYNCPAK"):
            read_pack(packs, blake3(data).hexdigest(), data)
    packs.settle()
    assert sent and not any(SECRET in plain for plain in packs.objects.values())
    assert where(place.base) == []
    whole(place)


def test_one_version_of_a_file_goes_and_the_others_stay_though_they_lean_on_it(place: Place) -> None:
    versions = []
    for number in range(6):
        content = keys(number) if number == 2 else note(number)
        versions.append(place.commit({"Core/Rules.txt": content}))
    place.push()
    report = forget(place, "Core/Rules.txt", at=versions[2])
    assert (len(report.contents), report.deleted, report.version) == (1, (), None)
    assert where(place.base) == []
    assert [read(place, "Core/Rules.txt", version) for version in versions] == [
        None if number == 2 else note(number) for number in range(6)
    ]
    whole(place)


def test_a_content_is_named_by_its_id_as_well(place: Place) -> None:
    lived(place)
    id = str(ContentId.of(keys(1)))
    assert [str(row.content) for row in forget(place, id[:10]).contents] == [id]
    assert where(place.base, password(1)) == []
    whole(place)


def test_without_a_remote_it_is_only_this_store_that_forgets(tmp_path: Path) -> None:
    store = Store.init(tmp_path / "memory", environ={})
    place = Place.at(tmp_path / "memory", tmp_path / "none")
    store.close()
    place.commit({"a/Keys.txt": keys(0), "b.txt": note(0)})
    place.commit({"a/Keys.txt": keys(1), "b.txt": note(1)})
    report = forget(place, "a")
    assert (len(report.contents), report.remote, report.deleted) == (2, None, ("a/Keys.txt",))
    assert where(place.root) == []
    with place.open() as again:
        assert again.verify().ok
        assert not again.forgetting


def test_what_stands_uncommitted_in_a_named_file_is_forgotten_with_it(place: Place) -> None:
    place.commit({"Keys.txt": note(0), "Rules.txt": note(1)})
    place.write({"Keys.txt": keys(5)})
    assert len(forget(place, "Keys.txt").contents) == 2
    assert where(place.base) == []
    assert not (place.data / "Keys.txt").exists()


def _plan(place: Place, *targets: str) -> ForgetReport:
    with place.open() as store:
        return store.forget_dry_run(list(targets))


def test_files_of_a_folder_that_no_version_ever_had_stay_and_the_dry_run_says_what_the_run_does(
    place: Place,
) -> None:
    place.commit({"Core/k.txt": keys(0), "Core/gone.txt": keys(1), "b.txt": note(0)})
    place.commit({"Core/gone.txt": None})
    place.write({"Core/k.txt": keys(2), "Core/gone.txt": keys(3), "Core/diary.txt": b"dear diary\n"})
    plan = _plan(place, "Core")
    with place.open() as store:
        head = store.head()
    done = forget(place, "Core")
    for report in (plan, done):
        assert {row.content for row in report.contents} == {ContentId.of(keys(number)) for number in range(4)}
        assert report.deleted == report.uncommitted == ("Core/gone.txt", "Core/k.txt")
        assert report.left == ("Core/diary.txt",)
    assert plan.version is None and head is not None
    assert tree(place.data) == {"Core/diary.txt": b"dear diary\n", "b.txt": note(0)}
    with place.open() as store:
        assert [change.path for change in store.status().changes] == ["Core/diary.txt"]
    assert where(place.base) == []


def test_a_copy_that_was_never_committed_stays_and_is_warned_of(place: Place) -> None:
    place.commit({"Core/k.txt": keys(0)})
    place.write({"Core/copy.txt": keys(0)})
    for report in (_plan(place, "Core"), forget(place, "Core"), forget(place, "Core")):
        (warning,) = report.warnings
        assert "Core/copy.txt was never committed" in warning and "delete it yourself" in warning
    assert (place.data / "Core/copy.txt").exists()


def test_a_new_file_at_a_path_that_only_history_has_is_named_and_goes(place: Place) -> None:
    place.commit({"k.txt": keys(0), "b.txt": note(0)})
    place.commit({"k.txt": None})
    place.write({"k.txt": keys(1)})
    assert _plan(place, "k.txt").uncommitted == ("k.txt",)
    assert forget(place, "k.txt").deleted == ("k.txt",)
    assert where(place.base) == []


def test_other_work_in_a_file_that_held_it_is_committed_and_stays(place: Place) -> None:
    version = place.commit({"Rules.txt": keys(0)})
    place.push()
    place.write({"Rules.txt": note(7)})
    report = forget(place, "Rules.txt", at=version)
    assert (report.deleted, report.warnings) == ((), ())
    assert (place.data / "Rules.txt").read_bytes() == note(7)
    assert where(place.base) == []
    place.push()
    assert place.mirror == {"Rules.txt": note(7)}


def test_a_line_that_was_added_below_what_is_forgotten_is_told_to_hold_it_still(place: Place) -> None:
    version = place.commit({"Rules.txt": keys(0)})
    place.write({"Rules.txt": keys(0) + b"more\n"})
    (warning,) = forget(place, "Rules.txt", at=version).warnings
    assert "may hold it still" in warning


def test_empty_files_are_left(place: Place) -> None:
    place.commit({"a.txt": b"", "b.txt": b""})
    place.commit({"a.txt": keys(0)})
    report = forget(place, "a.txt")
    assert len(report.contents) == 1 and any("empty" in line for line in report.notes)
    assert (place.data / "b.txt").exists()


def test_large_files_lose_their_pieces_but_for_those_that_others_have(place: Place) -> None:
    data = random.Random(1).randbytes(17 << 20)
    place.commit({"index.bin": SECRET + data})
    place.commit({"index.bin": data})
    place.push()
    with place.open() as store:
        first = [*store.history("index.bin")][-1]
    assert len(forget(place, "index.bin", at=str(first.id)).contents) == 1
    assert where(place.base) == []
    with place.open() as store:
        assert store.read("index.bin") == data
        assert store.verify().ok
    place.write({"again.bin": SECRET + data})
    with place.open() as store:
        warnings = store.commit_report().warnings
    assert len(warnings) == 1 and "again.bin" in warnings[0] and "forgotten" in warnings[0]
    assert where(place.root / ".memsync") == []


def test_a_damaged_pack_is_met_before_anything_is_forgotten_and_the_hint_mends_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(place)
    monkeypatch.chdir(place.root)
    with place.open() as store:
        head = store.head()
    needle = bytes(ContentId.of(keys(0)))
    for pack in (place.root / ".memsync/packs").glob("*.pack"):
        if needle in pack.read_bytes():
            flip(pack, pack.read_bytes().index(needle) + 40)
    told = run("forget", "Core/Keys.txt", "--everywhere", "--yes")
    assert told.exit_code == 6
    assert "nothing was forgotten" in told.stderr and "memsync repair" in told.stderr
    with place.open() as store:
        assert (store.head(), store.forgetting) == (head, False)
    assert (place.data / "Core/Keys.txt").exists()
    assert run("repair").exit_code == 0
    assert run("forget", "Core/Keys.txt", "--everywhere", "--yes").exit_code == 0
    assert where(place.base) == []


def test_a_store_that_lost_a_version_for_good_forgets_what_it_knows_and_says_that_there_may_be_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [place.commit({"Keys.txt": keys(number), "Rules.txt": note(number)}) for number in range(4)]
    (segment,) = (place.root / ".memsync/segments").glob("*.seg")
    with place.open() as store:
        offset = store.repository.catalogue.where(store.repository.seq(store.version(str(versions[1])).id))[2]
    flip(segment, offset + 40)
    forget_catalogue(place)
    monkeypatch.chdir(place.root)
    assert run("repair").exit_code == 6
    for how in ("--dry-run", "--yes"):
        told = run("forget", "Keys.txt", "--everywhere", how)
        assert told.exit_code == 1 and "3 contents" in told.stdout, told.stderr
        assert "1 version of the history cannot be read" in told.stderr
    assert not (place.data / "Keys.txt").exists()
    for number in (0, 2, 3):
        assert where(place.base, password(number)) == []
        assert read(place, "Rules.txt", versions[number]) == note(number)


# -- it stays so -----------------------------------------------------------------------------------------------


def test_the_same_bytes_are_not_taken_in_again_and_the_commit_says_which_file(place: Place) -> None:
    lived(place)
    forget(place, "Core/Keys.txt")
    place.write({"Core/Again.txt": keys(2), "Core/New.txt": note(20)})
    with place.open() as store:
        report = store.commit_report()
    assert report.version is not None
    assert [change.path for change in report.version.changes] == ["Core/New.txt"]
    assert len(report.warnings) == 1
    assert "Core/Again.txt" in report.warnings[0] and "forgotten" in report.warnings[0]
    place.push()
    (place.data / "Core/Again.txt").unlink()
    assert where(place.base) == []


def test_a_file_with_forgotten_bytes_is_neither_archived_nor_uploaded_and_both_say_why(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(place)
    forget(place, "Core/Keys.txt")
    place.write({"Core/Keys.txt": keys(2)})
    monkeypatch.chdir(place.root)
    for path in ("Core/Keys.txt", "Core/New.txt"):
        place.write({path: keys(2)})
        told = run("archive", path)
        assert told.exit_code == 8
        assert f"{path} is in Data/" in told.stderr and "was forgotten" in told.stderr
    answer = drive_upload(place.data / "Core/Keys.txt", {"tags": ["t"], "chat_name": "c"})
    assert (answer["status"], answer["attempts"]) == ("fail", 0)
    line = json.loads((place.root / "upload_log.json").read_text().splitlines()[-1])
    assert (line["file"], line["status"], line["notes"]) == ("Core/Keys.txt", "fail", answer["notes"])
    assert (line["context_tags"], line["chat_name"]) == (["t"], "c")


def test_the_mirror_brings_nothing_home_that_was_forgotten(place: Place) -> None:
    lived(place)
    forget(place, "Core/Keys.txt")
    (place.remote / "Core").mkdir(exist_ok=True)
    (place.remote / "Core/Rules.txt").write_bytes(keys(2))  # a person's hand
    place.commit({"Core/More.txt": note(30)})
    report = place.push()
    assert report.error is None and any("forgotten" in line for line in report.notes)
    assert where(place.base) == []
    place.push()
    assert place.mirror["Core/Rules.txt"] == note(9)


def test_a_file_of_the_mirror_that_a_person_changed_stays_watched_and_is_warned_of(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(place)
    edited = place.mirror["Core/Keys.txt"] + b"a line by a person\n"
    (place.remote / "Core/Keys.txt").write_bytes(edited)
    monkeypatch.chdir(place.root)
    told = run("forget", "Core/Keys.txt", "--everywhere", "--yes")
    assert told.exit_code == 1
    assert "Core/Keys.txt on" in told.stderr and "may hold it still" in told.stderr
    assert place.mirror["Core/Keys.txt"] == edited
    home = run("push")
    assert home.exit_code == 1 and "may hold it still" in home.stderr
    (beside,) = [path for path in tree(place.data) if path != "Core/Rules.txt"]
    assert tree(place.data)[beside] == edited and f'forget "{beside}" --everywhere' in home.stderr
    assert run("forget", beside, "--everywhere", "--yes").exit_code == 0
    assert where(place.base) == []
    assert run("push").exit_code == 0


def test_restore_says_what_was_forgotten_and_brings_back_the_rest(place: Place) -> None:
    versions = lived(place)
    forget(place, "Core/Keys.txt")
    with place.open() as store:
        report = store.restore(["."], at=versions[1])
        assert [row.path for row in report.restored] == ["Core/Rules.txt"]
        assert len(report.warnings) == 1 and "forgotten on purpose" in report.warnings[0]
        with pytest.raises(Removed, match="forgotten on purpose"):
            store.restore(["Core/Keys.txt"], at=versions[1])
        told = store.restore(["Core"], at=versions[1], to=str(place.base / "elsewhere"))
        assert [row.path for row in told.restored] == ["Core/Rules.txt"] and len(told.warnings) == 1
        assert [row.path for row in store.diff(versions[0], versions[1])] == [
            "Core/Keys.txt",
            "Core/Rules.txt",
        ]
    assert where(place.base) == []


def test_a_file_that_holds_forgotten_bytes_again_is_not_restored_over_and_the_answer_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [place.commit({"r.txt": content}) for content in (SECRET, b"one\n", b"two\n")]
    place.commit({"other.txt": b"1\n"})
    forget(place, "r.txt", at=versions[0])
    with place.open() as store:
        head = store.head()
    place.write({"r.txt": SECRET})
    monkeypatch.chdir(place.root)
    told = run("restore", "r.txt", "--at", str(versions[1]))
    assert told.exit_code == 8
    assert "nothing was restored" in told.stderr and "was forgotten" in told.stderr
    assert "move that file out of Data/" in told.stderr
    with place.open() as store:
        assert store.head() == head
    place.write({"other.txt": b"2\n"})
    told = run("restore", ".", "--at", str(head))
    assert told.exit_code == 1
    assert "restored 1 file" in told.stdout and "  other.txt  ←" in told.stdout
    assert "r.txt is left as it was" in told.stderr
    assert (place.data / "r.txt").read_bytes() == SECRET
    (place.data / "r.txt").unlink()
    assert run("restore", "r.txt", "--at", str(versions[1])).exit_code == 0
    assert (place.data / "r.txt").read_bytes() == b"one\n"


def test_verify_counts_it_as_no_damage_and_repair_does_not_bring_it_back(place: Place) -> None:
    lived(place)
    desk = other(place)
    forget(place, "Core/Keys.txt")
    with desk.open() as store:  # it has the old packs, and has not heard of it
        store.repair()
    assert where(place.remote) == []
    pull(desk)
    with desk.open() as store:
        report = store.verify()
        assert report.ok and any("forgotten" in line for line in report.notes)
        store.repair()
    assert where(place.base) == []


def test_torn_files_that_hold_it_go_and_others_stay(place: Place) -> None:
    lived(place)
    torn = place.root / ".memsync" / "torn"
    torn.mkdir(exist_ok=True)
    (pack, *_) = [path for path in (place.root / ".memsync" / "packs").iterdir()
                  if bytes(ContentId.of(keys(0))) in path.read_bytes()]  # fmt: skip
    (torn / "damaged.pack-00").write_bytes(pack.read_bytes()[:-7])
    (torn / "other").write_bytes(b"a tail of something else")
    assert forget(place, "Core/Keys.txt").torn == 1
    assert sorted(path.name for path in torn.iterdir()) == ["other"]


# -- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def inside(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    lived(place)
    monkeypatch.chdir(place.root)
    return place


def test_the_command_does_nothing_without_everywhere_nor_unasked(inside: Place) -> None:
    before = tree(inside.base)
    refused = run("forget", "Core/Keys.txt")
    assert refused.exit_code == 2 and "--everywhere" in refused.stderr
    unasked = run("forget", "Core/Keys.txt", "--everywhere")
    assert unasked.exit_code == 2 and "--yes" in unasked.stderr
    assert run("forget", "--everywhere").exit_code == 2
    assert run("forget", "Core/Nowhere.txt", "--everywhere", "--yes").exit_code == 8
    looked = run("forget", "Core/Keys.txt", "--everywhere", "--dry-run")
    assert looked.exit_code == 0 and "5 contents" in looked.stdout and "Core/Copy.txt" in looked.stdout
    after = tree(inside.base)
    assert {path: data for path, data in after.items() if "catalogue" not in path} == {
        path: data for path, data in before.items() if "catalogue" not in path
    }


def test_the_command_says_what_went_and_what_stays(inside: Place) -> None:
    done = run("forget", "Core/Keys.txt", "--everywhere", "--yes", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (document["dry_run"], len(document["contents"])) == (False, 5)
    assert document["deleted"] == ["Core/Copy.txt", "Core/Keys.txt"]
    assert document["remote"]["packs"] > 0
    assert any("stay in history" in line for line in document["notes"])
    assert where(inside.base) == []
    again = run("forget", "Core/Keys.txt", "--everywhere", "--yes")
    assert again.exit_code == 0 and "stay in history" in again.stdout
    said = run("cat", "HEAD:Core/Rules.txt")
    assert said.exit_code == 0


def test_the_question_names_what_is_not_committed_and_what_stays(
    inside: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.write({"Core/Keys.txt": keys(21), "Core/diary.txt": b"dear diary\n"})
    monkeypatch.setattr("memsync.commands.forget._on_a_terminal", lambda: True)
    no = CliRunner().invoke(app, ["forget", "Core", "--everywhere"], input="n\n")
    assert "not committed yet in: Core/Keys.txt" in no.stderr
    assert "never committed, so it stays: Core/diary.txt" in no.stderr
    assert str(ContentId.of(keys(21)))[:12] in no.stderr


def test_to_forget_all_of_an_empty_store_is_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.root)
    for how in ("--yes", "--dry-run"):
        told = run("forget", ".", "--everywhere", how)
        assert told.exit_code == 0 and "there is nothing to forget" in told.stdout


def test_one_that_was_cut_off_is_finished_without_asking_again(inside: Place) -> None:
    hidden = inside.remote.with_name("hidden")
    inside.remote.rename(hidden)
    assert run("forget", "Core/Keys.txt", "--everywhere", "--yes").exit_code == 5
    hidden.rename(inside.remote)
    assert run("forget").exit_code == 2
    assert run("forget", "--everywhere").exit_code == 0
    assert where(inside.base) == []


def test_on_a_terminal_the_command_asks_and_takes_a_no(
    inside: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memsync.commands.forget._on_a_terminal", lambda: True)
    asked = ["forget", "Core/Keys.txt", "--everywhere"]
    no = CliRunner().invoke(app, asked, input="n\n")
    assert no.exit_code == 1 and "Core/Copy.txt" in no.stderr and "nothing was removed" in no.stderr
    left = CliRunner().invoke(app, asked, input="")  # Ctrl-C at the question
    assert left.exit_code == 130 and "stopped; nothing was removed" in left.stderr
    assert where(inside.root)
    yes = CliRunner().invoke(app, asked, input="y\n")
    assert yes.exit_code == 0 and "5 contents" in yes.stdout
    assert where(inside.base) == []
