"""Legacy VTK polydata, ASCII and binary; the binary files are built here byte by byte."""

import functools
import operator
import struct

import numpy as np
import pytest

from navkit.files import FileError, Mesh, read_mesh, write_mesh
from navkit.files._patient import same

HEAD = b"# vtk DataFile Version %s\ntitle\n%s\nDATASET POLYDATA\n"
POINTS = np.array([[0.5, -1, 2], [3, 4.25, -5], [6, 7, 8], [-9, 10, 11], [1, 1, 0]])


def binary(*, version: bytes = b"3.0", kind: str = "float") -> bytes:
    """A quadrangle, a line of three points and a strip of two triangles, big-endian."""
    code = {"float": "f", "double": "d"}[kind]
    out = HEAD % (version, b"BINARY") + b"POINTS 5 %s\n" % kind.encode()
    out += struct.pack(f">15{code}", *POINTS.ravel()) + b"\nMETADATA\nINFORMATION 0\n\n"
    if version == b"5.1":
        for name, cells in ((b"LINES", [[0, 1, 4]]), (b"POLYGONS", [[0, 1, 2, 3]])):
            ends, flat = np.cumsum([0, *map(len, cells)]), functools.reduce(operator.iadd, cells, [])
            out += b"%s %d %d\nOFFSETS vtktypeint64\n" % (name, len(ends), len(flat))
            out += struct.pack(f">{len(ends)}q", *ends) + b"\nCONNECTIVITY vtktypeint64\n"
            out += struct.pack(f">{len(flat)}q", *flat) + b"\n"
    else:
        out += b"LINES 1 4\n" + struct.pack(">4i", 3, 0, 1, 4) + b"\n"
        out += b"POLYGONS 1 5\n" + struct.pack(">5i", 4, 0, 1, 2, 3) + b"\n"
        out += b"TRIANGLE_STRIPS 1 5\n" + struct.pack(">5i", 4, 0, 1, 2, 3) + b"\n"
    return out + b"POINT_DATA 5\nSCALARS a float\nLOOKUP_TABLE default\n" + struct.pack(">5f", *range(5))


@pytest.mark.parametrize(("version", "kind"), [(b"3.0", "float"), (b"4.2", "double"), (b"5.1", "float")])
def test_binary_files_of_every_version_are_read(tmp_path, version, kind):
    path = tmp_path / "a.vtk"
    path.write_bytes(binary(version=version, kind=kind))
    mesh = read_mesh(path)
    np.testing.assert_array_equal(mesh.points_d, POINTS)
    np.testing.assert_array_equal(mesh.lines, [[0, 1, 4]])
    quadrangle = [[0, 1, 2], [0, 2, 3]]
    strip = [[0, 1, 2], [2, 1, 3]]  # the second turns the other way
    np.testing.assert_array_equal(mesh.triangles, quadrangle if version == b"5.1" else quadrangle + strip)


def test_a_mesh_comes_back_with_every_digit(tmp_path, rng):
    lines = (np.array([0, 3, 2]), np.array([4, 1]))
    for mesh in (
        Mesh(rng.normal(scale=100, size=(5, 3)), lines, np.array([[0, 1, 2], [4, 3, 1]])),
        Mesh(rng.normal(size=(5, 3)), lines),
        Mesh(rng.normal(size=(1, 3))),
    ):
        write_mesh(mesh, tmp_path / "a.vtk")
        assert same(read_mesh(tmp_path / "a.vtk"), mesh)


def test_another_library_reads_what_is_written(tmp_path, rng):
    vtk = pytest.importorskip("vtkmodules.vtkIOLegacy")
    mesh = Mesh(rng.normal(scale=100, size=(5, 3)), (np.array([0, 3, 2]),), np.array([[0, 1, 2], [4, 3, 1]]))
    write_mesh(mesh, tmp_path / "a.vtk")
    reader = vtk.vtkPolyDataReader()
    reader.SetFileName(str(tmp_path / "a.vtk"))
    reader.Update()
    got = reader.GetOutput()
    np.testing.assert_array_equal([got.GetPoint(k) for k in range(got.GetNumberOfPoints())], mesh.points_d)
    assert (got.GetNumberOfLines(), got.GetNumberOfPolys()) == (1, 2)
    assert [got.GetCell(0).GetPointId(k) for k in range(3)] == [0, 3, 2]
    # And the other way: what it writes, ASCII and binary, in its newest layout.
    writer = pytest.importorskip("vtkmodules.vtkIOLegacy").vtkPolyDataWriter()
    writer.SetInputData(got)
    for binary_too in (False, True):
        writer.SetFileName(str(tmp_path / "b.vtk"))
        (writer.SetFileTypeToBinary if binary_too else writer.SetFileTypeToASCII)()
        writer.Write()
        again = read_mesh(tmp_path / "b.vtk")
        np.testing.assert_allclose(again.points_d, mesh.points_d, rtol=1e-5)
        assert same((again.lines, again.triangles), (mesh.lines, mesh.triangles))


def test_real_models_are_read(navkit_data):
    cross = read_mesh(navkit_data / "custusx/config/models/wire_phantom_cross_pts.vtk")
    assert cross.points_d.shape == (1002, 3)
    assert not cross.lines
    np.testing.assert_array_equal(cross.points_d[0], [9.2, 134.35, 50.64])
    pelvis = read_mesh(navkit_data / "ucl/pelvis/pelvis_cropped_decimated.vtk")
    assert len(pelvis.points_d) > 1000
    assert len(pelvis.triangles) > 1000
    sides = pelvis.points_d[pelvis.triangles[:, [0, 1, 2]]] - pelvis.points_d[pelvis.triangles[:, [1, 2, 0]]]
    assert np.linalg.norm(sides, axis=2).max() < 0.2 * np.ptp(pelvis.points_d, axis=0).max()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"POINTS 1 float\n1 2\n", "coordinates are not 3 numbers"),
        (b"POINTS 1000000000000 float\n1 2 3\n", "expected a number that the file can hold"),
        (b"POINTS 99999999999999999999 float\n1 2 3\n", "expected a number that the file can hold"),
        (b"POINTS -1 float\n", "expected a number"),
        (b"POINTS 1 complex\n1 2 3\n", "of type 'complex'"),
        (b"POINTS 1 float\n1 nan 3\n", "not all finite"),
        (b"LINES 1 3\n2 0 1\n", "0 points, not all finite or none"),
        (b"POINTS 2 float\n1 2 3 4 5 6\nLINES 1 3\n2 0 2\n", "LINES name points 0 to 2; there are 2"),
        (b"POINTS 2 float\n1 2 3 4 5 6\nLINES 1 3\n2 0 -1\n", "LINES name points -1 to 0; there are 2"),
        (b"POINTS 2 float\n1 2 3 4 5 6\nLINES 1 3\n3 0 1\n", "do not fit 1 cells in 3 numbers"),
        (b"POINTS 2 float\n1 2 3 4 5 6\nLINES 1 4\n2 0 1 1\n", "1 numbers too many"),
        (b"POINTS 2 float\n1 2 3 4 5 6\nLINES 2 2\nOFFSETS int\n0 3\nCONNECTIVITY int\n0 1\n", "do not rise"),
        (b"POINTS 2 float\n1 2 3 4 5 6\nLINES 2 2\nOFFSETS int\n0 2\nOTHER int\n0 1\n", "no CONNECTIVITY"),
        (b"CELLS 1 2\n1 0\n", "'CELLS'; expected POINTS"),
        (b"", "0 points"),
    ],
)
def test_what_is_cut_or_contradicts_itself_is_refused(tmp_path, text, told):
    path = tmp_path / "a.vtk"
    path.write_bytes(HEAD % (b"3.0", b"ASCII") + text)
    with pytest.raises(FileError, match=told):
        read_mesh(path)


def test_what_is_no_polydata_is_refused(tmp_path):
    path = tmp_path / "a.vtk"
    for text, told in (
        (b"solid stl\n", "expected '# vtk DataFile'"),
        (HEAD.replace(b"POLYDATA", b"STRUCTURED_POINTS") % (b"3.0", b"ASCII"), "expected DATASET POLYDATA"),
        (binary()[:100], "coordinates end early"),
    ):
        path.write_bytes(text)
        with pytest.raises(FileError, match=told):
            read_mesh(path)
    with pytest.raises(FileError, match="is not a file"):
        read_mesh(tmp_path / "b.vtk")


def test_an_index_of_no_point_is_not_written(tmp_path):
    for wrong in ([0, 3], [0, -1]):
        with pytest.raises(ValueError, match="expected 0 to 2"):
            write_mesh(Mesh(np.eye(3), (np.array(wrong),)), tmp_path / "a.vtk")
    assert list(tmp_path.iterdir()) == []
