"""What CustusX expects of the files of a patient: images, meshes, acquisitions; see `cx3_rules`."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

SECONDS = r"\d{8}T\d{6}"
MODALITIES = ("UNKNOWN", "CT", "MR", "US", "PET", "SC")
BYTES = {"MET_UCHAR": 1, "MET_CHAR": 1, "MET_USHORT": 2, "MET_SHORT": 2, "MET_FLOAT": 4}


def numbers(text: str | None, count: int) -> np.ndarray | None:
    try:
        values = np.array([float(word) for word in (text or "").split()])
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _keys(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def metaimage(path: Path) -> tuple[list[str], np.ndarray | None]:
    """What is wrong with a header and its pixels, and its pose."""
    keys, found = _keys(path), []
    axes, offset = numbers(keys.get("TransformMatrix"), 9), numbers(keys.get("Offset"), 3)
    pose = None
    if axes is None or offset is None:
        found.append(f"{path.name}: no TransformMatrix of nine numbers, or no Offset of three")
    else:
        x, y, z = axes.reshape(3, 3)  # one axis after another
        if not np.allclose([x @ x, y @ y, x @ y], [1, 1, 0], atol=1e-3):
            found.append(f"{path.name}: x and y are no unit vectors at right angles")
        if not np.allclose(np.cross(x, y), z, atol=1e-3):
            found.append(f"{path.name}: z is not x cross y")
        pose = np.eye(4)
        pose[:3] = np.stack([x, y, np.cross(x, y), offset], axis=1)
    size, spacing = numbers(keys.get("DimSize"), 3), numbers(keys.get("ElementSpacing"), 3)
    if size is None or spacing is None or (size < 1).any() or (spacing <= 0).any():
        return [*found, f"{path.name}: DimSize or ElementSpacing are not three numbers above 0"], pose
    if keys.get("Modality", "") not in MODALITIES:
        found.append(f"{path.name}: Modality is {keys.get('Modality')!r}")
    if list(keys)[-1] != "ElementDataFile":
        found.append(f"{path.name}: ElementDataFile is not the last line")
    pixels = path.parent / keys.get("ElementDataFile", "")
    if not pixels.is_file():
        return [*found, f"{path.name}: the pixel file {pixels.name} is missing"], pose
    expected = int(np.prod(size)) * BYTES.get(keys.get("ElementType", ""), 0)
    if keys.get("CompressedData", "False") == "False" and pixels.stat().st_size != expected:
        found.append(f"{path.name}: {pixels.stat().st_size} bytes of pixels, not {expected}")
    return found, pose


def mesh(path: Path) -> list[str]:
    head = path.read_bytes()[:400].decode("latin-1").splitlines()
    if len(head) < 5 or not head[0].startswith("# vtk DataFile") or head[2] not in ("ASCII", "BINARY"):
        return [f"{path.name} is no legacy VTK file"]
    if head[3] != "DATASET POLYDATA" or not re.fullmatch(r"POINTS [1-9]\d* (float|double)", head[4]):
        return [f"{path.name} holds no polydata with points"]
    return []


def _rows(path: Path, width: int) -> np.ndarray | None:
    """Numbers, `width` a line; None where a line has others."""
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    rows = [numbers(line, width) for line in lines]
    return None if any(row is None for row in rows) else np.array(rows)


def acquisition(folder: Path) -> list[str]:
    found = []
    if not re.fullmatch(rf".+_\d+_{SECONDS}", folder.name):
        found.append("the session is not <category>_<number>_<yyyyMMddThhmmss>")
    bases = [path.name.removesuffix(".fts") for path in folder.glob("*.fts")]
    if len(bases) != 1:
        return [*found, f"{len(bases)} .fts files, not one"]
    base = bases[0]
    if not base.startswith(f"{folder.name}_"):
        found.append(f"the files are named {base}, not <session>_<stream>")
    missing = [end for end in (".tts", ".tp", ".probedata.xml") if not (folder / f"{base}{end}").is_file()]
    if missing:
        return [*found, f"{', '.join(missing)} missing"]
    frame_ms, sample_ms = _rows(folder / f"{base}.fts", 1), _rows(folder / f"{base}.tts", 1)
    poses = _rows(folder / f"{base}.tp", 4)
    if frame_ms is None or sample_ms is None or poses is None:
        return [*found, ".fts, .tts or .tp hold lines that are not 1, 1 or 4 numbers"]
    for end, times in ((".fts", frame_ms), (".tts", sample_ms)):
        if (np.diff(times[:, 0]) <= 0).any():
            found.append(f"the times in {end} do not increase")
    if len(poses) != 3 * len(sample_ms):
        found.append(f"{len(poses)} lines in .tp, not {3 * len(sample_ms)}, three for each time in .tts")
    else:
        r = poses.reshape(-1, 3, 4)[:, :, :3]
        off = np.abs(r @ r.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        if (off > 1e-5).any() or (np.linalg.det(r) < 0).any():
            found.append(f".tp: sample {int(off.argmax())} is no rotation")
    return found + _frames(folder, base, len(frame_ms))


def _frames(folder: Path, base: str, n: int) -> list[str]:
    """The pictures, and the probe that they are of."""
    stack = folder / f"{base}.mhd"
    singles = sorted(folder.glob(f"{base}_*.mhd"), key=lambda p: int(p.stem.rpartition("_")[2]))
    headers = [stack] if stack.is_file() else singles
    if not headers:
        return ["no frames"]
    found = [told for path in headers for told in metaimage(path)[0]]
    if not stack.is_file() and [p.stem for p in singles] != [f"{base}_{k}" for k in range(len(singles))]:
        found.append("the frames are not numbered from 0 without a gap")
    sizes = [numbers(_keys(path).get("DimSize"), 3) for path in headers]
    if any(size is None for size in sizes):
        return found
    held = int(sum(size[2] for size in sizes if size is not None))
    if held != n:
        found.append(f"{held} frames, not {n} as in .fts")
    root = ET.parse(folder / f"{base}.probedata.xml").getroot()
    configuration, image = root.find("configuration"), root.find("configuration/image")
    if configuration is None or image is None or configuration.get("type") not in ("0", "1", "2"):
        return [*found, ".probedata.xml has no configuration of type 0, 1 or 2 with an image"]
    width, height = numbers(image.get("width"), 1), numbers(image.get("height"), 1)
    clip, spacing = numbers(image.get("clipRect_p"), 6), numbers(image.get("spacing"), 3)
    if width is None or height is None or clip is None or spacing is None:
        return [*found, ".probedata.xml: the image lacks width, height, clipRect_p or spacing"]
    if not (0 <= clip[0] < clip[1] < width and 0 <= clip[2] < clip[3] < height):
        found.append("clipRect_p is not inside the image")
    if any(size is not None and list(size[:2]) != [*width, *height] for size in sizes):
        found.append("the frames are not of the probe's width and height")
    own = numbers(_keys(headers[0]).get("ElementSpacing"), 3)
    if own is None or np.abs(own[:2] - spacing[:2]).max() > 1e-3:
        found.append("the frames' pixel spacing is not the probe's")
    return found
