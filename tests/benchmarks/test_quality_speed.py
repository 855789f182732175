"""What the quality lines of `navkit reconstruct` cost beside the run that they speak of."""

import pytest

from navkit import files
from navkit.reconstruction import output_grid, quality_report, reconstruct


@pytest.fixture(scope="module")
def sweep(navkit_data):
    return files.read_acquisition(navkit_data / "custusx" / "angio_lab_256x192")


@pytest.fixture(scope="module")
def volume(sweep):
    return reconstruct(sweep, output_grid(sweep, spacing_mm=0.117895))  # CustusX's own; 31 million voxels


@pytest.mark.benchmark(group="quality")
def test_reconstruct_and_write(benchmark, sweep, volume, tmp_path):
    def run():
        files.write_volume(reconstruct(sweep, volume.grid), tmp_path / "volume.mha")

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="quality")
def test_quick_quality(benchmark, sweep, volume):
    """At most 0.3 of the time above, as the help of the command says."""
    benchmark.pedantic(quality_report, (sweep, volume), {"repeat": False}, rounds=3, warmup_rounds=1)
