"""Opens a workbook for writing, so that it fails as other files do: with OSError, and with nothing left behind."""

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def open_workbook(file: BinaryIO) -> Iterator[Any]:
    """Yield a workbook, which is written to the file at the end if there was no error. Raises OSError."""
    import xlsxwriter  # only for those who want a workbook

    draft = _Draft(file)
    # Temporary files stand beside the draft: the disk that is full is then the one that the error names. They have a
    # folder of their own, as xlsxwriter leaves them behind after an error; its name tells whose it is after a kill.
    draft_path = Path(file.name)
    with tempfile.TemporaryDirectory(prefix=f"{draft_path.name}.", dir=draft_path.parent) as folder:
        options = {"constant_memory": True, "strings_to_formulas": False, "tmpdir": folder}
        book = xlsxwriter.Workbook(draft, options)
        try:
            # Not `with book`, which writes the file after an error as well, and may hide that one behind its own.
            yield book
            _close(book)
        except BaseException:
            draft.abandon()
            _close_temporary_files(book)
            raise


class _Draft:
    """The file for ZipFile, which still writes its end when it is freed: after an error, to a file closed by then."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place: int | None = None

    def abandon(self) -> None:
        """Write nothing any more; only count, as ZipFile computes with its places."""
        self._place = 0

    def write(self, data: bytes) -> int:
        if self._place is None:
            return self._file.write(data)
        self._place += len(data)
        return len(data)

    def seek(self, offset: int) -> int:
        if self._place is None:
            return self._file.seek(offset)
        self._place = offset
        return offset

    def tell(self) -> int:
        return self._file.tell() if self._place is None else self._place

    def flush(self) -> None:
        if self._place is None:
            self._file.flush()


def _close(book: Any) -> None:
    """Write the workbook. Raises OSError, also where xlsxwriter has made another error of it."""
    from xlsxwriter.exceptions import XlsxFileError

    try:
        book.close()
    except XlsxFileError as exc:
        behind = exc.__context__
        raise (behind if isinstance(behind, OSError) else OSError(errno.EOVERFLOW, str(exc))) from None


def _close_temporary_files(book: Any) -> None:
    """Close what the sheets have open: a file takes its room on the disk until then, although it is deleted."""
    for sheet in book.worksheets():
        for file in (sheet.row_data_fh, sheet.fh):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
