"""What things are called on the wire: the dialects of CustusX and of 3D Slicer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """Device names of one dialect, of at most 20 ASCII characters each; CustusX's unless given.

    Both follow PLUS: a pose is ``<tool>To<space>``, a picture ``<image>_<space>``, with the space that the
    matrix leads to.

    * CustusX gives a tool the TRANSFORM whose device name equals its ``openigtlinktransformid``, and a probe
      the IMAGE whose device name equals its ``openigtlinkimageid`` (its manual calls PLUS' rule
      ``ImageName_EmbeddedTransform``). It ignores the matrix of an IMAGE, and with
      ``openigtlinkApplyRefToTools="yes"`` it puts the reference in itself.
    * Slicer wants tools relative to the reference, and reads every space as RAS. The reference's space is LPS
      in the events and turned on the wire (`ras`); turn it off where the scene has its own ReferenceToRas.

    Attributes
    ----------
    probe, pointer, reference, image, status
        Device names of the TRANSFORMs, the IMAGE and the STATUS.
    ras
        True where matrices that lead to the reference travel in RAS.

    Examples
    --------
    >>> NAMES["slicer"].probe, NAMES["slicer"].turned("ProbeToReference")
    ('ProbeToReference', True)
    """

    probe: str = "ProbeToTracker"
    pointer: str = "StylusToTracker"
    reference: str = "ReferenceToTracker"
    image: str = "Image_Reference"
    status: str = "Room"
    ras: bool = False

    def turned(self, name: str) -> bool:
        """Whether the matrix of device `name` is LPS here and RAS on the wire."""
        return self.ras and name.endswith("Reference")


NAMES = {
    "custusx": Names(),
    "slicer": Names(probe="ProbeToReference", pointer="StylusToReference", ras=True),
}
"""Dialects by name."""
