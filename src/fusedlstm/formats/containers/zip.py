"""Zip archives from anywhere: checked before anything is read, members read into memory, nothing extracted."""

from __future__ import annotations

from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from ...errors import FormatError
from .source import Source

MAX_MEMBERS = 100_000
MAX_RATIO = 100
"""Weights barely compress. Deflate reaches 1000:1 on zeros, which is what zip bombs are made of."""
FREE_BYTES = 1 << 20
"""What a member may unpack to whatever its ratio: a bias of zeros is no bomb."""

_ENCRYPTED = 0x1 | 0x40 | 0x2000  # traditional, strong, masked directory


_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # the second is an empty one's


def opened(source: Source) -> Archive | None:
    """The zip archive that a source is, or None."""
    return source.once(Archive) if source.head.startswith(_SIGNATURES) else None


class Archive:
    """A zip archive whose directory has been checked; members are read when asked for.

    Parameters
    ----------
    source : Source
        The file. It stays open as long as this object lives.

    Raises
    ------
    FormatError
        The directory is damaged, or declares too many members, duplicates, encryption, an unusual
        compression, overlapping members, or more bytes than an archive of this length justifies.
    """

    def __init__(self, source: Source) -> None:
        length = source.size
        self._packed = source.packed
        self._file = source.open()
        try:
            self._zip = ZipFile(self._file)
        except Exception as error:  # BadZipFile, struct.error, OSError from a wild seek, ...
            raise FormatError(f"damaged zip archive ({error})") from error
        members = self._zip.infolist()
        if len(members) > MAX_MEMBERS:
            raise FormatError(f"zip archive: expected at most {MAX_MEMBERS} members, found {len(members)}")
        self._members: dict[str, ZipInfo] = {}
        for member in members:
            _check(member)
            if member.filename in self._members:
                raise FormatError(f"zip member {member.filename!r}: expected once, found twice")
            if member.compress_type == ZIP_STORED and not member.CRC:
                del member.CRC  # PyTorch's set_crc32_options(False) writes 0, which zipfile would find wrong
            self._members[member.filename] = member
        packed, unpacked = sum(m.compress_size for m in members), sum(m.file_size for m in members)
        if packed > length:
            raise FormatError(f"zip archive: expected members of {length} bytes at most, found {packed} (overlapping)")
        if unpacked > 16 * FREE_BYTES + MAX_RATIO * length:
            raise FormatError(f"zip archive of {length} bytes: found {unpacked} bytes declared, a zip bomb")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def expect_stored(self) -> None:
        """Refuse compressed members, for formats whose writers never compress."""
        for member in self._members.values():
            if member.compress_type != ZIP_STORED:
                raise FormatError(f"{_where(member)}: expected stored data, found it compressed")

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, in the archive's order."""
        return tuple(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        """Unpacked size of a member in bytes."""
        return self._find(name).file_size

    def packed(self, name: str) -> int:
        """How many bytes of the file a member is."""
        return min(self._find(name).compress_size, self._packed)

    def read(self, name: str, count: int | None = None) -> bytes:
        """A member's content, or its first `count` bytes; the checksum is verified on a whole one."""
        member = self._find(name)
        wanted = member.file_size if count is None else min(count, member.file_size)
        try:
            with self._zip.open(member) as file:
                # Asking for a number of bytes bounds the decompressor; read() without one does not.
                data = file.read(wanted)
        except Exception as error:  # BadZipFile, zlib.error, EOFError, ...
            raise FormatError(f"zip member {name!r}: damaged ({error})") from error
        if len(data) != wanted:
            raise FormatError(f"zip member {name!r}: expected {wanted} bytes, found {len(data)}")
        return data

    def _find(self, name: str) -> ZipInfo:
        if name not in self._members:
            raise FormatError(f"zip member {name!r}: expected in the archive, found none of that name")
        return self._members[name]


def _where(member: ZipInfo) -> str:
    return f"zip member {member.filename!r}"


def _check(member: ZipInfo) -> None:
    where = _where(member)
    if member.flag_bits & _ENCRYPTED:
        raise FormatError(f"{where}: expected plain data, found an encrypted member")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise FormatError(f"{where}: expected stored or deflated data, found compression method {member.compress_type}")
    if member.compress_type == ZIP_STORED:
        if member.file_size != member.compress_size:
            raise FormatError(f"{where}: expected {member.compress_size} bytes, found {member.file_size} declared")
    elif member.file_size > FREE_BYTES + MAX_RATIO * member.compress_size:
        raise FormatError(
            f"{where}: found {member.file_size} bytes in {member.compress_size} compressed ones, a zip bomb "
            "(if the weights really are nearly constant, save them uncompressed)"
        )
