"""Wires and plates are where the numbers say."""

import numpy as np
import pytest
from nwire_phantom import WIRES
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from navkit.calibration import calibrate_probe_nwires, middle_points
from navkit.files import read_plus_config
from navkit.geometry import compose, inverse, pose_from, transform_points
from navkit.phantoms import nwire_array, nwires, water_tank, wire_target


def test_fcal_geometries_are_the_numbers():
    assert np.array_equal(nwire_array("2.0"), WIRES)
    assert nwire_array("1.2")[:, :, 0].tolist() == [
        [[20, 0, 10], [40, 0, 10], [45, 0, 10]],
        [[20, 0, 5], [25, 0, 5], [50, 0, 5]],
        [[20, 0, 0], [45, 0, 0], [50, 0, 0]],
    ]
    assert nwire_array("1.2")[:, :, 1].tolist() == [
        [[20, 40, 10], [25, 40, 10], [45, 40, 10]],
        [[20, 40, 5], [45, 40, 5], [50, 40, 5]],
        [[20, 40, 0], [25, 40, 0], [50, 40, 0]],
    ]
    assert np.array_equal(nwire_array("1.0"), nwire_array("1.2")[1:])


@pytest.mark.parametrize(
    ("version", "file"),
    [
        ("2.0", "fcal20/PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml"),
        ("1.0", "temporal/PlusDeviceSet_fCal_Sim_TemporalCalibration.xml"),
    ],
)
def test_wires_and_landmarks_are_those_of_pluss_configurations(navkit_data, version, file):
    config = read_plus_config(navkit_data / "plus" / file)
    assert np.array_equal(nwire_array(version), config.wires)
    assert len(config.landmarks) == 8
    assert nwires(version).landmarks == {name: tuple(p) for name, p in config.landmarks.items()}


@pytest.mark.parametrize("version", ["2.0", "1.2", "1.0"])
def test_the_phantoms_wires_are_the_array_within_its_box_in_water(version):
    phantom, array = nwires(version), nwire_array(version)
    assert np.array_equal(phantom.wires.reshape(array.shape), array)
    assert (phantom.wires >= phantom.low).all()
    assert (phantom.wires <= phantom.high).all()
    assert phantom.background.name == "water"
    assert phantom.name.endswith(version)
    # every middle wire joins the outer ones
    x = array[..., 0]
    assert (x[:, 0] < x[:, 1]).all()
    assert (x[:, 1] < x[:, 2]).all()


@pytest.mark.parametrize("version", ["2.0", "1.2"])
def test_pictures_of_the_wires_calibrate_the_probe(rng, version):
    """Planes through the phantom, without noise: pixels from geometry alone."""
    wires = nwire_array(version)
    s_M_p = pose_from(Rotation.from_rotvec([0.3, -0.5, 1.1]), [12.0, -31, 55])
    s_M_p[:3, :2] *= [0.09, 0.12]
    n = 25
    middle = wires.reshape(-1, 3).mean(axis=0)
    turned = Rotation.from_euler("x", 90, degrees=True) * Rotation.from_rotvec(rng.normal(size=(n, 3)) * 0.15)
    p_at = middle + rng.uniform([-1, -9, -2], [1, 9, 2], size=(n, 3))
    phantom_M_u = pose_from(turned, p_at)
    u_M_p = np.diag([0.09, 0.12, 1, 1.0])
    u_M_p[:2, 3] = -30, -35
    px = np.empty((n, len(wires), 3, 2))
    for k, m in enumerate(inverse(compose(phantom_M_u, u_M_p))):
        a, b = np.moveaxis(transform_points(m, wires), 2, 0)
        share = a[..., 2] / (a[..., 2] - b[..., 2])
        px[k] = (a + share[..., None] * (b - a))[..., :2]
        assert ((share > 0) & (share < 1)).all()
    found = transform_points(np.linalg.inv(compose(phantom_M_u, u_M_p)), middle_points(px, wires)[0])[0]
    assert found[:, 2] == pytest.approx(np.zeros(len(wires)), abs=1e-9)
    s_M_phantom = compose(s_M_p, inverse(compose(phantom_M_u, u_M_p)))
    result = calibrate_probe_nwires(px, wires, s_M_phantom)
    assert result.s_M_p[:3, [0, 1, 3]] == pytest.approx(s_M_p[:3, [0, 1, 3]], abs=1e-8)


def test_an_unknown_version_is_refused():
    for make in (nwires, nwire_array):
        with pytest.raises(ValueError, match=r"version is '3'; expected one of '2.0', '1.2', '1.0'"):
            make("3")


def test_the_tank_is_water_above_a_plate(rng):
    tank = water_tank(depth_mm=43.5)
    points = rng.uniform(tank.low, tank.high, size=(5000, 3))
    plastic = np.array([t.name for t in tank.tissues])[tank.labels(points)] == "plastic"
    assert np.array_equal(plastic, points[:, 2] < -43.5)
    assert plastic.any()
    assert tank.high[2] == 0
    assert tank.measures == {"depth_mm": 43.5}
    assert tank.part("bottom").tissue.specular == 1
    for wrong in (0.0, -5.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"depth_mm is .* expected a number above 0"):
            water_tank(depth_mm=wrong)


def test_the_targets_wires_are_parallel_at_the_stated_places():
    target = wire_target(
        depths_mm=(8, 17, 33), row_step_mm=7.0, gaps_mm=(3, 1.5, 0.4), length_mm=44.0, seed=5
    )
    at = target.landmarks
    assert at["column 17"] == (0, 0, -17)
    assert at["row 60 at -14"] == (-14, 0, -60)
    lateral = np.array([at[f"lateral {k}"] for k in range(4)])
    axial = np.array([at[f"axial {k}"] for k in range(4)])
    assert np.diff(lateral, axis=0) == pytest.approx(np.array([[3, 0, 0], [1.5, 0, 0], [0.4, 0, 0]]))
    assert np.diff(axial, axis=0)[:, 2] == pytest.approx([-3, -1.5, -0.4])
    assert lateral[0, 0] > 0 > axial[0, 0]
    ends = target.wires
    assert ends[:, 1] - ends[:, 0] == pytest.approx(np.tile([0, 44, 0], (len(ends), 1)))
    assert ends.mean(axis=1) == pytest.approx(np.array(list(at.values())))
    assert len(ends) == 3 + 8 + 4 + 4
    assert pdist(ends[:, 0]).min() == pytest.approx(0.4)
    assert (ends >= target.low).all()
    assert (ends <= target.high).all()
    assert target.measures == {"row_step_mm": 7.0, "smallest_gap_mm": 0.4}
    assert (target.seed, target.background.name) == (5, "agar")


def test_default_wires_of_the_target_do_not_coincide():
    assert pdist(wire_target().wires[:, 0]).min() == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["depths_mm", "row_depths_mm", "gaps_mm"])
def test_a_target_with_a_depth_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="not above 0; depths count downwards"):
        wire_target(**{name: (4.0, -1.0)})
    with pytest.raises(ValueError, match="not above 0"):
        wire_target(length_mm=np.nan)
