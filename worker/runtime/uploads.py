"""Files that are uploaded with a job: streamed to disk, kept under the job's owner and id, removed with it.

Independent of HTTP and of what the files contain. An upload is first written to a hidden folder next to the others and
moved to {owner}/{job id} when it is complete; only while that job is being stored may the folder exist without it.
"""

import asyncio
import contextlib
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson

from worker.core.events import Emit
from worker.core.loop_failures import LoopFailures
from worker.core.uncancellable import uncancellable
from worker.disk.room import lack_of_room
from worker.errors import LimitReached, StoreFull, StoreUnwritable, TooLarge
from worker.handler import StartFileCheck
from worker.runtime.upload_files import (
    Upload,
    UploadWriter,
    display_name,
    folder_names,
    keep_folder,
    open_upload,
    read_manifest,
    remove_folders,
    size_of,
)

FOLDER = "uploads"
"""Below Insignia:DataDirectory, so that its path can stand in a payload."""
_INCOMING = ".incoming-"
_JOB = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PIECE = 1 << 17
"""Bytes collected before each write. With smaller writes, changing threads costs more than writing; with a megabyte,
checking the content delays the event loop by 50 ms instead of 7."""
_IDS_PER_QUERY = 100
_RETRY_SECONDS = 60.0
"""When a client whose quota is used up may try again."""

_T = TypeVar("_T")

Owner = tuple[str, str | None]
"""The user and the organization of a job."""
OwnerFolder = Callable[[str, str | None], Path]
"""Returns the folder of an owner's files, such as `user/u-1`, relative to the folder of all uploads."""
Known = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Returns those of the given job ids that the store knows."""


def is_job_id(name: str) -> bool:
    """Return whether a folder of this name can be a job's."""
    return _JOB.fullmatch(name) is not None


class Uploads:
    """The folder of all uploads, with its limits."""

    def __init__(
        self,
        data: Path,
        *,
        max_bytes: int,
        total_bytes: int,
        owner_folder: OwnerFolder,
        store: str = "",
        bytes_per_owner: int = 0,
    ) -> None:
        """`store` names the store that holds the jobs of these files; `bytes_per_owner` 0: no limit."""
        self._root = data / FOLDER
        self._owner_folder = owner_folder
        self.store = store
        self._max_bytes = max_bytes
        self._total_bytes = total_bytes
        self._bytes_per_owner = bytes_per_owner
        self._keeping = asyncio.Lock()
        self._used = 0
        self._is_measured = False
        self._measuring = asyncio.Lock()
        self._busy: set[str] = set()
        """Folders whose job is not stored yet: a sweep must not take them for orphans."""

    @property
    def used(self) -> int:
        """Bytes on disk, including uploads in progress."""
        return self._used

    @contextlib.asynccontextmanager
    async def draft(self) -> AsyncIterator["PendingUpload"]:
        """Open an upload; unless it is kept, nothing of it remains at the end."""
        await self.measure()
        draft = PendingUpload(self, self._root / f"{_INCOMING}{secrets.token_hex(8)}")
        self._busy.add(draft.folder.name)
        try:
            yield draft
        finally:
            await uncancellable(draft.close())
            self._busy.discard(draft.folder.name)

    def reserve(self, size: int, so_far: int) -> None:
        """Count bytes before they are written. Raises TooLarge or StoreFull if they must not be written."""
        if so_far + size > self._max_bytes:
            raise TooLarge(f"the files are larger than Uploads:MaxBytes allows ({self._max_bytes:,} bytes)")
        if self._used + size > self._total_bytes:
            raise StoreFull("the uploads have reached Uploads:TotalBytes: remove old jobs or raise the limit")
        self._used += size

    async def require_room(self, owner: Owner, size: int = 1) -> None:
        """Raise LimitReached if the owner's files and `size` bytes more exceed the quota of one owner."""
        if not self._bytes_per_owner:
            return
        stored = await asyncio.to_thread(size_of, self._root / self._owner_folder(*owner))
        if stored + size > self._bytes_per_owner:
            raise LimitReached(
                f"the uploads of {owner[1] or owner[0]} have reached Uploads:BytesPerOwner "
                f"({self._bytes_per_owner:,} bytes): they are removed with their jobs",
                _RETRY_SECONDS,
            )

    @contextlib.asynccontextmanager
    async def room_for(self, owner: Owner, size: int) -> AsyncIterator[None]:
        """Raise LimitReached as `require_room` does. With a quota, no other files are kept until the end."""
        if not self._bytes_per_owner:
            yield
            return
        async with self._keeping:
            await self.require_room(owner, size)
            yield

    def release(self, size: int) -> None:
        """Subtract bytes that were removed from disk or never written."""
        self._used = max(0, self._used - size)

    def folder_of(self, job_id: str, owner: Owner) -> Path:
        """Return the folder of a job's uploads, whether it exists or not."""
        return self._root / self._owner_folder(*owner) / job_id

    def path_in_payload(self, job_id: str, owner: Owner, stored: str) -> str:
        """Return the path of one of these files, relative to Insignia:DataDirectory."""
        return f"{FOLDER}/{self._owner_folder(*owner).as_posix()}/{job_id}/{stored}"

    @contextlib.contextmanager
    def protect(self, job_id: str) -> Iterator[None]:
        """Keep sweeps away from the folder while its job is being stored."""
        self._busy.add(job_id)
        try:
            yield
        finally:
            self._busy.discard(job_id)

    async def fingerprint(self, job_id: str, owner: Owner) -> str | None:
        """Return the digest of a job's payload and files; None for a job without files."""
        manifest, _ = await asyncio.to_thread(self._manifest, job_id, owner)
        return None if manifest is None else str(manifest["fingerprint"])

    async def files(self, job_id: str, owner: Owner) -> list[Upload]:
        """Return the files that were uploaded with a job."""
        if not _JOB.fullmatch(job_id):
            return []
        manifest, _ = await asyncio.to_thread(self._manifest, job_id, owner)
        return [] if manifest is None else [Upload(**entry) for entry in manifest["files"]]

    async def open(self, job_id: str, owner: Owner, stored: str) -> int | None:
        """Return a descriptor of one of these files, which the caller closes; None if there is no file of this name."""
        if stored not in {upload.stored for upload in await self.files(job_id, owner)}:
            return None
        _, folder = await asyncio.to_thread(self._manifest, job_id, owner)
        return await asyncio.to_thread(open_upload, folder, stored)

    async def sweep(self, known: Known) -> int:
        """Remove the folders without a job and return how many were removed."""
        found = await asyncio.to_thread(self._folders)
        idle = [folder for folder in found if folder.name not in self._busy]
        orphans = [folder for folder in idle if folder.name.startswith(_INCOMING)]
        jobs = [folder for folder in idle if _JOB.fullmatch(folder.name)]
        for start in range(0, len(jobs), _IDS_PER_QUERY):
            chunk = jobs[start : start + _IDS_PER_QUERY]
            alive = await known([folder.name for folder in chunk])
            orphans += await asyncio.to_thread(self._of_this_store, [one for one in chunk if one.name not in alive])
        freed = await asyncio.to_thread(remove_folders, orphans)
        self.release(freed)
        return len(orphans)

    def _manifest(self, job_id: str, owner: Owner) -> tuple[dict[str, Any] | None, Path]:
        """Return what is recorded of a job's files, and their folder, which is the earlier one for older uploads."""
        folder, earlier = self.folder_of(job_id, owner), self._root / job_id
        manifest = read_manifest(folder)
        return (read_manifest(earlier), earlier) if manifest is None else (manifest, folder)

    def _folders(self) -> list[Path]:
        """Return the folders of jobs, by owner and from before there were owners, and those of uploads in progress."""
        kinds = {self._owner_folder("x", organization).parts[0] for organization in (None, "x")}
        owners = [self._root / kind / name for kind in sorted(kinds) for name in folder_names(self._root / kind)]
        return [parent / name for parent in (self._root, *owners) for name in folder_names(parent)]

    def _of_this_store(self, folders: Sequence[Path]) -> list[Path]:
        """Return those of this store: after a start with another Queue:Path, files of the first store must survive."""
        manifests = ((folder, read_manifest(folder)) for folder in folders)
        return [folder for folder, manifest in manifests if manifest is None or manifest.get("store") == self.store]

    async def measure(self) -> None:
        """Measure the bytes on disk once: at the start of the service, or before the first upload."""
        async with self._measuring:
            if not self._is_measured:
                self._used += await asyncio.to_thread(size_of, self._root)
                self._is_measured = True


class PendingUpload:
    """One upload in progress: it receives files and is then kept under its job's id or removed."""

    def __init__(self, uploads: Uploads, folder: Path) -> None:
        self.folder = folder
        self._uploads = uploads
        self._files: list[Upload] = []
        self._size = 0
        self._kept = False

    @property
    def files(self) -> Sequence[Upload]:
        return tuple(self._files)

    async def receive(
        self, field: str, name: str, pieces: AsyncIterator[bytes], start_check: StartFileCheck | None = None
    ) -> Upload:
        """Write one file and return it. Raises TooLarge or StoreFull, and WrongContent if the check rejects it."""
        shown = display_name(name)
        check = None if start_check is None else start_check(shown)
        writer = await run_in_thread(UploadWriter, self.folder, field, shown, check)
        try:
            async for piece in _batched(pieces):
                self._uploads.reserve(len(piece), self._size)
                self._size += len(piece)
                await run_in_thread(writer.write, piece)
            upload = await run_in_thread(writer.finish)
        finally:
            await run_in_thread(writer.close)
        self._files.append(upload)
        return upload

    def paths(self, job_id: str, owner: Owner) -> Mapping[str, str | list[str]]:
        """Return the paths for the payload by field, relative to Insignia:DataDirectory; a list for several files."""
        found: dict[str, list[str]] = {}
        for upload in self.files:
            found.setdefault(upload.field, []).append(self._uploads.path_in_payload(job_id, owner, upload.stored))
        return {field: paths if len(paths) > 1 else paths[0] for field, paths in found.items()}

    def fingerprint(self, payload: Mapping[str, object]) -> str:
        """Return a digest of the payload and the files, independent of the job's id."""
        digests: dict[str, str] = {}
        for upload in self.files:
            digests[upload.field] = digests.get(upload.field, "") + upload.sha256
        return hashlib.sha256(orjson.dumps([payload, digests], option=orjson.OPT_SORT_KEYS)).hexdigest()

    async def keep(self, job_id: str, owner: Owner, fingerprint: str) -> None:
        """Make the folder the job's. Raises StoreFull, StoreUnwritable or LimitReached."""
        files = [asdict(upload) for upload in self.files]
        manifest = {"fingerprint": fingerprint, "store": self._uploads.store, "files": files}
        target = self._uploads.folder_of(job_id, owner)
        async with self._uploads.room_for(owner, self._size):
            await run_in_thread(keep_folder, self.folder, target, orjson.dumps(manifest))
        self.folder, self._kept = target, True

    async def close(self) -> None:
        """Remove everything unless the upload was kept."""
        if not self._kept:
            await self.withdraw()

    async def withdraw(self) -> None:
        """Remove everything, even if the upload was kept."""
        await asyncio.to_thread(remove_folders, [self.folder])
        self._uploads.release(self._size)
        self._size, self._kept = 0, False


@dataclass(slots=True)
class UploadCleaner:
    """Removes the uploads of jobs that are gone: at start, every `interval` seconds, and when woken after pruning."""

    uploads: Uploads
    known: Known
    emit: Emit
    remove_results: Callable[[], Awaitable[object]] | None = None
    """Removes results that are no longer kept, at the same times."""
    interval: float = 3600.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        waker = asyncio.ensure_future(self._wake_on(stop))
        uploads = LoopFailures("removing uploads of old jobs", self.emit)
        results = LoopFailures("removing replaced results", self.emit)
        try:
            while not stop.is_set():
                self.wake.clear()
                await self._attempt(uploads, self.uploads.sweep(self.known))
                if self.remove_results is not None:
                    await self._attempt(results, self.remove_results())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.interval):
                        await self.wake.wait()
        finally:
            waker.cancel()

    async def _attempt(self, failures: LoopFailures, work: Awaitable[object]) -> None:
        try:
            await work
            failures.succeeded()
        except Exception as exc:  # noqa: BLE001 -- housekeeping must not take the service down
            failures.failed(exc, self.interval)

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake.set()


async def run_in_thread(work: Callable[..., _T], *arguments: Any) -> _T:
    """Run in a thread to its end, even if the caller is cancelled. Raises StoreFull or StoreUnwritable."""
    with translate_os_errors():
        return await uncancellable(asyncio.to_thread(work, *arguments))


@contextlib.contextmanager
def translate_os_errors() -> Iterator[None]:
    """Turn errors of the file system into StoreFull or StoreUnwritable."""
    try:
        yield
    except OSError as exc:
        if (lack := lack_of_room(exc, Path("the upload"))) is not None:  # clients are not told where it is
            raise StoreFull(f"{lack}; nothing of the upload was kept") from exc
        raise StoreUnwritable(f"the upload cannot be stored: {exc.strerror}") from exc


async def _batched(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    batch = bytearray()
    async for piece in pieces:
        batch += piece
        if len(batch) >= _PIECE:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)
