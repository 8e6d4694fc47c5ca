"""Files as they are brought: plain, in an archive, or something else; told by their first bytes, not by their names."""

import contextlib
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from lstm_lab.config import ConfigError

GZIP, ZSTD, ZIP, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", (b"PK\x03\x04", b"PK\x05\x06"), b"PAR1"
OTHERS = {
    b"BZh": "a bzip2 archive; unpack it, or compress it as .gz, .zip or .zst",
    b"\xfd7zXZ": "an xz archive; unpack it, or compress it as .gz, .zip or .zst",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it, or compress it as .gz, .zip or .zst",
    b"Rar!": "a rar archive; unpack it, or compress it as .gz, .zip or .zst",
    b"\xd0\xcf\x11\xe0": "a workbook of an older spreadsheet program; save it as CSV",
    b"\x89HDF": "an HDF5 file; save the table as CSV or Parquet",
    b"CDF\x01": "a NetCDF file; save the table as CSV or Parquet",
    b"ARROW1": "an Arrow file; save the table as CSV or Parquet",
    b"\x93NUMPY": "a NumPy file; save the array as CSV with a line of names",
    b"SQLite format 3": "a database; save the table as CSV or Parquet",
    b"%PDF": "a PDF; save the table as CSV",
}


class Hashed(io.RawIOBase):
    """A file that is read from its beginning to its end, and hashed meanwhile, by a thread: that takes as long."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha = file, hashlib.sha256()
        self.pool = ThreadPoolExecutor(1)
        self.hashing: Future | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = self.file.readinto(buffer)  # type: ignore[attr-defined]
        if self.hashing:
            self.hashing.result()
        self.hashing = self.pool.submit(self.sha.update, bytes(buffer[:size]))
        return size

    def hexdigest(self) -> str:
        """Of the whole file, also of what no one has read."""
        while self.read(2**20):
            pass
        if self.hashing:
            self.hashing.result()
        return self.sha.hexdigest()

    def close(self) -> None:
        self.pool.shutdown()
        super().close()


class Unpacked:
    """The bytes of an archive's one file; ConfigError where it is broken."""

    def __init__(self, path: Path, kind: str, stream: BinaryIO) -> None:
        self.path, self.kind, self.stream = path, kind, stream

    def read(self, size: int) -> bytes:
        import pyarrow

        try:
            return self.stream.read(size)
        except (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, pyarrow.ArrowException) as error:
            raise self.broken(error) from None
        except OSError as error:
            if error.errno is None or isinstance(error, gzip.BadGzipFile):
                raise self.broken(error) from None
            raise

    def broken(self, error: Exception) -> ConfigError:
        said = " ".join(str(error).split())[:200].rstrip(".")
        return ConfigError(f"{self.path}: is a broken {self.kind} archive ({said})")


def kind_of(path: Path) -> str:
    """'text', 'gzip', 'zip', 'zstd' or 'parquet'; ConfigError if it is known to be something else."""
    with open(path, "rb") as file:
        start = file.read(16)
    for magic, said in OTHERS.items():
        if start.startswith(magic):
            raise ConfigError(f"{path}: is {said}")
    kinds = {GZIP: "gzip", ZSTD: "zstd", PARQUET: "parquet", ZIP[0]: "zip", ZIP[1]: "zip"}
    return next((kind for magic, kind in kinds.items() if start.startswith(magic)), "text")


@contextlib.contextmanager
def unpack(path: Path, file: BinaryIO | io.RawIOBase) -> Iterator[BinaryIO | Unpacked]:
    """The bytes of the text in the file, whatever it is packed in: something with a method `read`."""
    kind = kind_of(path)
    if kind == "gzip":
        with gzip.GzipFile(fileobj=file) as stream:
            yield Unpacked(path, kind, stream)  # type: ignore[arg-type]
    elif kind == "zstd":
        import pyarrow

        with pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), kind) as stream:
            yield Unpacked(path, kind, stream)
    elif kind == "zip":
        with open_member(path) as stream:
            yield Unpacked(path, kind, stream)
    else:
        yield file  # type: ignore[misc]


@contextlib.contextmanager
def open_member(path: Path) -> Iterator[BinaryIO]:
    """The one file in a zip archive."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ConfigError(f"{path}: is a broken zip archive ({error})") from None
    with archive:
        names = archive.namelist()
        if "[Content_Types].xml" in names or "mimetype" in names:
            raise ConfigError(f"{path}: is a workbook or a document; save the table as CSV")
        inside = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(inside) != 1:
            listed = ", ".join(repr(name) for name in inside[:12])
            what = f"{len(inside)} files: {listed}" if inside else "no file"
            raise ConfigError(f"{path}: must have one file in it, and has {what}")
        try:
            member = archive.open(inside[0])
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:  # a password, an unknown method
            raise ConfigError(f"{path}: '{inside[0]}' in it cannot be unpacked ({error})") from None
        with member:
            yield member  # type: ignore[misc]
