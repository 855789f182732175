"""Registration: paired points, and what their error does and does not say.

FLE is the error of locating one fiducial, FRE the misfit of the fiducials after registration, TRE
the error at a target. All three are RMS of 3-D distances here, in mm. FRE and TRE of one
registration are uncorrelated [1]_: a small FRE is no proof of a good registration.

References
----------
.. [1] Fitzpatrick, Proc. SPIE 7261, 2009, doi:10.1117/12.813601.
"""

from navkit.geometry import (
    RigidFit,
    fit_rigid,
)
from navkit.registration._centreline import (
    CentrelineResult,
    register_centreline,
    update_centreline,
)
from navkit.registration._closest import (
    Cloud,
    Surface,
    closest_points,
    cloud_normals,
)
from navkit.registration._descriptors import (
    self_similarity,
)
from navkit.registration._icp import (
    IcpResult,
    cube_starts,
    icp,
    perturbed_starts,
)
from navkit.registration._images import (
    Deformation,
    ImageResult,
    register_images,
)
from navkit.registration._observability import (
    FreeMotion,
    Observability,
    observability,
)
from navkit.registration._pairs import (
    Mistake,
    OutlierTest,
    diagnose_pairs,
    find_outliers,
)
from navkit.registration._points import (
    LandmarkAccuracy,
    PairFit,
    fast_orientation,
    fit_affine,
    fit_rigid_anisotropic,
    fit_translation,
    landmark_accuracy,
)
from navkit.registration._theory import (
    expected_fre,
    expected_tre,
    fre_covariance,
    isotropic_covariance,
    tre_covariance,
    tre_map,
)
from navkit.registration._tree import (
    Change,
    Datum,
    Registrations,
    orient_reference,
    register_to_image,
    register_to_patient,
)
from navkit.registration._uncertainty import (
    Ellipsoid,
    NextFiducial,
    SimulatedErrors,
    WorstTarget,
    confidence_ellipsoid,
    next_fiducial,
    simulate_tre,
    tre_probability,
    tre_quantile,
    worst_target,
)
from navkit.registration._vessels import (
    VesselResult,
    register_vessels,
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
    "CentrelineResult",
    "Change",
    "Cloud",
    "Datum",
    "Deformation",
    "Ellipsoid",
    "Folding",
    "FreeMotion",
    "IcpResult",
    "ImageResult",
    "LandmarkAccuracy",
    "Mistake",
    "NextFiducial",
    "Observability",
    "OutlierTest",
    "PairFit",
    "Registrations",
    "RigidFit",
    "SimulatedErrors",
    "Surface",
    "ThinPlate",
    "VesselResult",
    "WorstTarget",
    "check_folding",
    "closest_points",
    "cloud_normals",
    "confidence_ellipsoid",
    "cube_starts",
    "diagnose_pairs",
    "expected_fre",
    "expected_tre",
    "fast_orientation",
    "find_outliers",
    "fit_affine",
    "fit_bspline",
    "fit_rigid",
    "fit_rigid_anisotropic",
    "fit_thin_plate",
    "fit_translation",
    "fre_covariance",
    "icp",
    "invert_warp",
    "isotropic_covariance",
    "landmark_accuracy",
    "next_fiducial",
    "observability",
    "orient_reference",
    "perturbed_starts",
    "register_centreline",
    "register_images",
    "register_to_image",
    "register_to_patient",
    "register_vessels",
    "self_similarity",
    "simulate_tre",
    "tre_covariance",
    "tre_map",
    "tre_probability",
    "tre_quantile",
    "update_centreline",
    "worst_target",
]
