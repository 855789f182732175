"""Frames as they come, in blocks and out of core, by any number of threads: the same bytes as the batch."""

import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import psutil
import pytest
from reconstructions import EVERY, oblique_grid, same
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep

from navkit.geometry import pose_from
from navkit.reconstruction import Grid, Reconstructor, output_grid, reconstruct
from navkit.ultrasound import ProbeSector, Sweep


@pytest.mark.parametrize(("method", "compounding"), EVERY)
def test_threads_and_blocks_do_not_change_a_byte(rng, method, compounding):
    sweep = hand_sweep(rng, n=20)
    sweep = replace(sweep, valid=np.arange(20) % 7 != 3)
    keywords = {"method": method, "compounding": compounding}
    for grid in (oblique_grid(sweep), output_grid(sweep, spacing_mm=0.35)):
        batch = reconstruct(sweep, grid, threads=1, **keywords)
        assert batch.weight[[0, -1]].any(axis=(1, 2)).all()  # up to the outermost layers
        for threads in (2, 4, 7):
            assert same(batch, reconstruct(sweep, grid, threads=threads, **keywords))
        live = Reconstructor(grid, sweep.sector, threads=2, **keywords)
        for n in np.flatnonzero(sweep.valid):  # one after another, looking in between
            live.insert(sweep.frames[n], sweep.pr_M_p[n])
            if n == 5:
                live.volume()
        assert same(batch, live.volume())
        live = Reconstructor(grid, sweep.sector, threads=3, **keywords)
        for n in range(0, 20, 6):
            block = slice(n, n + 6)
            live.insert(sweep.frames[block], sweep.pr_M_p[block], valid=sweep.valid[block])
        assert same(batch, live.volume())


def test_where_the_frames_lie_does_not_matter(rng):
    sweep = hand_sweep(rng)
    grid = output_grid(sweep, spacing_mm=0.5)
    plain = reconstruct(sweep, grid)
    frozen = np.frombuffer(sweep.frames.tobytes(), np.uint8).reshape(sweep.frames.shape)
    for frames in (frozen, np.asfortranarray(sweep.frames), np.repeat(sweep.frames, 2, axis=2)[:, :, ::2]):
        assert same(plain, reconstruct(replace(sweep, frames=frames), grid))
    assert not frozen.flags.writeable


def test_progress_counts_frames_that_every_thread_has_done(rng):
    sweep = hand_sweep(rng, n=30)
    grid = output_grid(sweep, spacing_mm=0.5)
    told = []
    live = Reconstructor(grid, sweep.sector, threads=3)
    live.insert(sweep.frames, sweep.pr_M_p, progress=lambda done, of: told.append((done, of)))
    assert told == [(n, 30) for n in range(1, 31)]


# ---- more pixels in a voxel than 32 bits hold ------------------------------------------------------------


def dwell(greys: np.ndarray) -> tuple[Grid, ProbeSector, np.ndarray]:
    """A grid whose voxels take 7 x 5 pixels of a frame each, and a pose straight through its middle layer."""
    height, width = greys.shape[1:]
    clip = 0, width - 1, 0, height - 1
    sector = ProbeSector("linear", 1e3, (0, 1e3), (0, 0), (1.0, 1.0), clip, (height, width))
    grid = Grid((3, height // 5, width // 7), (7.0, 5.0, 1.0), pose_from(np.eye(3), [3.0, 2.0, -1.0]))
    return grid, sector, np.eye(4)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_probe_at_rest_fills_no_voxel_to_overflowing(rng, channels):
    """500 frames in one place put 17,500 pixels into a voxel, four times what a short word holds."""
    greys = rng.integers(200, 256, size=(channels, 500, 20, 42), dtype=np.uint8)
    greys[:, :, :5, :7] = 255  # one voxel has the largest sum there is
    grid, sector, pose = dwell(greys[0])
    live = Reconstructor(grid, sector, channels=channels, threads=3)
    block = greys if channels > 1 else greys[0]
    live.insert(block[..., :300, :, :], np.repeat(pose[None], 300, axis=0))
    half = live.volumes()
    live.insert(block[..., 300:, :, :], np.repeat(pose[None], 200, axis=0))
    for volume, early, grey in zip(live.volumes(), half, greys, strict=True):
        assert (volume.weight[1] == 17_500).all()
        assert (early.weight[1] == 10_500).all()
        assert not volume.weight[[0, 2]].any()
        sums = grey.astype(int).reshape(500, 4, 5, 6, 7).sum(axis=(0, 2, 4))
        assert np.array_equal(volume.values[1], (sums / 17_500).astype(np.float32))
    assert live.volume().values[1, 0, 0] == 255


@pytest.mark.parametrize("width", [2047, 2048, 5000])
def test_a_row_in_one_voxel_counts_every_pixel(width):
    frames = np.full((3, 2, width), 255, np.uint8)
    sector = ProbeSector("linear", 1e5, (0, 1e3), (0, 0), (1.0, 1.0), (0, width - 1, 0, 1), (2, width))
    grid = Grid((2, 2, 2), (1e5, 1e5, 1e5), np.eye(4))
    live = Reconstructor(grid, sector)
    live.insert(frames, np.repeat(np.eye(4)[None], 3, axis=0))
    assert live.volume().weight.ravel().tolist() == [6 * width, 0, 0, 0, 0, 0, 0, 0]
    assert live.volume().values[0, 0, 0] == 255


# ---- larger than memory ----------------------------------------------------------------------------------


def long_sweep(tmp_path, n: int = 600) -> tuple[Sweep, Grid]:
    """36 MB of frames in a file, mapped; a volume of 12,000 voxels."""
    sector = ProbeSector("linear", 30.0, (0, 20), (149.5, 0), (0.1, 0.1), (0, 299, 0, 199), (200, 300))
    s = np.linspace(-1, 1, n)[:, None]
    turn = Rotation.from_euler("xyz", [10, -20, 30] + s * [3, 4, 2], degrees=True)
    frames = np.memmap(tmp_path / "frames.raw", np.uint8, "w+", shape=(n, 200, 300))
    for k in range(n):
        frames[k] = np.add.outer(np.arange(200), np.arange(300) + 3 * k) % 251
    frames.flush()
    frames = np.memmap(tmp_path / "frames.raw", np.uint8, "r", shape=(n, 200, 300))
    pose = pose_from(turn, s * [9.0, 1.0, 2.0]) @ sector.t_M_p()
    sweep = Sweep(frames, np.arange(n) / 25, pose, sector, np.arange(n) % 9 != 4, "long")
    return sweep, output_grid(sweep, spacing_mm=1.0)


def peak_bytes(work) -> tuple[int, object]:
    """The most memory that Python and numpy held at once, beyond what was there; without mapped files."""
    work()  # compiled and warm
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", ["pnn", "splat"])
def test_a_mapped_sweep_needs_the_volume_and_a_few_frames(tmp_path, method):
    sweep, grid = long_sweep(tmp_path)
    voxels, frame = np.prod(grid.shape), sweep.frames[0].nbytes
    peak, volume = peak_bytes(lambda: reconstruct(sweep, grid, method=method, threads=2))
    padded = np.prod(np.add(grid.shape, (4, 2, 2))) / voxels if method == "splat" else 1.0
    each = 17 if method == "splat" else 13 + 8  # the last are asked for and not taken
    assert peak < each * padded * voxels + 50 * frame  # most of the 50 is the sector's mask in the making
    assert peak < sweep.frames.nbytes / 10
    in_memory = replace(sweep, frames=np.array(sweep.frames))
    assert same(volume, reconstruct(in_memory, grid, method=method))


def test_compressed_frames_stream_in_blocks(tmp_path):
    sweep, grid = long_sweep(tmp_path)
    (tmp_path / "frames.z").write_bytes(zlib.compress(sweep.frames.tobytes(), 1))
    size, block = sweep.frames[0].nbytes, 16

    def stream():
        live = Reconstructor(grid, sweep.sector, threads=2)
        unpack, done, rest = zlib.decompressobj(), 0, b""
        with (tmp_path / "frames.z").open("rb") as packed:
            while done < len(sweep):
                few = min(block, len(sweep) - done)
                raw = bytearray()
                while len(raw) < few * size:
                    raw += unpack.decompress(rest or packed.read(65536), few * size - len(raw))
                    rest = unpack.unconsumed_tail
                here = slice(done, done + few)
                frames = np.frombuffer(raw, np.uint8).reshape(few, *sweep.sector.shape)
                live.insert(frames, sweep.pr_M_p[here], valid=sweep.valid[here])
                done += few
        return live.volume()

    peak, volume = peak_bytes(stream)
    assert same(volume, reconstruct(sweep, grid))
    assert peak < sweep.frames.nbytes / 3


def test_the_estimate_covers_what_is_allocated(tmp_path, monkeypatch):
    """Large enough that nothing else counts: the peak is at most the estimate, and not far below it."""
    sweep, _ = long_sweep(tmp_path, n=12)
    grid = output_grid(sweep, spacing_mm=0.15)
    asked = []
    monkeypatch.setattr(
        "navkit.reconstruction._live.demand_memory",
        lambda shape, spacing_mm, each: asked.append(each * np.prod(shape)),
    )
    for keywords, untouched in (({}, 8), ({"compounding": "max"}, 0), ({"method": "splat"}, 0)):
        peak, _ = peak_bytes(lambda keywords=keywords: reconstruct(sweep, grid, threads=2, **keywords))
        peak -= untouched * np.prod(grid.shape)
        assert 0.8 * asked[-1] < peak < 1.05 * asked[-1] + 1e6


def test_what_a_short_word_cannot_hold_takes_memory_only_when_it_is_needed(rng):
    """Pages that nobody has touched are not the process's: its own count of bytes tells."""
    process = psutil.Process()
    grid = Grid((200, 200, 200), (1.0, 1.0, 1.0), np.eye(4))
    sweep = hand_sweep(rng)
    before = process.memory_info().rss
    live = Reconstructor(grid, sweep.sector, threads=1)
    live.insert(sweep.frames, sweep.pr_M_p)
    assert process.memory_info().rss - before < 4 * 200**3


def test_a_grid_of_a_million_million_voxels_is_refused_at_once(rng):
    sweep = hand_sweep(rng)
    grid = Grid((10_000, 10_000, 10_000), (1e-3, 1e-3, 1e-3), np.eye(4))
    for keywords, needed in (({}, 13), ({"compounding": "last"}, 17), ({"method": "splat"}, 17)):
        with pytest.raises(ValueError, match=rf"need {needed}000\.0 GB of memory .* Take a larger spacing"):
            reconstruct(sweep, grid, **keywords)


def test_frames_of_another_size_or_type_are_refused_and_nothing_is_inserted(rng):
    sweep = hand_sweep(rng)
    live = Reconstructor(output_grid(sweep, spacing_mm=0.6), sweep.sector)
    for frames in (sweep.frames[:, :-1], sweep.frames.astype(float), sweep.frames[:3]):
        with pytest.raises(ValueError, match="Were they cropped or scaled"):
            live.insert(frames, sweep.pr_M_p)
    pose = sweep.pr_M_p.copy()
    pose[13] = np.inf
    with pytest.raises(ValueError, match="frame 13 is not finite"):
        live.insert(sweep.frames, pose)
    assert not live.volume().weight.any()
    with pytest.raises(ValueError, match="method is 'vnn'; expected 'pnn' or 'splat'"):
        Reconstructor(live.grid, sweep.sector, method="vnn")
