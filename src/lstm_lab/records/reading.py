"""What is read back from a store is data: files of bounded size, plain YAML and JSON, arrays of plain numbers.

Anybody may write to a shared store, and whoever writes may be hostile. Nothing here runs what it reads, follows a link
out of a run's folder, or takes more memory than the bytes that it was given. Faults are told as the end of a sentence
that begins with the file's name.
"""

import contextlib
import functools
import io
import itertools
import json
import math
import os
import posixpath
import re
import stat
import tempfile
import urllib.parse
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from lstm_lab.records import servers, store
from lstm_lab.records.store import StoreError

if TYPE_CHECKING:
    from mlflow.entities import Run

DEEPEST = 20  # levels of a config or of facts; a run's have three, Keras's description of a model twelve
MOST_KEYS = 100  # in a group of a config; a run's have fifteen
LONGEST_NUMBER = 100  # characters of a number in YAML, or of another value that is no text
ELSEWHERE = ", on another server than the store's, which is shown no password: unset it to ask there"
LONGEST_TEXT = 200  # characters that are shown of a text


class UnsoundError(Exception):
    """A file is not what a run leaves; the message goes on after the file's name."""


def printable(text: str, most: int = LONGEST_TEXT) -> str:
    """The text in one line of at most so many characters, without what steers a terminal or turns a line around."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: most + 1])
    return shown if len(text) <= most else f"{shown[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def is_run_id(text: object) -> bool:
    """Whether a text from a store is a run's id, which folders are named by: 32 hexadecimal digits."""
    return isinstance(text, str) and bool(re.fullmatch("[0-9a-f]{32}", text))


def sound(run: "Run") -> "Run":
    """The run; StoreError if its id, which folders are named by, is none, or its files are in no folder of that id.

    MLflow has them in EXPERIMENT/ID/artifacts; anywhere else a run's files could take the place of the user's.
    """
    run_id, place = run.info.run_id, run.info.artifact_uri
    if not is_run_id(run_id):
        shown = printable(str(run_id), 40)
        raise StoreError(f"the store has a run of the id {shown!r}, which is none: it must be 32 digits (0-9, a-f)")
    if not re.search(rf"/{run_id}/artifacts/?([?#]|$)", str(place)):
        shown = printable(str(place))
        raise StoreError(f"run {run_id}: the store has its files at {shown!r}, not in a folder {run_id}/artifacts")
    if not servers.may_ask(str(place), store.tracking_uri()):
        raise StoreError(f"run {run_id}: its files are at {printable(str(place))!r}{ELSEWHERE}")
    return run


def name_of(run: "Run") -> str:
    """The run's name, to be shown."""
    return printable(run.info.run_name or "?")


def fetch(place: str, path: str, most: int, tracking_uri: str, at_once: bool = False) -> bytes | None:
    """The content of the file `path` below `place`, an address that the store has of artifacts; None if there is none.

    UnsoundError if it is larger than `most` bytes, or no plain file there. `at_once`: a server is asked for the file
    first, and only if it gives none whether it is there; that is one question for a file that most runs have.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urllib.parse.urlparse(place).scheme in ("", "file"):
        return local_file(Path(local_file_uri_to_path(place)), path, most)
    if not servers.may_ask(place, tracking_uri):
        raise UnsoundError(f"is at {printable(place)!r}{ELSEWHERE}")
    artifacts = get_artifact_repository(place, tracking_uri=tracking_uri)
    served = isinstance(artifacts, HttpArtifactRepository)
    if served and at_once and (content := served_at_once(artifacts, path, most)) is not None:
        return content
    listed = artifacts.list_artifacts(posixpath.dirname(path) or None)
    sizes = {file.path: file.file_size or 0 for file in listed if not file.is_dir}
    if path not in sizes:
        return None
    check_size(sizes[path], most)
    if served:
        return served_file(artifacts, path, most)
    with tempfile.TemporaryDirectory() as folder:
        artifacts.download_artifacts(path, folder)
        return local_file(Path(folder), path, most)


def served_file(artifacts: Any, path: str, most: int) -> bytes:
    """The same of a server, which may have said another size than it sends."""
    from mlflow.utils.rest_utils import augmented_raise_for_status, http_request

    with http_request(artifacts._host_creds, f"/{path}", "GET", stream=True) as answer:
        augmented_raise_for_status(answer)
        return content_of(answer, most)


def served_at_once(artifacts: Any, path: str, most: int) -> bytes | None:
    """The same without patience: None whatever keeps the server from giving the file."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.rest_utils import http_request
    from requests.exceptions import RequestException

    ask = functools.partial(http_request, artifacts._host_creds, f"/{path}", "GET", max_retries=0, stream=True)
    with contextlib.suppress(MlflowException, RequestException), ask(raise_on_status=False) as answer:
        return content_of(answer, most) if answer.status_code == 200 else None
    return None


def content_of(answer: Any, most: int) -> bytes:
    """What a server sends, of at most so many bytes."""
    content = bytearray()
    for piece in answer.iter_content(2**20):
        content += piece
        check_size(len(content), most)
    return bytes(content)


def local_file(folder: Path, path: str, most: int) -> bytes | None:
    """The same for a folder of this machine."""
    file = folder / path
    if not file.exists():
        return None
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UnsoundError("is a link that leads out of the run's folder")
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe lets nobody wait
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnsoundError("is no plain file")
        check_size(found.st_size, most)
        with open(descriptor, "rb", closefd=False) as opened:
            return opened.read(found.st_size)
    finally:
        os.close(descriptor)


def check_size(size: int, most: int) -> None:
    """Raises UnsoundError for more bytes than there can be."""
    if size > most:
        raise UnsoundError(f"has {size:,} bytes; {most:,} at most can be of such a run")


class PlainLoader(yaml.SafeLoader):
    """YAML of plain values, none of which stands for another; such a document is no larger than it looks."""

    level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As of any loader, within bounds."""
        if self.check_event(yaml.AliasEvent):
            raise UnsoundError("has an alias; a run's config has none")
        self.level += 1
        if self.level > DEEPEST:
            raise UnsoundError(f"is nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self.level -= 1
        if isinstance(node, yaml.MappingNode) and len(node.value) > MOST_KEYS:
            raise UnsoundError(f"has a group of {len(node.value):,} settings")
        if isinstance(node, yaml.ScalarNode) and not node.tag.endswith(":str") and len(node.value) > LONGEST_NUMBER:
            raise UnsoundError(f"has a number of {len(node.value):,} characters")
        return node


def yaml_of(text: str) -> Any:
    """What a YAML text holds, plain values only."""
    try:
        return yaml.load(text, PlainLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a date outside the calendar, half a character
        raise UnsoundError(f"is no plain YAML ({printable(' '.join(str(error).split()))})") from None


def json_of(content: bytes) -> Any:
    """What a JSON text holds."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnsoundError(f"is no JSON ({printable(str(error))})") from None
    layer = [value]
    for _ in range(DEEPEST):
        inner = (item.values() if isinstance(item, dict) else item for item in layer if isinstance(item, dict | list))
        layer = list(itertools.chain.from_iterable(inner))
    if layer:
        raise UnsoundError(f"is nested more than {DEEPEST} levels deep")
    return value


def array_of(content: bytes) -> np.ndarray:
    """The array of numbers or text that an .npy file holds; its header must be of just the bytes that follow."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        size = math.prod(shape) * dtype.itemsize
    except Exception as error:  # of whatever kind a header can be at fault
        raise UnsoundError(f"is no array of NumPy's ({printable(str(error))})") from None
    if dtype.kind not in "fiuU" or not dtype.itemsize or len(shape) > 8 or min(shape, default=0) < 0:
        raise UnsoundError(f"is an array of {printable(str(dtype))}, not of numbers")
    if len(content) - file.tell() != size:
        raise UnsoundError(f"says that it has {size:,} bytes of numbers, and has {len(content) - file.tell():,}")
    flat = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()


@contextlib.contextmanager
def archive_in(content: bytes) -> Iterator[zipfile.ZipFile]:
    """The zip archive that a file is. NumPy and Keras compress none: so it takes no more memory than the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise UnsoundError("is compressed; a run's archives are not")
            if sum(member.file_size for member in members) > len(content):
                raise UnsoundError("says that it holds more bytes than it has")
            yield archive
    except UnsoundError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds
        raise UnsoundError(f"is not the archive that a run leaves ({printable(str(error))})") from None


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, in its order."""
    with archive_in(content) as archive:
        return {name.removesuffix(".npy"): array_of(archive.read(name)) for name in archive.namelist()}


def member_of(content: bytes, name: str, most: int) -> bytes:
    """One file of a zip archive, of at most so many bytes."""
    with archive_in(content) as archive:
        check_size(archive.getinfo(name).file_size, most)
        return archive.read(name)


def check_floats(array: np.ndarray, shape: Sequence[int], name: str) -> None:
    """Raises UnsoundError unless the array is float32 of that shape."""
    if array.dtype != np.float32 or array.shape != tuple(shape):
        raise UnsoundError(f"has {name} of {array.dtype} {list(array.shape)}, not float32 {list(shape)}")


def check_all_floats(arrays: Sequence[np.ndarray], shapes: Sequence[Sequence[int]], name: str) -> None:
    """Raises UnsoundError unless the arrays are float32 of these shapes."""
    if len(arrays) != len(shapes):
        raise UnsoundError(f"has {len(arrays):,} {name}, not {len(shapes)}")
    for array, shape in zip(arrays, shapes, strict=True):
        check_floats(array, shape, name)


def units_in(described: Any, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations [2, size] of inputs and of targets, of these sizes, in a model's description.

    `science.model.with_units` made it or, once, Keras's Normalization did.
    """
    try:
        with np.errstate(all="ignore"):
            inputs, targets = units_described(described["config"]["layers"], sizes)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError):
        raise UnsoundError("does not say in which units its numbers are") from None
    for units in (inputs, targets):
        check_units(units)
    return inputs, targets


def check_units(units: np.ndarray) -> None:
    """Raises UnsoundError unless means and standard deviations [..., 2, size] can be some."""
    sound = np.isfinite(units).all(axis=-2) & (units[..., 1, :] > 0)
    if not sound.all():
        mean, stddev = np.moveaxis(units, -2, 0)
        first = mean[~sound][0], stddev[~sound][0]
        raise UnsoundError("has units that are none: mean {:g} and standard deviation {:g}".format(*first))


def units_by_series(arrays: dict[str, np.ndarray], sizes: tuple[int, int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The units of inputs and of targets, of these sizes, that a run keeps of each of its series."""
    names, parts = arrays.get("series"), [arrays.get("inputs"), arrays.get("targets")]
    if names is None or names.dtype.kind != "U" or names.ndim != 1:
        raise UnsoundError("does not name the series")
    for units, size in zip(parts, sizes, strict=True):
        if units is None or units.dtype != np.float64 or units.shape != (len(names), 2, size):
            raise UnsoundError(f"has no means and standard deviations of {len(names):,} series and {size} columns")
        check_units(units)
    return dict(zip(names.tolist(), zip(*parts, strict=True), strict=True))


def units_described(layers: list[Any], sizes: tuple[int, int]) -> list[np.ndarray]:
    """`units_in` the layers of a model's description, sound or not."""
    layers = [layer["config"] | {"class": layer["class_name"]} for layer in layers]
    once = {layer["invert"]: layer for layer in layers if layer["class"] == "Normalization"}
    if once:
        pairs = [(numbers(once[i]["mean"]), np.sqrt(numbers(once[i]["variance"]))) for i in (False, True)]
    else:
        scaled = {layer["name"]: layer for layer in layers if layer["class"] == "Rescaling"}
        before, behind = -numbers(scaled["subtract_mean"]["offset"]), scaled["to_units"]
        pairs = [
            (before, 1 / numbers(scaled["normalize"]["scale"])),
            (numbers(behind["offset"]), numbers(behind["scale"])),
        ]
    both = zip(pairs, sizes, strict=True)
    return [np.stack([np.broadcast_to(part, size) for part in pair]) for pair, size in both]


def numbers(described: Any) -> np.ndarray:
    """The numbers that Keras describes, float64 [size]: plain, in lists, or as an array."""
    if isinstance(described, dict):
        described = described["config"]["value"]
    return np.atleast_1d(np.array(described, np.float64).squeeze())
