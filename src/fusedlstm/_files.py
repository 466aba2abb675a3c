"""Files: what is read is a regular one; what is written takes its name when it is whole."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that a process has open
    fcntl = None  # type: ignore[assignment]

FOREIGN = {
    *(".bin", ".ckpt", ".pt", ".pt2", ".pth", ".ptl", ".pkl", ".pickle", ".h5", ".hdf5", ".keras", ".pb", ".tflite"),
    *(".onnx", ".ort", ".npz", ".msgpack", ".flax", ".json", ".nam", ".gguf", ".mlmodel", ".xml", ".zip"),
}
"""Suffixes of weights files of other kinds."""
PREFIX, SUFFIX = ".fusedlstm-", ".tmp"


def regular_file(path: str | os.PathLike[str]) -> Path:
    """The path, where it leads to a regular file: others may block for ever, or have no end.

    Raises
    ------
    OSError
        It leads to nothing, to a directory, a FIFO, a device or a socket.
    """
    path = Path(os.fsdecode(path))
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise _not_regular(path)
    return path


def expect_no_other_format(path: Path) -> None:
    """Refuse a name under which everybody would look for something else than a safetensors file."""
    if path.suffix.lower() in FOREIGN:
        raise ValueError(
            f"{path}: expected a name such as {path.with_suffix('.safetensors').name}, found the suffix of another "
            "format; what is written is a safetensors file"
        )


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new file beside `path` that takes its name at the end, and never if something fails.

    A link keeps pointing to what it names; the file that is replaced leaves its mode and, if we may, its owner. What a
    killed process left in the folder is removed: a live one holds a lock on its file.

    Raises
    ------
    OSError
        `path` is not a place for a regular file.
    """
    target = Path(os.path.realpath(os.fsdecode(path)))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such directory", str(target.parent))
    before = _status(target)
    _remove_strays(target.parent)
    temporary, file = _create(target.parent, 0o666 if before is None else 0o600)
    with os.fdopen(file, "rb") as lock:
        try:
            yield temporary
            if before is not None:
                _take_over(before, temporary)
            if fcntl is None:
                lock.close()
            os.replace(temporary, target)
        except BaseException:
            if fcntl is None:
                lock.close()
            with suppress(OSError):
                os.unlink(temporary)
            raise


def _not_regular(path: Path) -> OSError:
    return OSError(errno.EINVAL, "Not a regular file", str(path))


def _status(target: Path) -> os.stat_result | None:
    """Of the file to be replaced, if there is one."""
    try:
        before = os.stat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(before.st_mode):
        raise _not_regular(target)
    return before


def _create(folder: Path, mode: int) -> tuple[Path, int]:
    """A new file and the lock on it. Its name is short, whatever the target's is."""
    while True:
        temporary = folder / f"{PREFIX}{secrets.token_hex(4)}{SUFFIX}"
        try:
            file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
        except FileExistsError:
            continue
        locked = _locked(file)
        if locked is None or (locked and _is(temporary, file)):
            return temporary, file
        os.close(file)  # somebody took it for a stray before it was locked, and removes it


def _locked(file: int) -> bool | None:
    """Whether we have the lock, and not somebody else; None where there are no locks, as on some file systems."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except OSError:
        return False


def _remove_strays(folder: Path) -> None:
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_if_stray(entry.path)


def _remove_if_stray(path: str) -> None:
    if fcntl is None:
        os.unlink(path)  # fails where a process has it open
        return
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _locked(file):
            os.unlink(path)
    finally:
        os.close(file)


def _take_over(before: os.stat_result, temporary: Path) -> None:
    """Mode and owner of the file that is replaced."""
    now = os.stat(temporary)
    if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        for owner, group in ((-1, before.st_gid), (before.st_uid, -1)):  # the group alone is often allowed
            with suppress(OSError):
                os.chown(temporary, owner, group)
    os.chmod(temporary, stat.S_IMODE(before.st_mode))
