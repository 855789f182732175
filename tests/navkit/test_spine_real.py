"""PLUS's freehand sweep of a spine phantom against the volume that PLUS made of it."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from navkit import files
from navkit.geometry import inverse
from navkit.reconstruction import Grid, reconstruct
from navkit.ultrasound import ProbeSector, Sweep


@pytest.fixture(scope="module")
def spine(navkit_data):
    folder = navkit_data / "plus" / "volrec"
    sequence = files.read_sequence(folder / "SpinePhantomFreehand.igs.mha")
    config = ET.parse(next(folder.glob("*SpinePhantom_NN_MEAN.xml"))).getroot()
    image = next(t for t in config.iter("Transform") if t.get("From") == "Image")
    probe_M_p = np.array([float(v) for v in image.get("Matrix").split()]).reshape(4, 4)
    probe, reference = (sequence.transforms[f"{name}ToTracker"] for name in ("Probe", "Reference"))
    pr_M_p = inverse(reference.pose) @ probe.pose @ probe_M_p
    _, height, width = sequence.frames.shape
    everything = ProbeSector(
        "linear", 1e3, (0, 1e3), (width / 2, 0), (1, 1), (0, width - 1, 0, height - 1), (height, width)
    )
    valid = probe.valid & reference.valid & sequence.image_valid
    sweep = Sweep(sequence.frames, sequence.time_s, pr_M_p, everything, valid, "spine")
    return sweep, files.read_volume(folder / "vtkVolumeReconstructorTestNNMEANvolumeRef.mha")


def test_the_mean_correlates_with_plus_own_volume_and_is_not_too_dark(spine):
    """PLUS truncates at each of up to 42 insertions: on average its mean is 2.3 grey levels too dark."""
    sweep, theirs = spine
    assert sweep.valid.all()
    grid = Grid(theirs.values.shape, theirs.grid.spacing_mm, theirs.grid.pr_M_d)
    ours = reconstruct(sweep, grid, compounding="mean")
    both = (ours.weight > 0) & (theirs.values > 0)
    assert both.sum() > 160_000
    assert np.corrcoef(ours.values[both], theirs.values[both])[0, 1] > 0.998
    pasted = ours.weight > 0
    brighter = ours.values[pasted] - theirs.values[pasted]
    assert brighter.mean() == pytest.approx(2.3, abs=0.3)


def test_a_picture_in_another_orientation_does_not_fit(spine):
    sweep, theirs = spine
    grid = Grid(theirs.values.shape, theirs.grid.spacing_mm, theirs.grid.pr_M_d)

    def fit(frames):
        turned = Sweep(frames, sweep.time_s, sweep.pr_M_p, sweep.sector, sweep.valid, sweep.name)
        ours = reconstruct(turned, grid, compounding="mean")
        both = (ours.weight > 0) & (theirs.values > 0)
        return np.corrcoef(ours.values[both], theirs.values[both])[0, 1]

    assert fit(sweep.frames) > 0.998
    assert fit(sweep.frames[:, :, ::-1]) < 0.95
    assert fit(sweep.frames[:, ::-1]) < 0.5
