"""Registration: paired points, and what their error does and does not say.

FLE is the error of locating one fiducial, FRE the misfit of the fiducials after registration, TRE
the error at a target. All three are RMS of 3-D distances here, in mm. FRE and TRE of one
registration are uncorrelated [1]_: a small FRE is no proof of a good registration.

References
----------
.. [1] Fitzpatrick, Proc. SPIE 7261, 2009, doi:10.1117/12.813601.
"""

from navkit.geometry import RigidFit, fit_rigid
from navkit.registration._theory import expected_fre, expected_tre, tre_covariance
from navkit.registration._tree import (
    Change,
    Datum,
    Registrations,
    orient_reference,
    register_to_image,
    register_to_patient,
)
from navkit.registration._warp import (
    BSplineWarp,
    Folding,
    ThinPlate,
    check_folding,
    fit_bspline,
    fit_thin_plate,
    invert_warp,
)

__all__ = [
    "BSplineWarp",
    "Change",
    "Datum",
    "Folding",
    "Registrations",
    "RigidFit",
    "ThinPlate",
    "check_folding",
    "expected_fre",
    "expected_tre",
    "fit_bspline",
    "fit_rigid",
    "fit_thin_plate",
    "invert_warp",
    "orient_reference",
    "register_to_image",
    "register_to_patient",
    "tre_covariance",
]
