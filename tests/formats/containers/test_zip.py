"""Zip archives that lie: every one is refused before it costs anything."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import pytest

from fusedlstm import FormatError
from fusedlstm.formats.containers import zip as _zip
from fusedlstm.formats.containers.source import Source


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def patch_directory(path, offset, code, *values):
    """Overwrite fields of the first entry of the central directory."""
    data = bytearray(path.read_bytes())
    struct.pack_into(code, data, data.rindex(b"PK\x01\x02") + offset, *values)
    path.write_bytes(data)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_members(tmp_path, compression):
    archive = _zip.Archive(Source(write(tmp_path / "a.zip", [("a", b"one"), ("d/b", b"two" * 999)], compression)))
    assert archive.names == ("a", "d/b")
    assert "a" in archive and "c" not in archive
    assert archive.size("d/b") == 2997
    assert archive.read("a") == b"one"
    assert archive.read("d/b", 4) == b"twot"
    assert archive.read("d/b", 10**9) == b"two" * 999
    with pytest.raises(FormatError, match="'c'.*found none"):
        archive.read("c")


def test_what_is_a_zip_archive(tmp_path):
    assert _zip.opened(Source(write(tmp_path / "a", [("a", b"")]))).names == ("a",)
    assert _zip.opened(Source(write(tmp_path / "b", []))).names == ()
    for content in (b"\x89HDF\r\n\x1a\n", b""):
        (tmp_path / "c").write_bytes(content)
        assert _zip.opened(Source(tmp_path / "c")) is None


def test_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        _zip.Archive(Source(tmp_path / "none.zip"))


@pytest.mark.parametrize("tenth", range(10))
def test_truncated(tmp_path, tenth):
    path = write(tmp_path / "a.zip", [("a", bytes(range(256)) * 8), ("b", b"x" * 100)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * tenth // 10])
    with pytest.raises(FormatError, match="damaged zip"):
        _zip.Archive(Source(path))


def test_damaged_content(tmp_path):
    path = write(tmp_path / "a.zip", [("a", b"content")])
    path.write_bytes(path.read_bytes().replace(b"content", b"c0ntent"))
    with pytest.raises(FormatError, match="'a': damaged.*CRC"):
        _zip.Archive(Source(path)).read("a")


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(_zip, "MAX_MEMBERS", 3)
    with pytest.raises(FormatError, match="at most 3 members, found 4"):
        _zip.Archive(Source(write(tmp_path / "a.zip", [(str(i), b"") for i in range(4)])))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_name(tmp_path):
    with pytest.raises(FormatError, match="'a': expected once, found twice"):
        _zip.Archive(Source(write(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")])))


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2000])
def test_encrypted(tmp_path, flag):
    path = write(tmp_path / "a.zip", [("a", b"1")])
    patch_directory(path, 8, "<H", flag)
    with pytest.raises(FormatError, match="encrypted"):
        _zip.Archive(Source(path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression(tmp_path, compression):
    with pytest.raises(FormatError, match="stored or deflated"):
        _zip.Archive(Source(write(tmp_path / "a.zip", [("a", b"1")], compression)))


def test_stored_only(tmp_path):
    path = write(tmp_path / "a.zip", [("a", b"1" * 99)], zipfile.ZIP_DEFLATED)
    _zip.Archive(Source(path))
    with pytest.raises(FormatError, match="'a': expected stored data, found it compressed"):
        _zip.Archive(Source(path)).expect_stored()


@pytest.mark.parametrize("size", [6, 8, 2**31])
def test_stored_member_that_lies_about_its_size(tmp_path, size):
    path = write(tmp_path / "a.zip", [("a", b"content")])
    patch_directory(path, 24, "<I", size)
    with pytest.raises(FormatError, match=f"'a': expected 7 bytes, found {size} declared"):
        _zip.Archive(Source(path))


def test_bomb_is_refused_before_it_unpacks(tmp_path):
    path = write(tmp_path / "a.zip", [("a", bytes(50 << 20))], zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(FormatError, match="zip bomb"):
        _zip.Archive(Source(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_many_small_bombs(tmp_path):
    members = [(str(i), bytes(_zip.FREE_BYTES)) for i in range(32)]
    with pytest.raises(FormatError, match="zip bomb"):
        _zip.Archive(Source(write(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED)))


def test_a_bias_of_zeros_is_no_bomb(tmp_path):
    archive = _zip.Archive(Source(write(tmp_path / "a.zip", [("a", bytes(16384))], zipfile.ZIP_DEFLATED)))
    assert archive.read("a") == bytes(16384)


def test_member_that_unpacks_to_more_than_it_declares(tmp_path):
    """Declares 10 bytes and holds 100 MB: no more than it declares is unpacked."""
    path = write(tmp_path / "a.zip", [("a", bytes(100 << 20))], zipfile.ZIP_DEFLATED)
    patch_directory(path, 24, "<I", 10)
    archive = _zip.Archive(Source(path))
    tracemalloc.start()
    with pytest.raises(FormatError, match="damaged"):
        archive.read("a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_member_that_unpacks_to_less_than_it_declares(tmp_path):
    path = write(tmp_path / "a.zip", [("a", b"abc")], zipfile.ZIP_DEFLATED)
    patch_directory(path, 24, "<I", 1000)
    with pytest.raises(FormatError, match="'a'.*damaged|expected 1000 bytes, found"):
        _zip.Archive(Source(path)).read("a")


def test_overlapping_members(tmp_path):
    """Many directory entries that share one body, as in the bombs that do not nest."""
    body, count = b"x" * 1000, 40
    out = io.BytesIO()
    fields = (20, 0, 0, 0, 0x21, zlib.crc32(body), len(body), len(body), 1, 0)
    out.write(b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *fields) + b"0" + body)
    start = out.tell()
    for i in range(count):
        out.write(b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, *fields[:9], 0, 0, 0, 0, 0, 0) + bytes([48 + i]))
    size = out.tell() - start
    out.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, size, start, 0))
    path = tmp_path / "a.zip"
    path.write_bytes(out.getvalue())
    with pytest.raises(FormatError, match="overlapping"):
        _zip.Archive(Source(path))


def test_directory_that_declares_gigabytes(tmp_path):
    path = write(tmp_path / "a.zip", [("a", b"1")])
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\x05\x06") + 12, 2**32 - 2)
    path.write_bytes(data)
    with pytest.raises(FormatError, match="damaged zip"):
        _zip.Archive(Source(path))
