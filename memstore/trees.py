"""Whole trees of files, by the steps of `files`."""

from __future__ import annotations

import os

from memstore import files


def remove(path: str) -> None:
    """Remove a folder and all that is in it, and follow no symlink. What can't be removed stays."""
    for place, folders, others in os.walk(path, topdown=False):
        for name in [*others, *folders]:
            below = os.path.join(place, name)
            if name in others or os.path.islink(below):
                files.discard(below)
            else:
                files.remove_folder(below)
    files.remove_folder(path)
