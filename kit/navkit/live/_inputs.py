"""What one may stream, by name or by path."""

from pathlib import Path

import numpy as np

from navkit import datasets, files
from navkit.files._probe import sector_from_probedata
from navkit.live._source import tracking_of
from navkit.tracking import PoseStream
from navkit.ultrasound import ProbeSector, Sweep


def read_source(source: str | Path, config: str | Path | None = None) -> tuple[Sweep, PoseStream | None]:
    """A sweep to stream, and its tracking where that was recorded by itself.

    Parameters
    ----------
    source : a CustusX acquisition (folder or file), a PLUS sequence, or a data set that is a sweep
    config : PLUS's configuration, for a sequence

    Raises
    ------
    ValueError
        If it is none of them; the sentence says what is missing.
    """
    path = Path(source)
    if not path.exists():
        if str(source) not in datasets.names():
            some = ", ".join(datasets.names("acquisition"))
            raise ValueError(f"{source} is no file and no data set; expected one of them. There are {some}.")
        made = datasets.load(str(source))
        if not isinstance(made, Sweep):
            raise ValueError(f"the data set {source} holds arrays; expected a sweep.")
        return made, None
    is_sequence = path.suffix.lower() in (".mha", ".mhd", ".nrrd") and not any(path.parent.glob("*.fts"))
    if is_sequence:
        if config is None:
            raise ValueError(f"{path.name} is a PLUS sequence; expected its configuration (.xml) as well.")
        plus = files.read_plus_config(config)
        return files.plus_sweep(files.read_sequence(path), plus, name=path.stem), None
    return files.read_acquisition(path), files.read_tracking(path)


def read_sector(source: str | Path) -> ProbeSector:
    """The sector of a ``.probedata.xml``, or of what `read_source` reads."""
    if not str(source).lower().endswith(".probedata.xml"):
        return read_source(source)[0].sector
    sector = sector_from_probedata(Path(source))
    if sector is None:
        raise ValueError(f"{source} leaves the sector to the probe database; expected one that has it.")
    return sector


def sheared_mm(sweep: Sweep) -> float:
    """How far a corner moves where a rigid pose carries the picture."""
    height, width = sweep.sector.shape
    corners = np.array([[0, 0, 0, 1], [width, 0, 0, 1], [0, height, 0, 1], [width, height, 0, 1.0]])
    moved = tracking_of(sweep).pose[sweep.valid] @ sweep.sector.t_M_p() - sweep.pr_M_p[sweep.valid]
    return float(np.linalg.norm((moved @ corners.T)[:, :3], axis=1).max(initial=0.0))
