"""Files that come with a job: streamed to disk, looked at on the way, kept under the job's id, gone with it.

Knows no HTTP. A file is first written to a hidden folder beside the others; only a complete upload gets its job's
name, and only while its job is being stored may a folder be there without one.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

import orjson

from worker.errors import InvalidPayload, StoreFull, StoreUnwritable, TooLarge, WrongContent
from worker.events import Emit, LoopFailed
from worker.insignia.arrival import Arrival
from worker.insignia.faults import RosterUnreadable
from worker.insignia.folders import segment

FOLDER = "uploads"
"""Below Insignia:DataDirectory, so that its path can stand in a payload."""
_MANIFEST = ".upload.json"
_INCOMING = ".incoming-"
_JOB = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PIECE = 1 << 17
"""Bytes that are put together before they are written. Smaller, and the threads' errands cost more than the writes;
a megabyte, and looking at it holds up the loop for 50 ms instead of 7."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK = 100

_T = TypeVar("_T")

Known = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Which of these jobs there are."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it was received."""

    field: str
    """Of the payload."""
    name: str
    """As its owner calls it; for display only."""
    stored: str
    """Its name on disk."""
    size: int
    sha256: str


class Uploads:
    """The folder of all uploads, and how much it may hold."""

    def __init__(self, data: Path, *, max_bytes: int, total_bytes: int, store: str = "") -> None:
        """`store` is where the jobs lie that these files came with."""
        self._root = data / FOLDER
        self.store = store
        self._max_bytes = max_bytes
        self._total_bytes = total_bytes
        self._used = 0
        self._is_measured = False
        self._measuring = asyncio.Lock()
        self._busy: set[str] = set()
        """Folders in work: theirs is no job yet, and no sweep may take them for orphans."""

    @property
    def used(self) -> int:
        """Bytes on disk, those of uploads under way included."""
        return self._used

    @contextlib.asynccontextmanager
    async def draft(self) -> AsyncIterator["Draft"]:
        """An upload under way; what is not kept by the end leaves nothing behind."""
        await self.measure()
        draft = Draft(self, self._root / f"{_INCOMING}{secrets.token_hex(8)}")
        self._busy.add(draft.folder.name)
        try:
            yield draft
        finally:
            await to_its_end(draft.leave())
            self._busy.discard(draft.folder.name)

    def reserve(self, size: int, so_far: int) -> None:
        """Count bytes before they are written. TooLarge, StoreFull: they must not be."""
        if so_far + size > self._max_bytes:
            raise TooLarge(f"the files are larger than Uploads:MaxBytes allows ({self._max_bytes:,} bytes)")
        if self._used + size > self._total_bytes:
            raise StoreFull(
                "the uploads have reached Uploads:TotalBytes; old jobs have to go first, or the limit has to grow"
            )
        self._used += size

    def give_back(self, size: int) -> None:
        self._used = max(0, self._used - size)

    def place_of(self, job_id: str) -> Path:
        return self._root / job_id

    @contextlib.contextmanager
    def in_work(self, job_id: str) -> Iterator[None]:
        """While the job of this id is being stored."""
        self._busy.add(job_id)
        try:
            yield
        finally:
            self._busy.discard(job_id)

    async def fingerprint(self, job_id: str) -> str | None:
        """Of the payload and the files a job came with; None: it came without files."""
        manifest = await asyncio.to_thread(_read_manifest, self.place_of(job_id))
        return None if manifest is None else str(manifest["fingerprint"])

    async def files(self, job_id: str) -> list[Upload]:
        """What the job came with."""
        if not _JOB.fullmatch(job_id):
            return []
        manifest = await asyncio.to_thread(_read_manifest, self.place_of(job_id))
        return [] if manifest is None else [Upload(**entry) for entry in manifest["files"]]

    async def open(self, job_id: str, stored: str) -> int | None:
        """A descriptor of one of these files, the caller's to close; None: there is none of this name."""
        if stored not in {upload.stored for upload in await self.files(job_id)}:
            return None
        return await asyncio.to_thread(_opened, self.place_of(job_id), stored)

    async def sweep(self, known: Known) -> int:
        """Remove what belongs to no job, and count the rest anew; how many folders were removed."""
        found = await asyncio.to_thread(_listed, self._root)
        idle = [name for name in found if name not in self._busy]
        doomed = [name for name in idle if name.startswith(_INCOMING)]
        jobs = [name for name in idle if _JOB.fullmatch(name)]
        for start in range(0, len(jobs), _CHUNK):
            chunk = jobs[start : start + _CHUNK]
            alive = await known(chunk)
            doomed += await asyncio.to_thread(self._ours, [name for name in chunk if name not in alive])
        freed = await asyncio.to_thread(_remove, [self._root / name for name in doomed])
        self.give_back(freed)
        return len(doomed)

    def _ours(self, names: Sequence[str]) -> list[str]:
        """Those that no other store has jobs for: a start with another Queue:Path must not cost anybody's files."""
        manifests = ((name, _read_manifest(self._root / name)) for name in names)
        return [name for name, manifest in manifests if manifest is None or manifest.get("store") == self.store]

    async def measure(self) -> None:
        """How much there is already, once: at the service's start, else before the first upload."""
        async with self._measuring:
            if not self._is_measured:
                self._used += await asyncio.to_thread(_size, self._root)
                self._is_measured = True


class Draft:
    """One upload: files come in, then it is kept under its job's id, or leaves."""

    def __init__(self, uploads: Uploads, folder: Path) -> None:
        self.folder = folder
        self._uploads = uploads
        self._files: dict[str, Upload] = {}
        self._size = 0
        self._kept = False

    @property
    def files(self) -> Sequence[Upload]:
        return tuple(self._files.values())

    async def receive(self, field: str, name: str, pieces: AsyncIterator[bytes]) -> Upload:
        """Write one file. WrongContent, TooLarge, StoreFull say why it is refused."""
        if field in self._files:
            raise InvalidPayload(f"{field}: there are two files for it; send one")
        writer = await _errand(_Writer, self.folder, field, _shown(name))
        try:
            async for piece in _gathered(pieces):
                self._uploads.reserve(len(piece), self._size)
                self._size += len(piece)
                await _errand(writer.write, piece)
            upload = await _errand(writer.finish)
        finally:
            await _errand(writer.close)
        self._files[field] = upload
        return upload

    def paths(self, job_id: str) -> Mapping[str, str]:
        """What stands in the payload, by field: below Insignia:DataDirectory."""
        return {upload.field: f"{FOLDER}/{job_id}/{upload.stored}" for upload in self.files}

    def fingerprint(self, payload: Mapping[str, object]) -> str:
        """The same for the same payload with the same files, whatever job they came with."""
        digests = {upload.field: upload.sha256 for upload in self.files}
        return hashlib.sha256(orjson.dumps([payload, digests], option=orjson.OPT_SORT_KEYS)).hexdigest()

    async def keep(self, job_id: str, fingerprint: str) -> None:
        """From now on it is the job's folder."""
        files = [asdict(upload) for upload in self.files]
        manifest = {"fingerprint": fingerprint, "store": self._uploads.store, "files": files}
        target = self._uploads.place_of(job_id)
        await _errand(_settle, self.folder, target, orjson.dumps(manifest))
        self.folder, self._kept = target, True

    async def leave(self) -> None:
        """Remove it all, unless it is kept."""
        if not self._kept:
            await self.withdraw()

    async def withdraw(self) -> None:
        """Remove it all."""
        await asyncio.to_thread(_remove, [self.folder])
        self._uploads.give_back(self._size)
        self._size, self._kept = 0, False


@dataclass(slots=True)
class Sweeper:
    """Takes away what the jobs have left: at start, every hour, and after old jobs were pruned."""

    uploads: Uploads
    known: Known
    emit: Emit
    interval: float = 3600.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        waker = asyncio.ensure_future(self._wake_on(stop))
        try:
            while not stop.is_set():
                self.wake.clear()
                try:
                    await self.uploads.sweep(self.known)
                except Exception as exc:  # noqa: BLE001 -- housekeeping must not take the service down
                    self.emit(LoopFailed("removing uploads of old jobs", exc, self.interval))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.interval):
                        await self.wake.wait()
        finally:
            waker.cancel()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake.set()


async def _errand(work: Callable[..., _T], *arguments: Any) -> _T:
    """In a thread; what comes next never overtakes it."""
    with _told_plainly():
        return await to_its_end(asyncio.to_thread(work, *arguments))


async def to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Whoever is cancelled here waits for it all the same, and is cancelled then."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # nobody else will ask for it
        raise


# -- on disk, in threads -------------------------------------------------------------------------------------------


class _Writer:
    """One file on its way to disk."""

    def __init__(self, folder: Path, field: str, name: str) -> None:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._field, self._name = folder, field, name
        self._draft = folder / f".{field}"
        self._file: BinaryIO = os.fdopen(os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._digest = hashlib.sha256()
        self._arrival = Arrival(name)

    def write(self, piece: bytes) -> None:
        self._arrival.feed(piece)
        self._digest.update(piece)
        self._file.write(piece)

    def finish(self) -> Upload:
        """On disk, under a name that fits what it is."""
        self._arrival.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        stored = f"{self._field}-{segment(Path(self._name).stem)}{'.json' if self._arrival.is_json else '.csv'}"
        self._draft.rename(self._folder / stored)
        return Upload(self._field, self._name, stored, size, self._digest.hexdigest())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it could not write has been told
            self._file.close()


@contextlib.contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except RosterUnreadable as exc:
        raise WrongContent(str(exc)) from None
    except OSError as exc:
        if exc.errno in _FULL:
            raise StoreFull("the disk is full: nothing of the upload was kept") from exc
        raise StoreUnwritable(f"the upload cannot be stored: {exc.strerror}") from exc


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if len(gathered) >= _PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def _shown(name: str) -> str:
    """What a browser calls the file: the last part, without signs that could mislead whoever reads it."""
    last = _unquoted(re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode())
    return "".join(char for char in last if char.isprintable())[:120].strip() or "file"


def _unquoted(name: str) -> str:
    """Browsers send letters as they are, some libraries as %E0%B8%81."""
    try:
        plain = unquote(name, errors="strict")
    except UnicodeDecodeError:
        return name
    return name if plain.isascii() or "/" in plain or "\\" in plain else plain


def _settle(folder: Path, target: Path, manifest: bytes) -> None:
    descriptor = os.open(folder / _MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(manifest)
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)
    folder.rename(target)
    _sync(target.parent)
    _sync(target.parent.parent)  # the folder of uploads itself may be new


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest: dict[str, Any] = orjson.loads((folder / _MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return manifest


def _opened(folder: Path, name: str) -> int | None:
    try:
        return os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None


def _listed(root: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _remove(folders: Sequence[Path]) -> int:
    """How many bytes that freed."""
    freed = 0
    for folder in folders:
        size = _size(folder)
        shutil.rmtree(folder, ignore_errors=True)
        freed += size
    return freed


def _size(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += 0 if name == _MANIFEST else (Path(parent) / name).lstat().st_size
    return size
