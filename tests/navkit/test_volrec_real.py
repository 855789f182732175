"""PLUS's freehand sweep of a spine phantom: counts, means and the two volumes that PLUS made of it."""

from dataclasses import replace

import numpy as np
import pytest

from navkit import files
from navkit.geometry import inverse
from navkit.reconstruction import Volume, output_grid, reconstruct
from navkit.ultrasound import Sweep


def plus_sweep(folder, config_name: str) -> tuple[Sweep, Volume, dict[str, str]]:
    """The frames, placed and clipped as the configuration says, and PLUS's volume."""
    config = files.read_plus_config(next(folder.glob(f"*{config_name}.xml")))
    sweep = files.plus_sweep(files.read_sequence(folder / "SpinePhantomFreehand.igs.mha"), config)
    kind = "MEAN" if "MEAN" in config_name else "LATE"
    theirs = files.read_volume(next(folder.glob(f"*NN{kind}*Ref.mha")), no_data=0)
    return sweep, theirs, dict(config.reconstruction)


@pytest.fixture(scope="module")
def mean(navkit_data):
    return plus_sweep(navkit_data / "plus" / "volrec", "SpinePhantom_NN_MEAN")


@pytest.fixture(scope="module")
def late(navkit_data):
    return plus_sweep(navkit_data / "plus" / "volrec", "TRUS_D70mm_NN_LATE")


def plus_grid(sweep, said):
    spacing = tuple(float(v) for v in said["OutputSpacing"].split())
    return output_grid(sweep, spacing_mm=spacing, orientation="reference", extent="clip")


def oracle(sweep: Sweep, grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count and sum per voxel in double precision, and which voxels a pixel on a border may have missed."""
    nz, ny, nx = grid.shape
    rows, columns = np.nonzero(sweep.sector.mask())
    px = np.stack([columns, rows, 0 * rows, 1 + 0 * rows]).astype(float)
    count, total, tie = np.zeros(nz * ny * nx), np.zeros(nz * ny * nx), np.zeros(grid.shape, dtype=bool)
    for frame, pr_M_p in zip(sweep.frames, sweep.pr_M_p, strict=True):
        ijk = ((inverse(grid.pr_M_voxel()) @ pr_M_p) @ px)[:3] + 0.5
        index = np.floor(ijk).astype(int)
        inside = ((index >= 0) & (index < np.array([[nx], [ny], [nz]]))).all(axis=0)
        i, j, k = index[:, inside]
        flat = (k * ny + j) * nx + i
        count += np.bincount(flat, minlength=count.size)
        total += np.bincount(flat, weights=frame[rows, columns][inside], minlength=count.size)
        near = (np.abs(ijk - np.rint(ijk)) < 1e-9).any(axis=0)
        for shift in np.ndindex(2, 2, 2):
            beside = np.rint(ijk[:, near]).astype(int) - np.array(shift)[:, None]
            ok = ((beside >= 0) & (beside < np.array([[nx], [ny], [nz]]))).all(axis=0)
            tie[tuple(beside[::-1, ok])] = True
            beside = index[:, near] - np.array(shift)[:, None]
            ok = ((beside >= 0) & (beside < np.array([[nx], [ny], [nz]]))).all(axis=0)
            tie[tuple(beside[::-1, ok])] = True
    return count.reshape(grid.shape), total.reshape(grid.shape), tie


def test_the_grid_is_the_one_that_plus_lays(mean, late):
    for sweep, theirs, said in (mean, late):
        grid = plus_grid(sweep, said)
        assert grid.shape == theirs.grid.shape
        assert grid.spacing_mm == theirs.grid.spacing_mm
        assert np.abs(grid.pr_M_d - theirs.grid.pr_M_d).max() < 1e-3  # written with six digits


def test_every_voxel_counts_the_pixels_of_the_double_precision_oracle_and_the_mean_is_exact(mean):
    sweep, _, said = mean
    grid = plus_grid(sweep, said)
    count, total, tie = oracle(sweep, grid)
    ours = reconstruct(sweep, grid)
    assert count.max() > 30
    assert (count > 0).sum() > 300_000
    assert tie.sum() < 2000
    assert np.array_equal(ours.weight[~tie], count[~tie])
    known = (count > 0) & ~tie
    assert np.array_equal(ours.values[known], (total[known] / count[known]).astype(np.float32))


def test_plus_own_mean_is_too_dark_by_what_its_truncation_takes(mean):
    """It truncates at each insertion: 2.3 grey levels on average; we correlate by more than 0.998."""
    sweep, theirs, said = mean
    ours = reconstruct(sweep, plus_grid(sweep, said))
    both = (ours.weight > 0) & np.isfinite(theirs.values)
    assert both.sum() > 160_000
    assert np.corrcoef(ours.values[both], theirs.values[both])[0, 1] > 0.998
    pasted = ours.weight > 0
    brighter = ours.values[pasted] - np.nan_to_num(theirs.values[pasted])
    assert brighter.mean() == pytest.approx(2.3, abs=0.2)


def test_the_last_grey_is_that_of_plus_latest_within_the_drift_of_its_fixed_point(late):
    """PLUS made this volume with 14 binary digits: over 612 columns and 596 rows a position drifts by up to
    (612 + 596 + 1) / 2**15 = 0.037 voxels, so the last pixel of a voxel may be the next one. Allowing that
    much, 99 % of the pasted voxels agree; without, 92 %, and the whole correlates by more than 0.998.
    """
    sweep, theirs, said = late
    grid = plus_grid(sweep, said)
    drift = 0.037 * 0.5
    agree = np.zeros(grid.shape, dtype=bool)
    for share in (0.5, 1.0):
        for step in np.ndindex(3, 3, 3):
            pr_M_d = grid.pr_M_d.copy()
            pr_M_d[:3, 3] += share * drift * (np.array(step) - 1)
            moved = reconstruct(sweep, replace(grid, pr_M_d=pr_M_d), compounding="last")
            agree |= np.abs(moved.values - theirs.values) <= 2
    ours = reconstruct(sweep, grid, compounding="last")
    both = (ours.weight > 0) & np.isfinite(theirs.values)
    assert both.sum() > 59_000
    assert agree[both].mean() > 0.99
    exact = np.abs(ours.values - theirs.values)[both] <= 2
    assert exact.mean() == pytest.approx(0.92, abs=0.01)
    assert np.corrcoef(ours.values[both], theirs.values[both])[0, 1] > 0.998
    first = reconstruct(sweep, grid, compounding="first")
    assert (np.abs(first.values - theirs.values)[both] <= 2).mean() < 0.3


def test_fixed_point_as_plus_uses_it_gives_its_volume(late):
    """The same frames pasted with 14 binary digits, in numpy: 98.9 % agree. So it is PLUS that is rounded."""
    sweep, theirs, said = late
    grid = plus_grid(sweep, said)
    rows, columns = np.nonzero(sweep.sector.mask())
    values = np.full(grid.shape, np.nan)
    for frame, pr_M_p in zip(sweep.frames, sweep.pr_M_p, strict=True):
        m = np.rint((inverse(grid.pr_M_voxel()) @ pr_M_p)[:3] * 2**14).astype(np.int64)
        ijk = (m[:, :1] * columns + m[:, 1:2] * rows + m[:, 3:] + 2**13) >> 14
        inside = ((ijk >= 0) & (ijk < np.array(grid.shape[::-1])[:, None])).all(axis=0)
        values[tuple(ijk[::-1, inside])] = frame[rows, columns][inside]
    both = np.isfinite(values) & np.isfinite(theirs.values)
    assert (np.abs(values - theirs.values)[both] <= 2).mean() > 0.985


def test_the_command_line_reads_plus_and_writes_where_the_patient_lies(
    navkit_data, mean, tmp_path, monkeypatch, capsys
):
    import SimpleITK as sitk

    from navkit.__main__ import app, run

    folder = navkit_data / "plus" / "volrec"
    config = next(folder.glob("*SpinePhantom_NN_MEAN.xml"))
    source, out = folder / "SpinePhantomFreehand.igs.mha", tmp_path / "spine.mha"
    options = ["--spacing", "1.5", "--method", "splat", "--fill", "convolution"]
    plain = ["navkit", "reconstruct", str(source), "-o", str(out)]
    monkeypatch.setattr("sys.argv", [*plain, "--config", str(config), *options])
    assert run(app) == 0
    assert "from 21 of 21 frames (splat, mean)" in capsys.readouterr().out
    sweep, _, _ = mean
    grid = output_grid(sweep, spacing_mm=1.5)
    image = sitk.ReadImage(str(out))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    assert np.abs(direction - grid.pr_M_d[:3, :3]).max() < 1e-6
    assert np.abs(direction - np.eye(3)).max() > 0.1
    assert image.GetSize() == grid.shape[::-1]
    again = files.read_volume(out, no_data=0)
    assert np.allclose(again.grid.pr_M_d, grid.pr_M_d, atol=1e-6)
    expected = reconstruct(sweep, grid, method="splat", fill="convolution")
    both = np.isfinite(again.values) & np.isfinite(expected.values)
    assert both.sum() > 0.9 * np.isfinite(expected.values).sum() > 1000
    assert np.abs(again.values - expected.values)[both].max() <= 1.0
    monkeypatch.setattr("sys.argv", plain)
    assert run(app) == 2
    assert "expected --config FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ClipRectangleSize": "a b"}, "ClipRectangleSize='a b'; expected 2 numbers"),
        ({"FanAnglesDeg": "-20 40"}, "only fans about the middle are read"),
    ],
)
def test_a_configuration_that_does_not_fit_is_a_sentence(navkit_data, change, sentence):
    folder = navkit_data / "plus" / "volrec"
    config = files.read_plus_config(next(folder.glob("*SpinePhantom_NN_MEAN.xml")))
    wrong = replace(config, reconstruction={**config.reconstruction, **change})
    with pytest.raises(files.FileError, match=sentence):
        files.plus_sweep(files.read_sequence(folder / "SpinePhantomFreehand.igs.mha"), wrong)
    bare = replace(config, transforms={})
    with pytest.raises(files.FileError, match="no way from Image to Reference"):
        files.plus_sweep(files.read_sequence(folder / "SpinePhantomFreehand.igs.mha"), bare)
