"""PLUS and IGSIO sequences out, so that they come back to the bit; a sweep as such a sequence."""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from navkit.files._errors import written_whole
from navkit.files._orientation import turn
from navkit.files._pixels import ELEMENT_TYPES
from navkit.files._plus_config import frames_of
from navkit.files._sequences import FRAME_KEY, Sequence, Transform
from navkit.ultrasound import Sweep

LONGEST_LINE = 999  # bytes with its end: what PLUS reads as one line
UNWRITABLE = re.compile("[\n\r\0\ud800-\udfff]")
DEFAULTS = {
    "AnatomicalOrientation": "RAI",
    "UltrasoundImageType": "BRIGHTNESS",
}
PER_AXIS = {"CenterOfRotation": "0", "ElementSpacing": "1", "Offset": "0"}

Progress = Callable[[int, int], None]


def write_sequence(
    sequence: Sequence,
    path: str | Path,
    *,
    compressed: bool = True,
    orientation: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a sequence as PLUS does; `read_sequence` gives back what it holds, numbers to the bit.

    Frames are turned and written one at a time, so that a recording may be larger than memory.

    Parameters
    ----------
    sequence : a pose that is not finite is left out of its frame, as is a NaN time
    path : .mha, .mhd with the pixels beside it in .raw or .zraw, or .nrrd, which needs pictures
    compressed : one zlib stream over all frames; in .nrrd one gzip stream
    orientation : of the pictures in the file, such as "MFA", "UN", "FM", of volumes "UND" or "AMF"; None for
        what the header says, or MFA. The sequence itself is always MF, or MFA
    progress : called with (frames done, frames in all)

    Raises
    ------
    ValueError
        If the parts of the sequence have different numbers of frames, a name or text would not come back, or
        the pictures are none that the format has.

    Notes
    -----
    Text is UTF-8; PLUS itself writes ASCII.

    >>> import tempfile
    >>> from navkit.files import read_sequence
    >>> frames = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> pair = np.array([True, False])
    >>> sequence = Sequence(frames, np.array([0.1, 0.3]), {}, pair, {"Side": ("left", "")}, {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sequence(sequence, f"{folder}/s.mha", orientation="UN")
    ...     again = read_sequence(f"{folder}/s.mha")
    >>> np.array_equal(again.frames, frames), again.fields["Side"], again.image_valid.tolist()
    (True, ('left', ''), [True, False])
    """
    path = Path(path)
    if path.suffix.lower() not in (".mha", ".mhd", ".nrrd"):
        raise ValueError(
            f"{path.name} is the name of no sequence; expected one that ends in .mha, .mhd or .nrrd."
        )
    if path.suffix.lower() == ".nrrd":
        from navkit.files._nrrd import write_nrrd_sequence  # which needs this module's checks

        write_nrrd_sequence(sequence, path, compressed=compressed, orientation=orientation, progress=progress)
        return
    check_sequence(sequence)
    if orientation is None:
        orientation = sequence.header.get("UltrasoundImageOrientation", "MFA")
    frames, size = sequence.frames, _bare(sequence)
    dimension = 2 if frames is None else frames.ndim - 1
    if frames is None:
        from_mf = turn(path, orientation, back=True)
        compressed, kind = False, "MET_OTHER" if size[0] == "0" else sequence.header["ElementType"]
    else:
        kinds = {np.dtype(dtype): name for name, dtype in ELEMENT_TYPES.items()}
        if frames.dtype.newbyteorder("=") not in kinds or dimension not in (2, 3) or frames[:1].size <= 1:
            raise ValueError(
                f"the pictures are {frames.dtype} of shape {frames.shape}; expected (n, height, width) or "
                "(n, depth, height, width) of numbers that MetaImage has, one or more, with more than one "
                "pixel each."
            )
        from_mf = turn(path, orientation, back=True, dimension=dimension)
        kind = kinds[frames.dtype.newbyteorder("=")]
        size = [str(length) for length in (*from_mf(frames[:1]).shape[:0:-1], len(frames))]
    inside = path.suffix.lower() == ".mha"
    data_name = path.name if inside else path.stem + (".zraw" if compressed else ".raw")
    told = {
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "DimSize": " ".join(size),
        "ElementNumberOfChannels": "1",
        "ElementType": kind,
        "UltrasoundImageOrientation": orientation,
    }
    first = {"ObjectType": "Image", "NDims": str(dimension + 1)}
    last = {"ElementDataFile": "LOCAL" if inside else data_name}
    kept = {k: v for k, v in sequence.header.items() if k not in {*first, *last, "CompressedDataSize"}}
    room = {"CompressedDataSize": ""} if compressed else {}
    middle = dict(sorted({**DEFAULTS, **kept, **_axes(kept, dimension + 1), **told, **room}.items()))
    head = b"".join(checked_line(k, v) for k, v in {**first, **middle}.items())
    at = head.find(b"\nCompressedDataSize = ") + len(b"\nCompressedDataSize = ")
    with written_whole(path) as folder:
        with (folder / path.name).open("wb") as file:
            file.write(head)
            file.writelines(checked_line(name, text) for name, text in frame_fields(sequence))
            file.writelines(checked_line(name, text) for name, text in last.items())
        if frames is None:
            with (folder / data_name).open("ab") as file:
                padding = ELEMENT_TYPES.get(kind)
                file.write(bytes(len(sequence) * np.dtype(padding).itemsize) if padding else b"")
            return
        stream = zlib.compressobj() if compressed else None
        with (folder / data_name).open("ab") as file:
            start = file.tell()
            for k in range(len(frames)):
                one = from_mf(frames[k : k + 1])
                raw = np.ascontiguousarray(one, dtype=frames.dtype.newbyteorder("<")).data
                file.write(stream.compress(raw) if stream else raw)
                if progress:
                    progress(k + 1, len(frames))
            file.write(stream.flush() if stream else b"")
            held = file.tell() - start
        if compressed:
            with (folder / path.name).open("r+b") as file:
                file.seek(at)
                file.write(b"%d" % held)


def _bare(sequence: Sequence) -> list[str]:
    """The size of a sequence without pictures: older PLUS files have one pixel a frame instead of none."""
    old = ["1", "1", str(len(sequence))]
    header = sequence.header
    is_old = header.get("DimSize", "").split() == old and header.get("ElementType") in ELEMENT_TYPES
    return old if is_old else ["0", "0", str(len(sequence))]


def _axes(header: Mapping[str, str], axes: int) -> dict[str, str]:
    """What a MetaImage says of each axis, from a header that may have the axis of the frames or not."""
    told = {}
    for key, plain in PER_AXIS.items():
        words = header.get(key, "").split()
        told[key] = " ".join([*words, plain] if len(words) == axes - 1 else [plain] * axes)
        if len(words) == axes:
            told[key] = header[key]
    kinds = header.get("Kinds", "").split()
    is_list = len(kinds) == axes and kinds[-1] in ("list", "time")
    told["Kinds"] = header["Kinds"] if is_list else "domain " * (axes - 1) + "list"
    matrix = header.get("TransformMatrix", "")
    plain = " ".join("1" if k % (axes + 1) == 0 else "0" for k in range(axes**2))
    told["TransformMatrix"] = matrix if len(matrix.split()) == axes**2 else plain
    return told


def sequence_of(sweep: Sweep, *, image: str = "Image", reference: str = "Reference") -> Sequence:
    """A sweep as a PLUS sequence with ImageToReference: all that PLUS needs to reconstruct a volume of it.

    ``plus_sweep(sequence_of(sweep), config)`` gives frames, times, poses and validity back; the sector comes
    from the configuration.

    Parameters
    ----------
    sweep : a frame that is not valid has its pose with the status INVALID
    image, reference : PLUS's names of the picture's pixels and of the space they are placed in
    """
    name = f"{image}To{reference}"
    if frames_of(name) != (image, reference):
        raise ValueError(
            f"image={image!r} and reference={reference!r} make {name!r}, which PLUS reads otherwise; "
            "expected letters and digits, no 'To' inside, and a capital first."
        )
    placed = sweep.valid & np.isfinite(sweep.pr_M_p).all(axis=(1, 2))
    return Sequence(
        sweep.frames,
        sweep.time_s,
        {name: Transform(sweep.pr_M_p, placed)},
        np.ones(len(sweep), dtype=bool),
        {},
        {"UltrasoundImageOrientation": "MFA"},
    )


def check_sequence(sequence: Sequence) -> None:
    """Refuse what would not come back as it is."""
    n, transforms = len(sequence), sequence.transforms
    shapes = {"image_valid": sequence.image_valid.shape == (n,)}
    shapes |= {"frames": sequence.frames is None or len(sequence.frames) == n}
    shapes |= {f"the field {name}": len(texts) == n for name, texts in sequence.fields.items()}
    statuses = {"image_status": (sequence.image_status, sequence.image_valid)}
    statuses |= {f"the status of {name}": (one.status, one.valid) for name, one in transforms.items()}
    shapes |= {what: len(words) in (0, n) for what, (words, _) in statuses.items()}
    for name, one in transforms.items():
        shapes[f"the transform {name}"] = one.pose.shape == (n, 4, 4) and one.valid.shape == (n,)
    for what, right in shapes.items():
        if not right:
            raise ValueError(f"{what} has not one entry per frame; expected {n}, as there are times.")
    if np.isinf(sequence.time_s).any():
        raise ValueError("a time is infinite; expected seconds, or NaN where there is none.")
    if sequence.frames is None and sequence.image_valid.any():
        raise ValueError("image_valid is True where there is no picture; expected False.")
    for name, one in transforms.items():
        finite = np.isfinite(one.pose).all(axis=(1, 2))
        if (one.valid & ~finite).any():
            frame = np.flatnonzero(one.valid & ~finite)[0]
            raise ValueError(f"frame {frame}: {name} is valid but not finite; expected valid False.")
        if not finite.any():
            raise ValueError(f"{name} has no pose in any frame; expected one or more, or no such transform.")
        if not frames_of(name):
            raise ValueError(f"{name!r} is no transform's name; expected one such as 'ProbeToTracker'.")
    for what, (words, valid) in statuses.items():
        if any(word and v for word, v in zip(words, valid, strict=False)):
            raise ValueError(f"{what} has a word where valid is True; expected '' there, which means OK.")
    for name in sequence.fields:
        transform = name.removesuffix("Status").removesuffix("Transform")
        is_pose = name.endswith("Transform") and frames_of(transform) is not None
        is_status = name.endswith("TransformStatus") and transform in transforms
        if name in ("Timestamp", "ImageStatus", "Status") or is_pose or is_status:
            raise ValueError(f"the field {name} is one of PLUS's own; expected it in time_s or transforms.")
    for key in sequence.header:
        if FRAME_KEY.fullmatch(key):
            raise ValueError(f"the header has {key}; expected it among the fields, one text per frame.")


def frame_fields(sequence: Sequence) -> Iterator[tuple[str, str]]:
    for k in range(len(sequence)):
        start = f"Seq_Frame{k:04d}_"
        for name, texts in sorted(sequence.fields.items()):
            if texts[k] or (k == 0 and not any(texts)):
                yield start + name, texts[k]
        for name, one in sorted(sequence.transforms.items()):
            finite, word = np.isfinite(one.pose[k]).all(), one.status[k] if one.status else ""
            if finite:
                yield f"{start}{name}Transform", " ".join(map(repr, one.pose[k].ravel().tolist()))
            if finite or word:
                yield f"{start}{name}TransformStatus", word or ("OK" if one.valid[k] else "INVALID")
        if not np.isnan(sequence.time_s[k]):
            yield f"{start}Timestamp", repr(float(sequence.time_s[k]))
        word = sequence.image_status[k] if sequence.image_status else ""
        yield f"{start}ImageStatus", word or ("OK" if sequence.image_valid[k] else "INVALID")


def checked_line(key: str, value: str, *, sign: str = " = ") -> bytes:
    for text in (key, value):
        if text != text.strip() or UNWRITABLE.search(text) or (text is key and "=" in text):
            raise ValueError(
                f"{key[:60]!r} = {value[:60]!r} would not be read back; expected one line without blanks "
                "around it, and no '=' in a name."
            )
    if key == "CompressedDataSize":
        value = " " * 20  # it is known at the end
    line = f"{key}{sign}{value}\n".encode()
    if len(line) > LONGEST_LINE:
        raise ValueError(
            f"{key[:60]!r} makes a line of {len(line)} bytes; PLUS reads {LONGEST_LINE} at most."
        )
    return line
