"""Named data: made from a recipe and a seed, checked by hash, or fetched from a public address.

The registry (``datasets/registry.toml``) says for each name how it is made, what it must hash to and
under which licence. Nothing is downloaded unless you call `fetch`.
"""

from navkit.datasets._export import export_patient
from navkit.datasets._patients import BOUNDS
from navkit.datasets._registry import (
    DatasetInfo,
    case_rng,
    fetch,
    info,
    load,
    make,
    names,
    recording,
    verify,
)
from navkit.datasets._store import DatasetError

__all__ = [
    "BOUNDS",
    "DatasetError",
    "DatasetInfo",
    "case_rng",
    "export_patient",
    "fetch",
    "info",
    "load",
    "make",
    "names",
    "recording",
    "verify",
]
