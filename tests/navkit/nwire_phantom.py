"""PLUS's fCal 2.0 phantom and the recording of it, for the tests of N-wires."""

import numpy as np

# Three N's on layers of 20, 10 and 0 mm; the wires run along y from 0 to 40 mm.
LAYERS = [
    (20.0, (30, 30), (55, 35), (60, 60)),
    (10.0, (30, 30), (35, 55), (60, 60)),
    (0.0, (35, 35), (55, 40), (60, 60)),
]
WIRES = np.array([[[[x0, 0, z], [x1, 40, z]] for x0, x1 in wires] for z, *wires in LAYERS], dtype=float)


def each(m, points):
    """Every pose (n, 4, 4) on its own points (n, k, 3)."""
    return np.einsum("nij,nkj->nki", m[:, :3, :3], points) + m[:, None, :3, 3]


def plus_frames(report, part):
    """Dots and poses of PLUS's own report: (n, 3, 3, 2), ProbeToTracker and ReferenceToTracker (n, 4, 4)."""
    dots, probe, reference = [], [], []
    for frame in report.find(part):
        points = frame.find("SegmentedPoints")
        if frame.get("SegmentationStatus") != "OK" or points is None:
            continue
        dots.append([[float(v) for v in p.get("Position").split()[:2]] for p in points])
        fields = {f.get("Name"): f.get("Value") for f in frame.iter("CustomFrameField")}
        for name, found in (("Probe", probe), ("Reference", reference)):
            found.append([float(v) for v in fields[f"{name}ToTrackerTransform"].split()])
    shape = (-1, 4, 4)
    return np.array(dots).reshape(-1, 3, 3, 2), np.reshape(probe, shape), np.reshape(reference, shape)
