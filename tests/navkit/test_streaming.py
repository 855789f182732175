"""Recordings larger than memory: frames stay on disk, are read in blocks, and are the same to the byte."""

import subprocess
import sys
import tempfile
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from sweeps import hand_sweep
from test_sequences import MF, STORED, H, N, W, broken, written

from navkit import files
from navkit.files import _pixels

FRAME = H * W


@pytest.fixture(params=[False, True], ids=["memory", "disk"])
def on_disk(request):
    return request.param


@pytest.fixture(params=[1, 3 * FRAME + 1, 5 * 36 * 27])
def block(request, monkeypatch):
    """Blocks of one frame, of three of the small ones and the one left over, of five of `hand_sweep`'s 14."""
    monkeypatch.setattr(_pixels, "BLOCK", request.param)
    monkeypatch.setattr(_pixels, "PIECE", 7)


def is_mapped(frames) -> bool:
    return isinstance(frames, np.memmap) and not frames.flags.writeable


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("compressed", [False, True])
def test_frames_are_the_same_from_disk_whatever_the_blocks(
    tmp_path, rng, block, on_disk, orientation, compressed
):
    written(tmp_path / "s.mha", rng, orientation=orientation, compressed=compressed)
    sequence = files.read_sequence(tmp_path / "s.mha", on_disk=on_disk)
    assert np.array_equal(sequence.frames, MF)
    assert is_mapped(sequence.frames) == on_disk


@pytest.mark.parametrize("compressed", [False, True])
def test_pixels_beside_the_header_may_stay_on_disk(tmp_path, rng, compressed):
    written(tmp_path / "s.mhd", rng, beside=True, compressed=compressed)
    frames = files.read_sequence(tmp_path / "s.mhd", on_disk=True).frames
    assert np.array_equal(frames, MF)
    assert is_mapped(frames)


def test_frames_of_more_bytes_and_an_incompressible_stream(tmp_path, rng, block, on_disk):
    deep = rng.integers(0, 2**16, size=(N, H, W), dtype="<u2")
    head = f"DimSize = {W}  {H}    {N}    \nElementType = MET_USHORT\nCompressedData = True\n"
    data = zlib.compress(deep.tobytes(), 0)
    (tmp_path / "s.mha").write_bytes(f"{head}ElementDataFile = LOCAL\n".encode() + data + b"\n\n")
    frames = files.read_sequence(tmp_path / "s.mha", on_disk=on_disk).frames
    assert frames.dtype == np.uint16
    assert np.array_equal(frames, deep)


def repixelled(folder: Path, pixels: np.ndarray, *, compressed: bool) -> None:
    """Other pixels, grey or colour, for the frames of an acquisition."""
    parts = sorted(folder.glob("*.mhd"), key=lambda p: int(p.stem.partition("_")[2] or 0))
    for path, own in zip(parts, np.split(pixels, len(parts)), strict=True):
        raw = own.tobytes()
        path.with_suffix(".raw").write_bytes(zlib.compress(raw) if compressed else raw)
        text = path.read_text(encoding="utf-8").replace(
            "CompressedData = False", f"CompressedData = {compressed}"
        )
        channels = f"ElementNumberOfChannels = {pixels[0, 0, 0].size}\n"
        path.write_text(text.replace("Modality", f"{channels}Modality"), encoding="utf-8")


@pytest.mark.parametrize("layout", ["stack", "frames"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_acquisition_is_the_same_from_disk(tmp_path, rng, block, on_disk, layout, colour, compressed):
    sweep = hand_sweep(rng)
    files.write_acquisition(sweep, tmp_path, layout=layout)
    pixels, exact = sweep.frames, 100 * sweep.frames.astype(int)
    if colour:
        pixels = np.stack([pixels, pixels[:, ::-1], pixels[..., ::-1]], axis=-1)
        exact = pixels.astype(int) @ [30, 59, 11]
    repixelled(tmp_path, pixels, compressed=compressed)
    back = files.read_acquisition(tmp_path, on_disk=on_disk)
    off = 100 * back.frames.astype(int) - exact
    assert off.min() > -50, "rounded to the nearest"
    assert off.max() <= 50, "and from the middle upwards"
    assert is_mapped(back.frames) == on_disk


def test_a_sweep_from_disk_gives_the_same_volume_whole_or_in_blocks(tmp_path, rng):
    from navkit.reconstruction import Reconstructor, output_grid, reconstruct

    files.write_acquisition(hand_sweep(rng), tmp_path)
    whole = files.read_acquisition(tmp_path)
    sweep = files.read_acquisition(tmp_path, on_disk=True)
    grid = output_grid(sweep)
    live = Reconstructor(grid, sweep.sector)
    for k in range(0, len(sweep), 5):
        part = slice(k, k + 5)
        live.insert(sweep.frames[part], sweep.pr_M_p[part], valid=sweep.valid[part])
    expected = reconstruct(whole)
    for volume in (reconstruct(sweep), live.volume()):
        assert volume.values.tobytes() == expected.values.tobytes()
        assert np.array_equal(volume.weight, expected.weight)
    for method in ("splat", "vnn"):
        one, two = (reconstruct(s, grid, method=method).values for s in (sweep, whole))
        assert one.tobytes() == two.tobytes(), method


# ---- where the frames are --------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_frames_that_would_take_half_of_the_free_memory_stay_on_disk(tmp_path, rng, monkeypatch, compressed):
    written(tmp_path / "s.mha", rng, compressed=compressed)
    free = namedtuple("Memory", "available")
    for bytes_free, stays in ((2 * N * FRAME - 1, True), (2 * N * FRAME, False)):
        monkeypatch.setattr("psutil.virtual_memory", lambda n=bytes_free: free(n))
        assert is_mapped(files.read_sequence(tmp_path / "s.mha").frames) == stays


def test_the_temporary_file_goes_with_the_array_and_with_a_failure(tmp_path, rng, monkeypatch):
    written(tmp_path / "s.mha", rng, compressed=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    sequence = files.read_sequence(tmp_path / "s.mha", on_disk=True)
    assert is_mapped(sequence.frames)
    del sequence
    (tmp_path / "s.mha").write_bytes((tmp_path / "s.mha").read_bytes()[:-9])
    with pytest.raises(files.FileError, match="end early"):
        files.read_sequence(tmp_path / "s.mha", on_disk=True)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_too_small_a_disk_is_named_before_anything_is_written(tmp_path, rng, monkeypatch):
    written(tmp_path / "s.mha", rng, compressed=True)
    room = namedtuple("Room", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: room(N * FRAME - 1))
    with pytest.raises(files.FileError, match=r"need 0\.0 GB on disk and 0\.0 GB are free in .*TMPDIR"):
        files.read_sequence(tmp_path / "s.mha", on_disk=True)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: room(N * FRAME))
    assert files.read_sequence(tmp_path / "s.mha", on_disk=True).frames.shape == (N, H, W)


def test_what_is_not_compressed_needs_no_second_place_on_disk(tmp_path, rng, monkeypatch):
    written(tmp_path / "s.mha", rng, orientation="UNA")
    files.write_acquisition(hand_sweep(rng), tmp_path / "acq")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: pytest.fail("a temporary file is asked for"))
    frames = files.read_sequence(tmp_path / "s.mha", on_disk=True).frames
    with (tmp_path / "s.mha").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xfe")
    assert frames[-1, 0, 0] == 254, (
        "the last pixel of the file is the first of the last frame, both ways turned"
    )
    assert is_mapped(files.read_acquisition(tmp_path / "acq", on_disk=True).frames)


# ---- what is broken --------------------------------------------------------------------------------------


def stream(change):
    """Another zlib stream, of changed pixels, in the file of compressed frames."""

    def break_it(path):
        raw = path.read_bytes()
        path.write_bytes(raw.replace(zlib.compress(MF.tobytes()), change(MF.tobytes())))

    return break_it


def cut(count):
    return lambda path: path.write_bytes(path.read_bytes()[:-count])


COMPRESSED = {
    "cut in frame 2": (
        stream(lambda raw: zlib.compress(raw, 0)[: -4 - FRAME - 3]),
        "damaged (incomplete or truncated stream); DimSize = 5 3 4 expects 4 frames, and the first 2",
    ),
    "checksum cut off": (
        cut(2),
        "incomplete or truncated stream); DimSize = 5 3 4 expects 4 frames, and the first 4",
    ),
    "another checksum": (
        stream(lambda raw: zlib.compress(raw)[:-1] + b"x"),
        "damaged (Error -3 while decompressing data: incorrect data check); DimSize = 5 3 4 expects",
    ),
    "no stream": (
        stream(lambda raw: b"frames"),
        "unknown compression method); DimSize = 5 3 4 expects 4 frames, and the first 0",
    ),
    "a frame more": (
        stream(lambda raw: zlib.compress(raw + raw[:FRAME])),
        "s.mha holds more than 60 bytes of pixels; DimSize = 5 3 4 expects 60 (4 frames of 15). Do header",
    ),
    "a frame and a bit less": (
        stream(lambda raw: zlib.compress(raw[: 2 * FRAME + 4])),
        "s.mha holds 34 bytes of pixels; DimSize = 5 3 4 expects 60 (4 frames of 15). Frame 2 is the first",
    ),
}
PLAIN = {
    "cut in frame 2": (cut(FRAME + 3), "holds 42 bytes of pixels; DimSize = 5 3 4 expects 60"),
    "a byte more": (
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        "s.mha holds 61 bytes of pixels; DimSize = 5 3 4 expects 60 (4 frames of 15). Do header and pixels",
    ),
    "more frames said": (
        lambda path: broken(path, b"5   3 4  ", b"5   3 120"),
        "s.mha holds 60 bytes of pixels; DimSize = 5 3 120 expects 1800 (120 frames of 15). Frame 4 is",
    ),
    "absurdly many frames said": (
        lambda path: broken(path, b"4            \n", b"4000000000000\n"),
        "expects 60000000000000 (4000000000000 frames of 15). Frame 4 is the first",
    ),
    "a size that is no number": (lambda path: broken(path, b"  3 4 ", b" 3 4 x"), "expected width, height"),
}


@pytest.mark.parametrize("what", COMPRESSED)
def test_a_compressed_sequence_that_does_not_fit_is_one_sentence(tmp_path, rng, block, on_disk, what):
    written(tmp_path / "s.mha", rng, compressed=True)
    break_it, sentence = COMPRESSED[what]
    break_it(tmp_path / "s.mha")
    with pytest.raises(files.FileError) as told:
        files.read_sequence(tmp_path / "s.mha", on_disk=on_disk)
    assert sentence in str(told.value)


@pytest.mark.parametrize("what", PLAIN)
def test_a_plain_sequence_that_does_not_fit_is_one_sentence(tmp_path, rng, on_disk, what):
    written(tmp_path / "s.mha", rng)
    break_it, sentence = PLAIN[what]
    break_it(tmp_path / "s.mha")
    with pytest.raises(files.FileError) as told:
        files.read_sequence(tmp_path / "s.mha", on_disk=on_disk)
    assert sentence in str(told.value)


def test_a_compressed_sequence_of_absurd_size_is_refused_before_it_is_read(tmp_path, rng):
    written(tmp_path / "s.mha", rng, compressed=True)
    broken(tmp_path / "s.mha", b"4            \n", b"4000000000000\n")
    told = r"holds \d+ compressed bytes; DimSize = 5 3 4000000000000 expects 60000000000000 bytes"
    with pytest.raises(files.FileError, match=told):  # by its own size, whatever room there is
        files.read_sequence(tmp_path / "s.mha")


def test_a_sequence_of_no_frames_is_refused(tmp_path):
    head = "DimSize = 5 3 0\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "s.mha").write_text(head, encoding="utf-8")
    with pytest.raises(files.FileError, match="'5 3 0' has no frame"):
        files.read_sequence(tmp_path / "s.mha")


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (
            "hand_3.mhd",
            b"DimSize = 36 27 1",
            b"DimSize = 36 27 2",
            r"line 10 expects 1944 \(2 frames of 972\)",
        ),
        (
            "hand_3.mhd",
            b"DimSize = 36 27 1",
            b"DimSize = 36 27 0",
            "line 10: DimSize = '36 27 0'; expected width",
        ),
        (
            "hand_3.mhd",
            b"MET_UCHAR",
            b"MET_CHAR",
            "line 11: pixels are int8 with 1 channels; expected MET_UCHAR",
        ),
        ("hand_3.mhd", b"= hand_3.raw", b"= hand_4.raw", None),
    ],
)
def test_single_frames_that_do_not_fit_are_named(tmp_path, rng, on_disk, file, old, new, sentence):
    files.write_acquisition(hand_sweep(rng), tmp_path, layout="frames")
    before = files.read_acquisition(tmp_path, on_disk=on_disk).frames
    broken(tmp_path / file, old, new)
    if sentence is None:  # a frame may lie in another file: it is read there
        after = files.read_acquisition(tmp_path, on_disk=on_disk).frames
        assert np.array_equal(after[3], before[4])
        return
    with pytest.raises(files.FileError, match=rf"^{Path(file).stem}.* {sentence}"):
        files.read_acquisition(tmp_path, on_disk=on_disk)


# ---- memory ----------------------------------------------------------------------------------------------
# Linux counts a process's private writable memory (RLIMIT_DATA) and gives no more than the limit. Pages of
# mapped files do not count, for it takes them back when it wants to. The peak of resident memory would count
# them, and samples of it could miss the peak.

LIMITED = """
import math, resource, sys
import numpy as np
from navkit import files
from navkit.reconstruction import output_grid, reconstruct

def used():
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmData")).split()[1])

def limit(nbytes):
    resource.setrlimit(resource.RLIMIT_DATA, (nbytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))

def must_fail(read):
    try:
        read()
    except MemoryError:
        return
    sys.exit("the limit does not hold")

MB = 10**6
"""
STREAM = """
small, large, config = sys.argv[1:]
config = files.read_plus_config(config)

def sweep(path, on_disk):
    return files.plus_sweep(files.read_sequence(path, on_disk=on_disk), config)

warm = sweep(small, True)
reconstruct(warm, output_grid(warm, spacing_mm=0.5))  # everything is loaded, every thread has started
before = used()
limit(before + 64 * MB)
must_fail(lambda: sweep(large, False))
streamed = sweep(large, True)
grid = output_grid(streamed, spacing_mm=0.5)
limit(before + 17 * math.prod(grid.shape) + 64 * MB)
volume = reconstruct(streamed, grid)
limit(resource.getrlimit(resource.RLIMIT_DATA)[1])
expected = reconstruct(sweep(large, False), grid)
assert volume.values.tobytes() == expected.values.tobytes()
assert volume.weight.tobytes() == expected.weight.tobytes()
assert volume.weight.sum() > 0.8 * 400 * 500 * 256, volume.weight.sum()
"""
COLOUR = """
small, folder, result = sys.argv[1], sys.argv[2], int(sys.argv[3])
files.read_acquisition(small)  # everything is loaded
before = used()
limit(before + result)
must_fail(lambda: files.read_acquisition(folder))
limit(before + result + 16 * MB)
assert files.read_acquisition(folder).frames.nbytes == result
"""
CONFIG = """<PlusConfiguration><CoordinateDefinitions>
  <Transform From="Image" To="Probe" Matrix="0.08 0 0 3  0 0.08 0 -5  0 0 0.08 0  0 0 0 1" />
  </CoordinateDefinitions><VolumeReconstruction ClipRectangleOrigin="150 20" ClipRectangleSize="400 500" />
</PlusConfiguration>"""


def run_limited(code: str, *arguments: object) -> str:
    """What a process of its own, with its memory limited, complains of: "" if all of it held."""
    if sys.platform != "linux":
        pytest.skip("only Linux limits a process's own memory")
    command = [sys.executable, "-c", LIMITED + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def repeated(part: bytes, times: int) -> bytes:
    """A zlib stream of `part` many times over; it is compressed only once."""
    deflate = zlib.compressobj(1, wbits=-15)
    body = deflate.compress(part) + deflate.flush(zlib.Z_FULL_FLUSH)
    check = 1
    for _ in range(times):
        check = zlib.adler32(part, check)
    return b"\x78\x01" + body * times + b"\x03\x00" + check.to_bytes(4, "big")


def long_sequence(path: Path, n: int, *, compressed: bool) -> None:
    """`n` frames of 1000 x 1000 pixels, every eighth the same, 0.1 mm apart, stored from far to near."""
    ramp = np.add.outer(7 * np.arange(8), 3 * np.arange(1000)) % 251
    part = np.repeat(ramp.astype(np.uint8)[..., None], 1000, axis=2).tobytes()
    lines = ["NDims = 3", f"CompressedData = {compressed}", f"DimSize = 1000 1000 {n}"]
    lines += ["ElementType = MET_UCHAR", "UltrasoundImageOrientation = UNA"]
    for k in range(n):
        lines.append(f"Seq_Frame{k:04d}_ProbeToReferenceTransform = 1 0 0 2 0 1 0 7 0 0 1 {0.1 * k} 0 0 0 1")
    with path.open("wb") as file:
        file.write("\n".join([*lines, "ElementDataFile = LOCAL", ""]).encode())
        if compressed:
            file.write(repeated(part, n // 8))
        else:
            file.write(part)
            file.truncate(file.tell() + (n - 8) * 10**6)  # zeros that take no room


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
def test_256_mb_of_frames_are_reconstructed_in_64_mb_beside_the_volume(tmp_path, compressed):
    (tmp_path / "config.xml").write_text(CONFIG, encoding="utf-8")
    long_sequence(tmp_path / "small.mha", 8, compressed=compressed)
    long_sequence(tmp_path / "large.mha", 256, compressed=compressed)
    given = tmp_path / "small.mha", tmp_path / "large.mha", tmp_path / "config.xml"
    assert run_limited(STREAM, *given) == ""


def test_a_colour_acquisition_is_read_in_16_mb_beside_its_frames(tmp_path, rng):
    from navkit.ultrasound import ProbeSector, Sweep

    base = hand_sweep(rng, n=40)
    files.write_acquisition(base, tmp_path / "small")
    sector = ProbeSector("linear", 60.0, (0, 60), (300, 0), (0.1, 0.1), (0, 599, 0, 599), (600, 600))
    frames = np.repeat(rng.integers(0, 256, size=(40, 600, 1), dtype=np.uint8), 600, axis=2)
    poses = base.pr_M_p @ np.linalg.inv(base.sector.t_M_p()) @ sector.t_M_p()
    sweep = Sweep(frames, base.time_s, poses, sector, base.valid, "large")
    files.write_acquisition(sweep, tmp_path)
    repixelled(tmp_path, np.repeat(frames[..., None], 3, axis=-1), compressed=True)
    assert run_limited(COLOUR, tmp_path / "small", tmp_path, frames.size) == ""
