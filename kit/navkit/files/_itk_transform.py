"""What a file's ITK transform does to points; also a program, for files that may crash the library.

``python _itk_transform.py PATH`` prints the answer as one line of JSON. It imports nothing but SimpleITK.
"""

import json
import sys
from pathlib import Path

PROBE_MM = 1000.0
MOST_BYTES = 2**32  # of memory, for the program


def effect(path: str) -> dict[str, object]:
    """``ends`` (7, 3): where the origin and the six points at 1 m along the axes go; or an ``error``.

    By its effect on points: one rule for every kind of transform, and for composites of them.
    """
    import SimpleITK as sitk

    try:
        transform = sitk.ReadTransform(path)
    except (RuntimeError, ValueError) as reason:
        last = (str(reason).strip().splitlines() or ["no reason given"])[-1]
        return {"error": f"cannot be read as an ITK transform: {last}"}
    if transform.GetDimension() != 3 or not transform.IsLinear():
        found = f"{transform.GetDimension()}-D {transform.GetName()}"
        return {"error": f"is a {found}; expected linear and 3-D."}
    points = [[0.0, 0.0, 0.0]]
    points += [[s * PROBE_MM * (k == axis) for k in range(3)] for s in (1, -1) for axis in range(3)]
    return {"ends": [transform.TransformPoint(point) for point in points]}


def effect_elsewhere(path: Path, timeout_s: float) -> dict[str, object]:
    """`effect` in a process of its own, which may crash or hang on a damaged file."""
    import subprocess

    command = [sys.executable, __file__, str(path.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
        answer: dict[str, object] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"was not read within {timeout_s:g} s; is the file damaged?"}
    except ValueError:
        return {"error": "crashed the library that reads it; the file is damaged."}
    return answer


if __name__ == "__main__":
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    print(json.dumps(effect(sys.argv[1])))
