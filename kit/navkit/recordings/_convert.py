"""From one format to another, with what was lost on the way as sentences."""

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from navkit.files import FileError
from navkit.files._dicom import is_dicom
from navkit.files._errors import written_whole
from navkit.recordings import _convert_frames as frames
from navkit.recordings import _convert_small as small
from navkit.recordings import _convert_sweeps as sweeps
from navkit.recordings import _convert_volumes as volumes

Progress = Callable[[int, int], None]

IMAGES = (".mha", ".mhd", ".nrrd")
ENDINGS = {  # of a target, by its kind; an acquisition is a folder
    "sequence": IMAGES,
    "volume": (*IMAGES, ".nii", ".nii.gz"),
    "landmarks": (".mrk.json", ".json", ".fcsv", ".tag"),
    "transform": (".tfm", ".h5", ".txt", ".cal"),
    "table": (".csv",),
    "probe data": (".probedata.xml",),
}
POSSIBLE = {
    "acquisition": ("sequence", "acquisition"),
    "sequence": ("sequence", "acquisition"),
    "volume": ("volume",),
    "DICOM series": ("volume",),
    "landmarks": ("landmarks",),
    "transform": ("transform",),
    "log of tool positions": ("table", "sequence"),
    "probe database": ("probe data",),
}
OF_ACQUISITION = (".fts", ".tts", ".tp")
HEAD = 2**16


def convert(
    source: str | Path,
    target: str | Path,
    *,
    config: str | Path | None = None,
    configuration: str | None = None,
    series: str | None = None,
    layout: Literal["stack", "frames"] = "stack",
    orientation: str | None = None,
    compressed: bool = True,
    spacing_from: Literal["agreed", "image"] = "agreed",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write `source` in the format that the name of `target` says; return what was lost, one sentence each.

    ========================== ===========================================================================
    from                       to
    ========================== ===========================================================================
    CustusX acquisition        PLUS sequence, with its configuration and probe data beside it under the
                               same name (.xml, .probedata.xml); the other layout
    PLUS sequence              CustusX acquisition (a name without a known ending); .mha, .mhd, .nrrd
    volume, DICOM series       .mha, .mhd, .nrrd, .nii, .nii.gz
    landmarks                  .mrk.json, .json, .fcsv, .tag
    transform                  .tfm, .h5, .txt (4 x 4, patient LPS in mm), .cal
    log of tool positions      .csv, a PLUS sequence without pictures
    probe database             .probedata.xml of one configuration
    ========================== ===========================================================================

    Parameters
    ----------
    source : a file, or the folder of an acquisition or of a DICOM series
    target : written whole or not at all
    config : of a sequence that becomes an acquisition: PLUS's configuration with the calibration, or
        CustusX's .probedata.xml with the sector. None for those beside the sequence, under its name
    configuration : of a probe database: ``Scanner:Probe:RTSource:ConfigID``
    series : of a folder with several DICOM series: its UID or description
    layout : of an acquisition: one stack, or one file a frame
    orientation, compressed : of a sequence, as `write_sequence`
    spacing_from : of an acquisition, as `read_acquisition`
    overwrite : replace what is there
    progress : called with (frames done, frames in all) while a sequence is written

    Raises
    ------
    FileError
        If there is no way from one to the other (the sentence says what is possible), the target exists, the
        source cannot be trusted, or the target cannot hold what matters.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "nose.fcsv").write_text(
    ...     "# Markups fiducial file version = 4.11\\n# CoordinateSystem = RAS\\n"
    ...     "# columns = id,x,y,z,label,desc\\n1,-10,20.5,3,tip,seen well\\n"
    ... )
    >>> convert(folder / "nose.fcsv", folder / "nose.tag")
    ('nose.fcsv: the descriptions of 1 point',)
    """
    source, target = Path(source), Path(target)
    kind = kind_of(source)
    goal = _goal(source, kind, target)
    if target.exists() and source.resolve() == target.resolve():
        raise FileError(f"{target.name} is the source itself; expected another name.")
    _check_target(target, goal, overwrite)
    with written_whole(target) as folder:
        new = folder / target.name
        if goal == "acquisition" and kind == "acquisition":
            lost = frames.to_other_layout(source, new, layout)
        elif goal == "acquisition":
            lost = sweeps.sequence_to_acquisition(source, new, config=config, layout=layout)
        elif kind == "acquisition":
            lost = sweeps.acquisition_to_sequence(
                source, new, orientation=orientation, compressed=compressed, spacing_from=spacing_from,
                progress=progress,
            )  # fmt: skip
        elif kind == "sequence":
            lost = frames.to_other_sequence(
                source, new, orientation=orientation, compressed=compressed, progress=progress
            )
        elif kind == "log of tool positions":
            lost = (frames.positions_to_sequence if goal == "sequence" else small.to_table)(source, new)
        elif kind == "DICOM series":
            lost = volumes.from_dicom(source, new, series)
        elif kind == "volume":
            lost = volumes.to_other_volume(source, new)
        elif kind == "landmarks":
            lost = small.to_other_landmarks(source, new)
        elif kind == "transform":
            lost = small.to_other_transform(source, new)
        else:
            lost = small.to_probe_data(source, new, configuration)
        there = [part.name for part in folder.iterdir() if (target.parent / part.name).exists()]
        if there and not overwrite and not (target.is_dir() and there == [target.name]):
            raise FileError(
                f"{', '.join(sorted(there))} exists beside {target.name}; overwrite=True replaces it."
            )
        if target.is_dir():  # a folder does not replace another
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.rename(aside / target.name)
            try:
                new.rename(target)
            except OSError:
                (aside / target.name).rename(target)
                raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return lost


def kind_of(path: Path) -> str:
    """What a source is: one of the keys of POSSIBLE."""
    low = path.name.lower()
    if path.is_dir():
        files = [p for p in path.iterdir() if p.is_file()]
        if any(p.suffix == ".fts" for p in files):
            return "acquisition"
        if any(is_dicom(p) for p in files):
            return "DICOM series"
        raise FileError(f"{path.name}/ holds neither an acquisition (.fts) nor a DICOM series; expected one.")
    if not path.is_file():
        raise FileError(f"{path} does not exist; expected a file or a folder.")
    base = re.sub(r"_\d+$", "", path.stem)
    if low.endswith(OF_ACQUISITION) or (
        low.endswith(".mhd") and any((path.parent / f"{b}.fts").is_file() for b in (path.stem, base))
    ):
        return "acquisition"
    if is_dicom(path):
        return "DICOM series"
    with path.open("rb") as file:
        head = file.read(HEAD)
    if low.endswith(IMAGES):
        kinds = re.search(rb"(?mi)^kinds\s*[=:]\s*([^\r\n]*)", head)
        words = kinds[1].split() if kinds else []
        if words[:4] == [b"domain"] * 3:
            return "volume" if len(words) == 3 else "sequence"
        return "sequence" if re.search(rb"(?mi)^seq_frame\d", head) else "volume"
    if low.endswith((".nii", ".nii.gz")):
        return "volume"
    if low.endswith(".xml") and b"<USScanner" in head:
        return "probe database"
    if low.endswith(".snwpos"):
        return "log of tool positions"
    for kind in ("landmarks", "transform"):
        if low.endswith(ENDINGS[kind]):
            return kind
    raise FileError(f"{path.name} is nothing that can be converted; expected one of: {', '.join(POSSIBLE)}.")


def _goal(source: Path, kind: str, target: Path) -> str:
    low = target.name.lower()
    known = [goal for goal, endings in ENDINGS.items() if low.endswith(endings)]
    is_folder = target.is_dir() or not re.fullmatch(r"\.[a-z]\w{0,5}", target.suffix.lower())
    goals = known if known and not target.is_dir() else ["acquisition"] * is_folder
    found = next((goal for goal in POSSIBLE[kind] if goal in goals), None)
    if found is None:
        ways = [
            "a folder (CustusX acquisition)"
            if goal == "acquisition"
            else f"{goal} ({', '.join(ENDINGS[goal])})"
            for goal in POSSIBLE[kind]
        ]
        raise FileError(f"{source.name} ({kind}) becomes {' or '.join(ways)}, not {target.name}.")
    return found


def _check_target(target: Path, goal: str, overwrite: bool) -> None:
    if not target.exists() or (goal == "acquisition" and target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise FileError(f"{target.name} exists; overwrite=True replaces it.")
    if goal == "acquisition":
        bases = {p.stem for p in target.glob("*.fts")} if target.is_dir() else set()
        strange = [p.name for p in target.glob("*") if not any(p.name.startswith(base) for base in bases)]
        if len(bases) != 1 or strange:
            what = strange[0] if strange else f"{len(bases)} acquisitions"
            raise FileError(
                f"{target.name} holds {what}; only a folder of one acquisition and nothing else is replaced."
            )
