"""Surgical navigation with ultrasound: tracking, calibration, registration, reconstruction.

The rooms, in reading order. Each imports only from those above it::

    geometry        rigid transforms, CustusX's notation: p_q = q_M_r @ p_r
    phantoms        objects whose truth is known
    tracking        streams of poses
    ultrasound      the probe's sector, sweeps, simulated pictures
    calibration     pivot, probe, delay
    registration    paired points, surfaces, images; the error theory
    reconstruction  sweep to volume
    planning        slice planes of a view
    files           CustusX, PLUS, Slicer: in and out
    datasets        named data with recipes and hashes
    viewing         every figure
    checking        self-checks that speak; stands alone

Lengths are millimetres, angles radians, times seconds. Nothing heavy is imported here.
For teaching and research; not a medical device.
"""

__version__ = "2026.1.0"
