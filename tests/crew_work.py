"""Work for a crew, for `test_crew`: a member imports it by name."""

from __future__ import annotations

import os
import time

from memstore.crew import Answer


def backwards(job: bytes) -> Answer:
    return Answer(str(os.getpid()).encode(), job[::-1])


def now_slowly_now_fast(job: bytes) -> Answer:
    time.sleep(job[0] % 3 / 100)
    return Answer(b"", job)


def dies_away_from_home(job: bytes) -> Answer:
    """The job is the process that lives on, and what to answer."""
    home, _, rest = job.partition(b" ")
    if os.getpid() != int(home) and rest == b"die":
        os._exit(3)
    return Answer(b"", rest)


def large(job: bytes) -> Answer:
    return Answer(job, job * 40)
