"""PLUS configurations, and chains of transforms through a sequence and its configuration."""

import numpy as np
import pytest

from navkit.files import FileError, read_plus_config, read_sequence
from navkit.geometry import compose, inverse, pose_error, pose_from

IMAGE_TO_PROBE = np.array([[0.08, 0, 0, 11], [0, 0, 0.09, 48], [0, -0.07, 0, -3], [0, 0, 0, 1.0]])
PHANTOM_TO_REFERENCE = pose_from([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [5, -6, 7])


def text(m):
    return "\n ".join(" ".join(str(v) for v in row) for row in m)


CONFIG = f"""<PlusConfiguration version="2.1">
  <DataCollection><Device Id="Video" LocalTimeOffsetSec="-0.0648" /><Device Id="Tracker" /></DataCollection>
  <CoordinateDefinitions>
    <Transform From="Image" To="Probe" Matrix="{text(IMAGE_TO_PROBE)}" />
    <Transform From="Phantom" To="Reference" Matrix="{text(PHANTOM_TO_REFERENCE)}" />
  </CoordinateDefinitions>
  <Segmentation ApproximateSpacingMmPerPixel="0.078"
    ClipRectangleOrigin="27 31" ClipRectangleSize="766 562" />
  <PhantomDefinition><Geometry>
    <Pattern Type="NWire">
      <Wire Name="1" EndPointFront="30 0 20" EndPointBack="30 40 20" />
      <Wire Name="2" EndPointFront="55 0 20" EndPointBack="35 40 20" />
      <Wire Name="3" EndPointFront="60 0 20" EndPointBack="60 40 20" />
    </Pattern>
    <Landmarks><Landmark Name="#1" Position="104.3 5.0 20.0" /></Landmarks>
  </Geometry></PhantomDefinition>
  <VolumeReconstruction OutputSpacing="0.5 0.5 0.5" CompoundingMode="MEAN" />
</PlusConfiguration>"""


def written(path, old="", new=""):
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new, 1), encoding="utf-8")
    return path


def test_everything_is_read_with_its_name(tmp_path):
    config = read_plus_config(written(tmp_path / "c.xml"))
    assert np.array_equal(config.transforms["Image", "Probe"], IMAGE_TO_PROBE)
    assert np.array_equal(config.spaces().get("Reference", "Phantom"), PHANTOM_TO_REFERENCE)
    assert config.wires.shape == (1, 3, 2, 3)
    assert config.wires[0, 1].tolist() == [[55, 0, 20], [35, 40, 20]]
    assert config.landmarks["#1"].tolist() == [104.3, 5, 20]
    assert config.clip_p == (27, 792, 31, 592)
    assert config.mm_per_px == 0.078
    assert config.time_offset_s == {"Video": -0.0648}
    assert config.reconstruction["CompoundingMode"] == "MEAN"


def test_what_a_configuration_lacks_is_empty(tmp_path):
    (tmp_path / "c.xml").write_text("<PlusConfiguration />", encoding="utf-8")
    config = read_plus_config(tmp_path / "c.xml")
    assert config.transforms == {}
    assert config.landmarks == {}
    assert config.wires.shape == (0, 3, 2, 3)
    assert config.clip_p is None
    assert np.isnan(config.mm_per_px)
    whole = written(tmp_path / "whole.xml", 'ClipRectangleSize="766 562"', 'ClipRectangleSize="0 0"')
    assert read_plus_config(whole).clip_p is None


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("PlusConfiguration version", "Plus version", "not well-formed XML"),
        (
            'Position="104.3 5.0 20.0"',
            'Position="104.3 5.0"',
            "<Landmark> has Position='104.3 5.0'; expected 3",
        ),
        ("0.08", "eight", r"<Transform> has Matrix='eight 0.0 .*expected 16 numbers"),
        ('<Wire Name="3" EndPointFront="60 0 20" EndPointBack="60 40 20" />', "", "has 2 wires; expected 3"),
        ('From="Phantom" To="Reference"', 'From="Probe" To="Probe"', "links a space with itself"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, old, new, sentence):
    with pytest.raises(FileError, match=rf"^c\.xml: .*{sentence}"):
        read_plus_config(written(tmp_path / "c.xml", old, new))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "c.xml").write_text("<PlusConfiguration2 />", encoding="utf-8")
    with pytest.raises(FileError, match="outermost element is <PlusConfiguration2>"):
        read_plus_config(tmp_path / "c.xml")
    with pytest.raises(FileError, match="is not a file"):
        read_plus_config(tmp_path / "d.xml")


def test_a_sequence_and_its_configuration_give_every_chain(tmp_path, rng):
    from scipy.spatial.transform import Rotation

    tracker_M_probe, tracker_M_reference = (
        pose_from(Rotation.random(3, rng=rng), rng.normal(scale=100, size=(3, 3))) for _ in range(2)
    )
    lines = ["ObjectType = Image", "NDims = 3", "DimSize = 0 0 3", "ElementType = MET_UCHAR"]
    for k in range(3):
        for name, m in (("Probe", tracker_M_probe), ("Reference", tracker_M_reference)):
            numbers = " ".join(repr(float(v)) for v in m[k].ravel())
            lines.append(f"Seq_Frame{k:04d}_{name}ToTrackerTransform = {numbers}")
            status = "INVALID" if (k, name) == (1, "Reference") else "OK"
            lines.append(f"Seq_Frame{k:04d}_{name}ToTrackerTransformStatus = {status}")
        lines.append(f"Seq_Frame{k:04d}_Timestamp = {0.1 * k}")
    (tmp_path / "s.mha").write_text("\n".join([*lines, "ElementDataFile = LOCAL", ""]), encoding="utf-8")
    sequence = read_sequence(tmp_path / "s.mha")
    config = read_plus_config(written(tmp_path / "c.xml"))
    chain = compose(inverse(tracker_M_reference), tracker_M_probe, IMAGE_TO_PROBE)
    found = sequence.spaces(config).get("Reference", "Image")
    assert found[[0, 2]] == pytest.approx(chain[[0, 2]], abs=1e-9)
    assert np.isnan(found[1]).any()
    stream = sequence.stream("ProbeToReference")
    assert stream.time_s == pytest.approx([0, 0.2])
    error = pose_error(stream.pose, compose(inverse(tracker_M_reference), tracker_M_probe)[[0, 2]])
    assert error.translation_mm.max() < 1e-9
    assert error.rotation_rad.max() < 1e-7
    assert len(sequence.stream("ProbeToTracker")) == 3
    assert len(sequence.stream("ProbeToPhantom", config)) == 2
    # a stored chain is a second way round, and no harm to what is stored
    chained = " ".join(repr(float(v)) for v in stream.pose[0].ravel())
    stored = (tmp_path / "s.mha").read_text(encoding="utf-8")
    stored = stored.replace("Element", f"Seq_Frame0000_ProbeToReferenceTransform = {chained}\nElement", 1)
    (tmp_path / "s.mha").write_text(stored, encoding="utf-8")
    assert len(read_sequence(tmp_path / "s.mha").stream("ProbeToTracker")) == 3
    with pytest.raises(ValueError, match="would close a loop"):
        read_sequence(tmp_path / "s.mha").spaces()
    with pytest.raises(
        FileError, match=r"no transform ProbeToPhantom; the sequence has ProbeToTracker, .*no chain"
    ):
        sequence.stream("ProbeToPhantom")


def test_plus_configurations(navkit_data):
    plus = navkit_data / "plus"
    read = {path.name: read_plus_config(path) for path in plus.rglob("PlusDeviceSet*.xml")}
    assert len(read) == 5
    config = read["PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"]
    assert config.wires.shape == (3, 3, 2, 3)
    assert len(config.landmarks) == 8
    assert config.clip_p == (27, 792, 27, 588)
    spine = read["PlusDeviceSet_VolumeReconstructionOnly_SpinePhantom_NN_MEAN.xml"]
    assert spine.reconstruction["OutputSpacing"] == "0.5 0.5 0.5"
