"""What each real recording is and holds, recorded once: facts about files that are not in the project.

The numbers come from the recordings' list, or were computed from the files with plain numpy, zlib and regular
expressions, without the code under test. Names may hold wildcards; each file and folder has one row.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Truth:
    """One row.

    Parameters
    ----------
    kind : as described
    numbers : key -> value; right to its last digit, or (value, tolerance)
    warnings : one word or phrase for each warning that must be there; no other may be
    files : how many files or folders the row is for
    """

    kind: str
    numbers: dict[str, float | tuple[float, float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    files: int = 1


TRACKED_AT_15_HZ = ("less than 1 ms after", "repeat the pose before them", "outside the tracking")
ANGIO_TRACKING: dict[str, float | tuple[float, float]] = {
    "tracking_samples": 383,
    "tracking_distinct": 189,
    "tracking_repeated_share": (194 / 383, 1e-9),
    "tracking_rate_hz": (30.382, 0.001),
    "tracking_true_rate_hz": (14.977, 0.001),
    "tracking_largest_gap_ms": (71.441, 0.001),
    "tracking_gaps": 0,
    "tracking_close": 9,
    "tracking_path_mm": (58.248, 0.01),
}
ANGIO_SMALL = Truth(
    "CustusX acquisition, old layout",
    {
        **ANGIO_TRACKING,
        "frames": 77,
        "width_px": 256,
        "height_px": 192,
        "channels": 1,
        "frames_rate_hz": (6.1000, 0.0001),
        "frames_duration_s": (12.459, 0.001),
        "frames_largest_gap_ms": (417.586, 0.001),
        "frames_over_250_ms": 1,
        "first_frame_ms": (-58.969, 0.001),
        "frames_outside": 1,
        "spacing_x_mm": 0.2564096,
        "spacing_y_mm": 0.2564096,
        "sector_width": 37.8204265,
        "depth_end_mm": 39.2306797,
        "sector_share": (0.460693, 1e-6),
        "brightness_outside": (9.4258, 1e-3),
        "brightest": 255,
        "flat_frames": 0,
        "repeated_frames": 0,
        "temporal_calibration_ms": 100,
    },
    TRACKED_AT_15_HZ,
)
ANGIO_TEXT = Truth(
    "incomplete CustusX acquisition, old layout",
    {
        **ANGIO_TRACKING,
        "frames": 309,
        "frames_rate_hz": (24.5047, 0.0001),
        "frames_largest_gap_ms": (274.000, 0.001),
        "frames_gaps": 1,
        "first_frame_ms": (-110.683, 0.001),
        "frames_outside": 3,
        "width_px": 1024,
        "height_px": 768,
        "temporal_calibration_ms": 100,
    },
    (*TRACKED_AT_15_HZ, "zraw is not in", "frames: 1 pause"),
)
TEMPORAL_2011 = Truth(
    "incomplete CustusX acquisition, old layout",
    {
        "frames": 233,
        "frames_rate_hz": (29.7665, 0.0001),
        "frames_largest_gap_ms": (56, 1e-3),
        "tracking_samples": 250,
        "tracking_distinct": 124,
        "tracking_repeated_share": (0.504, 1e-9),
        "tracking_true_rate_hz": (14.9526, 0.0001),
        "tracking_path_mm": (103.572, 0.01),
        "first_frame_ms": (-35.262, 0.001),
        "frames_outside": 2,
        "width_px": 800,
        "height_px": 600,
        "spacing_x_mm": 0.086022,
    },
    (*TRACKED_AT_15_HZ, "zraw is not in"),
)

ACQ = "custusx/angio_lab_256x192"
TEXT = "custusx/angio_lab_text"
T2011 = "custusx/temporal_2011_text"
ELASTIX = "custusx/config/org.custusx.registration.method.commandline"
PROFILES = "custusx/config/profiles"
TOOLS = "custusx/config/tool/Tools"
TEXT_FILE, FOLDER = Truth("text file"), Truth("folder")
PROBE_DATA: dict[str, float | tuple[float, float]] = {
    "temporal_calibration_ms": 100,
    "sector_width": (37.82043, 1e-5),
    "depth_start_mm": 0.0,
}
FLIPPED = Truth("tool calibration", {"tip_length_mm": 0}, ("turned axes",))
IDENTITY = Truth("tool calibration", {"tip_length_mm": 0}, ("is the identity",))
NO_REFERENCE = ("no reference tool",)


def sequence(frames: int, rate: float, **more: float) -> dict[str, float | tuple[float, float]]:
    """The numbers of a sequence with pictures."""
    return {"frames": frames, "frames_rate_hz": (rate, 1e-3), **more}


TRUTHS: dict[str, Truth] = {
    ".": FOLDER,
    "LIST.md": TEXT_FILE,
    "custusx": FOLDER,
    ACQ: ANGIO_SMALL,
    f"{ACQ}/*.fts": ANGIO_SMALL,
    f"{ACQ}/*.tts": ANGIO_SMALL,
    f"{ACQ}/*.tp": ANGIO_SMALL,
    f"{ACQ}/*.mhd": ANGIO_SMALL,
    f"{ACQ}/*.probedata.xml": Truth("CustusX probe data", {**PROBE_DATA, "spacing_x_mm": 0.2564096}),
    f"{ACQ}/*.raw": Truth(
        "pixels of US-Acq_03_20121024T132330_dec4.mhd", {"bytes": 3784704, "frames": 77, "width_px": 256}
    ),
    TEXT: ANGIO_TEXT,
    f"{TEXT}/*.fts": ANGIO_TEXT,
    f"{TEXT}/*.tts": ANGIO_TEXT,
    f"{TEXT}/*.tp": ANGIO_TEXT,
    f"{TEXT}/*.mhd": ANGIO_TEXT,
    f"{TEXT}/*.probedata.xml": Truth("CustusX probe data", {**PROBE_DATA, "spacing_x_mm": (0.0641, 1e-4)}),
    T2011: TEMPORAL_2011,
    f"{T2011}/*.fts": TEMPORAL_2011,
    f"{T2011}/*.tts": TEMPORAL_2011,
    f"{T2011}/*.tp": TEMPORAL_2011,
    f"{T2011}/*.mhd": TEMPORAL_2011,
    f"{T2011}/*.cal": Truth(
        "tool calibration", {"tip_x_mm": 114.382808, "tip_z_mm": -35.40458, "tip_length_mm": (172.555, 1e-3)}
    ),
    f"{T2011}/ProbeCalibConfigs.xml": Truth(
        "CustusX probe database",
        {"pairs": 5, "configurations": 25, "latency_min_ms": 0, "latency_max_ms": 200},
    ),
    "custusx/config": FOLDER,
    "custusx/config/License.txt": TEXT_FILE,
    "custusx/config/models": FOLDER,
    "custusx/config/models/wire_phantom_cross_pts.vtk": Truth(
        "mesh", {"points": 1002, "cells": 1002, "extent_x_mm": (250.05, 1e-3), "extent_z_mm": (99, 1e-3)}
    ),
    ELASTIX: FOLDER,
    f"{ELASTIX}/elastix": FOLDER,
    f"{ELASTIX}/elastix/par": FOLDER,
    f"{ELASTIX}/elastix/par/*.txt": Truth("elastix parameter file", files=5),
    PROFILES: FOLDER,
    f"{PROFILES}/*": Truth("folder", files=2),
    f"{PROFILES}/*/tool": Truth("folder", files=2),
    f"{PROFILES}/Bronchoscopy/tool/Bronchoscopy_Anser_one_needle.xml": Truth(
        "CustusX tool configuration", {"tools": 1, "references": 0, "tools_missing": 0}, NO_REFERENCE
    ),
    f"{PROFILES}/Bronchoscopy/tool/Bronchoscopy_Anser_two_needles.xml": Truth(
        "CustusX tool configuration", {"tools": 2, "references": 0, "tools_missing": 0}, NO_REFERENCE
    ),
    f"{PROFILES}/Bronchoscopy/tool/Guidewire_and_Catheter.xml": Truth(
        "CustusX tool configuration", {"tools": 2, "references": 0, "tools_missing": 0}, NO_REFERENCE
    ),
    f"{PROFILES}/Laboratory/tool/LabDefault.xml": Truth(
        "CustusX tool configuration", {"tools": 2, "references": 1, "tools_missing": 0}
    ),
    "custusx/config/tool": FOLDER,
    "custusx/config/tool/ProbeCalibConfigs.xml": Truth(
        "CustusX probe database",
        {"pairs": 24, "configurations": 113, "latency_min_ms": -321, "latency_max_ms": 500},
        ("1 configuration with pixels more than 10 % longer",),
    ),
    # both begin with a comment, which XML does not allow before its declaration
    "custusx/config/tool/TEMPLATE_tool.xml": Truth("damaged CustusX tool", warnings=("not well-formed",)),
    "custusx/config/tool/TEMPLATE_configuration.xml": Truth(
        "damaged CustusX tool configuration", warnings=("not well-formed",)
    ),
    TOOLS: FOLDER,
    f"{TOOLS}/Bronchoscopy": FOLDER,
    f"{TOOLS}/Bronchoscopy/Anser_*": Truth("folder", files=6),
    f"{TOOLS}/Bronchoscopy/Anser_*/*.cal": Truth(FLIPPED.kind, FLIPPED.numbers, FLIPPED.warnings, 2),
    f"{TOOLS}/Bronchoscopy/Anser_[BNP]*/*.xml": Truth("CustusX tool", {}, ("is missing; the identity",), 4),
    f"{TOOLS}/Bronchoscopy/Anser_[CG]*/*.xml": Truth("CustusX tool", {}, ("turned axes",), 2),
    f"{TOOLS}/Shared": FOLDER,
    f"{TOOLS}/Shared/*": Truth("folder", files=9),
    f"{TOOLS}/Shared/*/Aurora*_port?.cal": Truth(IDENTITY.kind, IDENTITY.numbers, IDENTITY.warnings, 6),
    f"{TOOLS}/Shared/*/*reverse_orientation.cal": FLIPPED,
    f"{TOOLS}/Shared/*/8700340.cal": Truth(
        "tool calibration", {"tip_x_mm": -20.68, "tip_y_mm": -0.04, "tip_z_mm": -158.29}
    ),
    f"{TOOLS}/Shared/*port2/Catheter*.xml": Truth("CustusX tool", {}, ("turned axes",)),
    f"{TOOLS}/Shared/*port[34]/*Catheter*.xml": Truth("CustusX tool", {}, ("is the identity",), 2),
    f"{TOOLS}/Shared/*/Pointer*.xml": Truth("CustusX tool", {}, ("is the identity",), 3),
    f"{TOOLS}/Shared/*/Reference*.xml": Truth("CustusX tool"),
    f"{TOOLS}/Shared/*/NDI_ref*.xml": Truth("CustusX tool", {}, ("cannot find the tool",)),
    f"{TOOLS}/Shared/*/NDI_pnt.xml": Truth(
        "CustusX tool", {"tip_length_mm": (159.635, 1e-3)}, ("cannot find the tool",)
    ),
    "custusx/ebus_calibrations": Truth(
        "folder of tool calibrations",
        {
            "calibrations": 5,
            "tip_z_min_mm": 8.11399,
            "tip_z_max_mm": 9.52683,
            "tip_sd_x_mm": (1.029, 1e-3),
            "tip_sd_y_mm": (1.451, 1e-3),
            "tip_sd_z_mm": (0.541, 1e-3),
            "largest_turn_deg": (176.70, 0.01),
            "largest_tip_distance_mm": (3.653, 0.001),
        },
        ("differ by up to 177 deg", "up to 3.7 mm apart"),
    ),
    "custusx/ebus_calibrations/*.cal": Truth("tool calibration", {"tip_z_mm": (8.82, 0.71)}, files=5),
    "custusx/ebus_calibrations/License.txt": TEXT_FILE,
    "custusx/patient": FOLDER,
    "custusx/patient/ResampleTest.custusdoc.xml": Truth(
        "CustusX patient document",
        {
            "data": 2,
            "images": 2,
            "metrics": 0,
            "landmarks": 0,
            "patient_registrations": 0,
            "files_missing": 2,
        },
        ("2 of 2 data files",),
    ),
    "custusx/patient/baseline_patient_file_with_metrics.xml": Truth(
        "CustusX patient document", {"data": 6, "images": 0, "metrics": 6, "files_missing": 0}
    ),
    "custusx/patient/metric_tags_with_labels.tag": Truth(
        "MNI tag points",
        {"points": 6, "named": 6, "extent_z_mm": (89.735 - 13.7766, 1e-9)},
        ("LPS by its comment", "no ; after"),
    ),
    "custusx/patient/metric_tags_without_labels.tag": Truth(
        "MNI tag points", {"points": 6, "named": 0}, ("LPS by its comment", "no ; after")
    ),
    "plus": FOLDER,
    "plus/LICENSE": TEXT_FILE,
    "plus/fcal20": FOLDER,
    "plus/fcal20/fCal_Test_Calibration_3NWires_fCal2.0.igs.mha": Truth(
        "PLUS sequence",
        sequence(190, 12.4633, width_px=820, height_px=616, brightest=251, ProbeToTracker_invalid=0),
    ),
    "plus/fcal20/fCal_Test_Validation_3NWires_fCal2.0.igs.mha": Truth(
        "PLUS sequence", sequence(103, 12.8020, width_px=820, height_px=616, brightest=251)
    ),
    "plus/fcal20/FreehandCalibration3NWires_fCal2.0.results.xml": Truth(
        "PLUS probe calibration result",
        {
            "validation_error_mm": 0.539932,
            "calibration_error_mm": 0.479116,
            "calibration_frames": 190,
            "calibration_segmented": 184,
            "validation_frames": 103,
            "ImageToProbe_scale_x_mm": (0.0803289, 1e-7),
            "ImageToProbe_scale_y_mm": (0.0744631, 1e-7),
        },
    ),
    "plus/fcal20/PlusDeviceSet*.xml": Truth(
        "PLUS configuration", {"transforms": 4, "wires": 9, "landmarks": 8}
    ),
    "plus/io": FOLDER,
    "plus/io/SyntheticTrackerBuffer20.igs.mha": Truth(
        "PLUS sequence, tracking only",
        {"samples": 20, "tracking_rate_hz": 2.0, "ToolToTracker_repeated_share": (0.1, 1e-9)},
    ),
    "plus/io/SyntheticVideoBuffer20.igs.mha": Truth(
        "PLUS sequence", sequence(20, 2.0, width_px=320, height_px=240, brightest=255), ("never changes",)
    ),
    # one pose INVALID; the reference's pose of the same frame is an identity that is not marked
    "plus/io/TransformInterpolationTest.igs.mha": Truth(
        "PLUS sequence, tracking only",
        {
            "samples": 500,
            "tracking_rate_hz": (49.5408, 1e-4),
            "ProbeToTracker_invalid": 1,
            "ReferenceToTracker_invalid": 0,
            "ReferenceToTracker_jumps": 1,
        },
        (
            "ProbeToTracker: 1 of 500 poses is not OK",
            "ReferenceToTracker: 1 pose marked as good is the identity",
        ),
    ),
    "plus/landmarks": FOLDER,
    "plus/landmarks/EightLandmarkPointsTrackedForPhantomRegistration.igs.mha": Truth(
        "PLUS sequence, tracking only", {"samples": 1000, "tracking_rate_hz": (14.9987, 1e-4)}
    ),
    "plus/landmarks/*.results.xml": Truth(
        "PLUS configuration", {"transforms": 3, "wires": 9, "landmarks": 8, "tip_x_mm": 100.208}
    ),
    "plus/landmarks/PlusDeviceSet*.xml": Truth("PLUS configuration", {"transforms": 1, "landmarks": 8}),
    "plus/landmarks/segments": FOLDER,
    "plus/landmarks/segments/landmark1.txt": Truth("list of poses", {"poses": 85}),
    "plus/landmarks/segments/landmark2.txt": Truth("list of poses", {"poses": 81}),
    "plus/landmarks/segments/landmark3.txt": Truth("list of poses", {"poses": 76}),
    "plus/landmarks/segments/landmark4.txt": Truth("list of poses", {"poses": 93}),
    "plus/landmarks/segments/landmark5.txt": Truth("list of poses", {"poses": 82}),
    "plus/landmarks/segments/landmark6.txt": Truth("list of poses", {"poses": 90}),
    "plus/landmarks/segments/landmark7.txt": Truth("list of poses", {"poses": 92}),
    "plus/landmarks/segments/landmark8.txt": Truth("list of poses", {"poses": 97}),
    "plus/temporal": FOLDER,
    "plus/temporal/LineSegmentationResultsBaseline.xml": Truth(
        "PLUS line segmentation result", {"frames": 201, "segmented": 201}
    ),
    "plus/temporal/TemporalCalibrationResultsBaseline.xml": Truth(
        "PLUS temporal calibration result", {"tracker_lag_ms": (-64.8266, 1e-9)}
    ),
    "plus/temporal/PlusDeviceSet*.xml": Truth(
        "PLUS configuration", {"transforms": 2, "wires": 6, "landmarks": 8}
    ),
    "plus/temporal/WaterTankBottomTranslationVideoBuffer.igs.mha": Truth(
        "PLUS sequence", sequence(201, 11.4828, width_px=820, height_px=616, brightest=244)
    ),
    "plus/temporal/WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha": Truth(
        "PLUS sequence, tracking only",
        {
            "samples": 801,
            "tracking_rate_hz": (38.6368, 1e-4),
            "ProbeToTracker_repeated_share": 0,
            "ProbeToTracker_moved_mm": (27.5743, 1e-3),
            "ReferenceToTracker_repeated_share": (634 / 801, 1e-9),
        },
    ),
    "plus/volrec": FOLDER,
    "plus/volrec/*.xml": Truth(
        "PLUS configuration",
        {
            "transforms": 2,
            "ImageToProbe_scale_x_mm": (0.0854209, 1e-7),
            "ImageToProbe_scale_y_mm": (0.0790038, 1e-7),
        },
        ("2.7 deg off a right angle",),
        2,
    ),
    "plus/volrec/SpinePhantomFreehand.igs.mha": Truth(
        "PLUS sequence",
        sequence(21, 10.8401, width_px=820, height_px=616, brightest=251, invalid_pictures=0),
    ),
    "plus/volrec/*NNLATE*.mha": Truth(
        "volume",
        {"size_x": 80, "size_y": 93, "size_z": 98, "spacing_x_mm": 0.5, "value_max": 251, "handedness": 1},
    ),
    "plus/volrec/*NNMEAN*.mha": Truth(
        "volume",
        {"size_x": 147, "size_y": 106, "size_z": 105, "spacing_z_mm": 0.5, "value_min": 0, "value_max": 251},
    ),
    "ucl": FOLDER,
    "ucl/pelvis": FOLDER,
    "ucl/pelvis/LICENSE.md": TEXT_FILE,
    "ucl/pelvis/Tracker_Fiducial_Markers.txt": Truth(
        "list of points", {"points": 4, "extent_z_mm": (303.570, 1e-3)}
    ),
    "ucl/pelvis/Tracker_Surface_Scan.txt": Truth(
        "list of points", {"points": 2000, "extent_x_mm": (159.591, 1e-3)}
    ),
    "ucl/pelvis/Tracker_to_pelvis.txt": Truth(
        "4 x 4 matrix", {"determinant": (1, 1e-9), "turn_deg": (85.3127, 1e-4)}
    ),
    "ucl/pelvis/Tracker_to_pelvis_cropped.txt": Truth("4 x 4 matrix", {"turn_deg": (143.6429, 1e-4)}),
    "ucl/pelvis/Tracker_to_pelvis_cropped_with_icp.txt": Truth(
        "4 x 4 matrix", {"turn_deg": (143.5006, 1e-3)}
    ),
    "ucl/pelvis/optical-pointer-offset.txt": Truth("one point", {"length_mm": (158.7365, 1e-4)}),
    "ucl/pelvis/*_ct_fiducial_markers.txt": Truth("list of points", {"points": 4}, files=2),
    "ucl/pelvis/pelvis_cropped_decimated.vtk": Truth(
        "mesh", {"points": 47831, "cells": 93003, "extent_x_mm": (306.9524, 1e-4)}
    ),
    "ucl/pivot": Truth("folder of poses", {"poses": 57, "moved_mm": (319.255, 1e-3)}),
    "ucl/pivot/LICENSE": TEXT_FILE,
    "ucl/pivot/*.txt": Truth("4 x 4 matrix", {"determinant": (1, 1e-6)}, files=57),
}
