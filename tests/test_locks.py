"""The lock of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore import locks


def test_a_lock_is_one_holder_s_until_it_is_given_back(tmp_path: Path) -> None:
    place = str(tmp_path / "lock")
    held = locks.take(place, 0)
    with pytest.raises(TimeoutError):
        locks.take(place, 0)
    locks.release(held)
    locks.release(locks.take(place, 0))


def test_a_lock_is_the_one_that_filelock_takes(tmp_path: Path) -> None:
    import filelock

    place = str(tmp_path / "lock")
    with filelock.FileLock(place), pytest.raises(TimeoutError):
        locks.take(place, 0)
    held = locks.take(place, 0)
    with pytest.raises(filelock.Timeout):
        filelock.FileLock(place, timeout=0).acquire()
    locks.release(held)


def test_a_lock_file_that_was_removed_is_no_lock(tmp_path: Path) -> None:
    place = tmp_path / "lock"
    first = locks.take(str(place), 0)
    place.unlink()
    second = locks.take(str(place), 0)  # another file: who holds the old one holds nothing any more
    with pytest.raises(TimeoutError):
        locks.take(str(place), 0)
    locks.release(first)
    locks.release(second)
