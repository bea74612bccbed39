"""Reading files of `Data/` into the store: hash, find out what is new, encode it.

Small files are read whole, by a few threads (reading, BLAKE3 and zstd let go of the interpreter's lock), or where
there are very many by a crew of processes (`bulk`), while the scan still goes on; files above 16 MiB stream
through, piece by piece (`large`). Memory is bounded by the window of work in flight, not by how many files there
are or how large.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.actions import large as large_files
from memstore.actions import secrets
from memstore.actions.candidate import Candidate, Ingested, Old, Unreadable, left_out, reason, unreadable
from memstore.actions.chains import chain_of, member
from memstore.actions.relatives import Marks, Relatives, marks
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import ContentId
from memstore.manifest.version import Kind
from memstore.objects import encoding
from memstore.objects.catalogue import Catalogue, Location
from memstore.objects.encoding import Base, Encoded, own_cost
from memstore.objects.reader import ObjectReader
from memstore.objects.record import PIECE_LIMIT, RecordKind
from memstore.progress import Progress
from memstore.withheld import client_of
from memstore.worktree import reading
from memstore.worktree.found import StatKey

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from memstore.actions.training import Training
    from memstore.crew import Answer
    from memstore.repository import Repository
    from memstore.writer import Writer

BATCH_FILES: Final = 64
BATCH_BYTES: Final = 2 << 20
"""What one thread is given at a time: enough to make handing over cheap, little enough to share fairly."""
MANY: Final = 1000
"""Files from which on a crew of processes is worth its start."""
JOB_FILES: Final = 256
"""What one of the crew is given at a time."""
IN_FLIGHT: Final = 6
"""Batches that may wait, so that memory stays bounded."""
FEW: Final = 1000
"""New files of one commit up to which a relative is looked for: a whole folder for the first time is to be
recorded quickly."""


class _Encoded(NamedTuple):
    """A small file, read and encoded by a thread; `form` is None where nothing new has to be stored."""

    ingested: Ingested
    form: Encoded | None


class _Plain(NamedTuple):
    """A text without an earlier version, read but not encoded: it may have a relative."""

    ingested: Ingested
    raw: bytes
    marks: Marks


class _Job(NamedTuple):
    candidate: Candidate
    plan: list[Location]
    """The chain of the old content's best form, empty where there is none."""
    whole: bool
    """False: only the chain's first member is given. That is enough for a file that has not changed after
    all, and for an append, whose base is its own first bytes."""
    looking: bool = False
    """Whether a new content is to be looked through for credentials."""


_Read = _Encoded | _Plain | Unreadable | _Job


def ingest(
    repository: Repository, writer: Writer, candidates: Iterable[Candidate], progress: Progress
) -> Iterator[Ingested | Unreadable]:
    """Store what the candidates hold, in their order. Unchanged contents are not stored again."""
    coming = iter(candidates)
    first = list(islice(coming, MANY))
    many = len(first) == MANY
    total = 0 if many else sum(candidate.found.size for candidate in first)
    how = _by_crew if many else _by_threads
    looking = bool(first) and secrets.wanted(repository.workspace.config)
    progress.begin("reading", total, "B")
    try:
        for item in how(repository, writer, chain(first, coming), looking):
            if isinstance(item, Ingested):
                progress.advance(item.found.size)
            yield item
    finally:
        progress.end()


class _Threads:
    """A pool that is made when it is first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 2)))
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


# -- very many files ---------------------------------------------------------------------------------------


def _by_crew(
    repository: Repository, writer: Writer, candidates: Iterable[Candidate], looking: bool
) -> Iterator[Ingested | Unreadable]:
    from memstore.actions.bulk import pack_job, take_in
    from memstore.actions.training import Training
    from memstore.crew import Crew

    data = repository.workspace.data
    waiting: deque[list[Candidate]] = deque()
    threads = _Threads()
    training = Training(writer)
    with Crew(take_in) as crew, contextlib.closing(threads):
        for group in _batches(candidates, JOB_FILES):
            large = group[0].found.size > PIECE_LIMIT
            while crew.waiting and (large or crew.full):
                yield from _taken(repository, writer, waiting.popleft(), crew.answer(), looking, training)
            if large:
                yield large_files.take_in(repository, writer, group[0], threads.pool())
                continue
            wanted = ((file, old.content if old else None) for file, old in group)
            job = pack_job(data, wanted, looking, training.for_job(crew.size))
            if training.gathering and not looking:  # here, while the crew is still starting
                yield from _taken(repository, writer, group, take_in(job), looking, training)
                continue
            crew.ask(job)
            waiting.append(group)
            if training.gathering:  # there: who looks for credentials takes long to start, and much memory
                yield from _taken(repository, writer, waiting.popleft(), crew.answer(), looking, training)
        while crew.waiting:
            yield from _taken(repository, writer, waiting.popleft(), crew.answer(), looking, training)
    training.close()


def _taken(
    repository: Repository,
    writer: Writer,
    group: Sequence[Candidate],
    answer: Answer,
    looking: bool,
    training: Training,
) -> Iterator[Ingested | Unreadable]:
    """Enter what one of the crew found; what it could not encode alone is done here."""
    from memstore.actions import bulk
    from memstore.suspects import Suspect

    taken = bulk.unpack_answer(answer.facts)
    new = [row[1:4] for row in taken if row.what == bulk.READ]
    withheld = writer.forgotten([row[0] for row in new])
    withheld |= {
        row.content: why
        for row in taken
        if row.what == bulk.READ and (why := writer.withheld.reason(row.content, row.raw, row.client))
    }
    missing = writer.missing([row[0] for row in new]) - withheld.keys()
    fresh = frozenset(missing) if looking else frozenset()
    if training.gathering:
        training.gather(bulk.texts(answer, taken, missing))
    writer.add_contents(new, answer.body, missing, training.cost)
    for candidate, row in zip(group, taken, strict=True):
        found, old = candidate
        if row.what == bulk.READ and row.content in withheld:
            yield left_out(found.path, withheld[row.content])
        elif row.what == bulk.UNREADABLE:
            yield unreadable(found.path, row.reason)
        elif row.what == bulk.CHANGED:
            jobs = [_Job(candidate, *_plan(repository.catalogue, candidate), looking)]
            done = _run(repository.workspace.data, repository.reader, jobs)
            yield from _stored(repository, writer, done, Relatives(repository))
        else:
            stat = found if row.stat is None else StatKey(*row.stat)
            told = tuple(Suspect(*suspect) for suspect in row.suspects) if row.content in fresh else ()
            yield Ingested(found, old, row.content, row.raw, stat, stat.mtime_ns // 1_000_000, False, told)


# -- few -----------------------------------------------------------------------------------------------------


def _by_threads(
    repository: Repository, writer: Writer, candidates: Iterable[Candidate], looking: bool
) -> Iterator[Ingested | Unreadable]:
    few = list(candidates)
    total = sum(candidate.found.size for candidate in few)
    threads = _Threads()
    with contextlib.closing(threads):
        pool = threads.pool() if len(few) > BATCH_FILES or total > BATCH_BYTES else None
        yield from _in_order(repository, writer, few, pool, looking)


def _in_order(
    repository: Repository,
    writer: Writer,
    candidates: Sequence[Candidate],
    pool: ThreadPoolExecutor | None,
    looking: bool,
) -> Iterator[Ingested | Unreadable]:
    waiting: deque[Future[list[_Read]]] = deque()
    few = len(candidates) <= FEW
    kin = Relatives(repository)
    for group in _batches(candidates):
        if group[0].found.size > PIECE_LIMIT:
            while waiting:
                yield from _stored(repository, writer, waiting.popleft().result(), kin)
            yield large_files.take_in(repository, writer, group[0], pool)
            continue
        jobs = [_Job(candidate, *_plan(repository.catalogue, candidate), looking) for candidate in group]
        if pool is None:
            done = _run(repository.workspace.data, repository.reader, jobs, few)
            yield from _stored(repository, writer, done, kin)
            continue
        waiting.append(pool.submit(_run, repository.workspace.data, repository.reader, jobs, few))
        if len(waiting) >= IN_FLIGHT:
            yield from _stored(repository, writer, waiting.popleft().result(), kin)
    while waiting:
        yield from _stored(repository, writer, waiting.popleft().result(), kin)


def _batches(candidates: Iterable[Candidate], most: int = BATCH_FILES) -> Iterator[list[Candidate]]:
    """Runs of at most so many small files; a large one stands alone."""
    batch: list[Candidate] = []
    size = 0
    for candidate in candidates:
        length = candidate.found.size
        if length > PIECE_LIMIT:
            if batch:
                yield batch
            yield [candidate]
            batch, size = [], 0
            continue
        if batch and (len(batch) >= most or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(candidate)
        size += length
    if batch:
        yield batch


def _stored(
    repository: Repository, writer: Writer, items: list[_Read], kin: Relatives
) -> Iterator[Ingested | Unreadable]:
    for number, item in enumerate(items):
        if isinstance(item, _Job):
            assert item.candidate.old is not None
            chain = chain_of(repository.catalogue, item.candidate.old.content)
            again = item._replace(plan=chain, whole=True)
            items[number] = _read(repository.workspace.data, repository.reader, again)
    new = [item for item in items if isinstance(item, _Encoded | _Plain)]
    missing = writer.missing([item.ingested.content for item in new])
    forgotten = writer.forgotten([item.ingested.content for item in new])
    for item in items:
        if isinstance(item, Unreadable):
            yield item
        if not isinstance(item, _Encoded | _Plain):
            continue
        content = item.ingested.content
        withheld = forgotten.get(content) or writer.withheld.reason(
            content, item.ingested.size, item.ingested.client
        )
        if withheld is not None and (isinstance(item, _Plain) or item.form is not None):
            yield left_out(item.ingested.found.path, withheld)
            continue
        fresh = content in missing
        if fresh:
            if isinstance(item, _Plain):
                form: Encoded | None = encoding.encode(item.raw, kin.base(item.marks))
            else:
                form = item.form
            if form is not None:
                missing.remove(content)
                writer.add(RecordKind.CONTENT, content, item.ingested.size, form)
                if isinstance(item, _Plain):
                    kin.add(content, item.raw, item.marks, form)
        yield _news(repository, item.ingested, fresh) if item.ingested.suspects else item.ingested


def _news(repository: Repository, item: Ingested, fresh: bool) -> Ingested:
    """Without the suspects that are not new: the store has that very content, or the path's old one held them."""
    suspects = item.suspects if fresh else ()
    if suspects and item.old is not None and item.old.size <= PIECE_LIMIT and not item.appended:
        from memstore.suspects import not_in

        with contextlib.suppress(DamagedData):
            suspects = not_in(suspects, repository.read(item.old.content))
    return item._replace(suspects=suspects)


# -- small files -------------------------------------------------------------------------------------------


def _plan(catalogue: Catalogue, candidate: Candidate) -> tuple[list[Location], bool]:
    old = candidate.old
    if old is None or old.size == 0 or old.size > PIECE_LIMIT:
        return [], True
    best = [row for row in catalogue.locations(old.content)[:1] if row.kind == RecordKind.CONTENT]
    return best, not best


def _run(data: str, reader: ObjectReader, jobs: Sequence[_Job], few: bool = False) -> list[_Read]:
    """Read and encode a batch. Runs in any thread: touches neither the catalogue nor the segment's end."""
    return [_read(data, reader, job, few) for job in jobs]


def _read(data: str, reader: ObjectReader, job: _Job, few: bool = False) -> _Read:
    """What became of one file; the job itself, where it needs the whole chain."""
    found, old = job.candidate
    try:
        read = reading.read_link if found.kind == Kind.SYMLINK else reading.read_small
        raw, stat = read(os.path.join(data, found.path))
    except (OSError, DiskTrouble) as error:
        return unreadable(found.path, reason(error))
    content = ContentId.of(raw)
    appended = _extends(raw, old)
    ingested = Ingested(
        found, old, content, len(raw), stat, stat.mtime_ns // 1_000_000, appended and old is not None
    )
    if old is not None and old.content == content:
        return _Encoded(ingested, None)
    if not job.whole and not (appended and member(job.plan, own_cost(len(raw))) == 0):
        return job
    client = client_of(raw)
    if client is not None:
        ingested = ingested._replace(client=client)
    if job.looking and found.kind != Kind.SYMLINK:
        from memstore.suspects import look

        ingested = ingested._replace(suspects=look(raw, old.size if appended and old is not None else 0))
    if old is None and few and (found_by := marks(found.path, raw)) is not None:
        return _Plain(ingested, raw, found_by)
    return _Encoded(ingested, encoding.encode(raw, _base(reader, job, raw, appended)))


def _extends(raw: bytes, old: Old | None) -> bool:
    """Whether the old content is a prefix of `raw`."""
    if old is None or old.size > len(raw) or old.kind == Kind.SYMLINK:
        return False
    return ContentId.of(memoryview(raw)[: old.size]) == old.content


def _base(reader: ObjectReader, job: _Job, raw: bytes, appended: bool) -> Base | None:
    """The old content as a prefix; where its chain is too dear, an earlier member of that chain."""
    old = job.candidate.old
    number = member(job.plan, own_cost(len(raw)))
    if number is None:
        return None
    if number == 0 and appended and old is not None:
        plain = raw[: old.size]
    else:
        try:
            plain = reader.base(job.plan[number:])
        except (DamagedData, FileNotFoundError):
            return None
    link = job.plan[number]
    return Base(link.key.to_bytes(8, "big", signed=True), plain, link.rank, link.cost)
