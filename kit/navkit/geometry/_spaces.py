"""Which space is known from which."""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry._poses import compose, inverse

Array = NDArray[np.float64]


class SpaceGraph:
    """Which space is known from which, and the chain between any two.

    >>> from navkit.geometry import pose_from
    >>> spaces = SpaceGraph().set("r", "pr", pose_from(np.eye(3), [1, 0, 0]))
    >>> _ = spaces.set("pr", "t", pose_from(np.eye(3), [0, 2, 0]))
    >>> spaces.get("t", "r")[:3, 3]
    array([-1., -2.,  0.])
    """

    def __init__(self) -> None:
        self._links: dict[str, dict[str, Array]] = {}

    def set(self, q: str, r: str, q_M_r: ArrayLike) -> "SpaceGraph":
        """Record ``q_M_r``, one (4, 4) or a stack (n, 4, 4) of them, such as one for each frame.

        A link may be replaced; a second path between two spaces is refused.
        """
        m = np.array(q_M_r, dtype=float)  # a copy: the caller may write to its own
        if m.shape[-2:] != (4, 4):
            raise ValueError(f"{q}_M_{r} has shape {m.shape}; expected (4, 4) or (n, 4, 4).")
        if q == r:
            raise ValueError(f"{q}_M_{r} links a space with itself.")
        path = self._path(q, r)
        if path is not None and len(path) > 2:
            raise ValueError(
                f"{q}_M_{r} would close a loop: {q} already reaches {r} by {' - '.join(path)}. "
                "Two paths can disagree; remove one."
            )
        back = inverse(m)
        self._links.setdefault(q, {})[r] = m
        self._links.setdefault(r, {})[q] = back
        return self

    def get(self, q: str, r: str) -> Array:
        """``q_M_r`` through the links that are known.

        Raises
        ------
        KeyError
            If a space is unknown or no chain joins the two; the message says what each reaches.
        """
        path = self._path(q, r) if q in self._links else None
        if path is None:
            raise KeyError(
                f"no chain from {r} to {q}: {q} reaches {self._reach(q)}, {r} reaches {self._reach(r)}. "
                "A transform that joins the two groups is missing."
            )
        return compose(np.eye(4), *(self._links[a][b] for a, b in pairwise(path)))

    def _path(self, q: str, r: str) -> list[str] | None:
        queue, seen = [[q]], {q}
        while queue:
            path = queue.pop(0)
            if path[-1] == r:
                return path
            for name in self._links.get(path[-1], {}):
                if name not in seen:
                    seen.add(name)
                    queue.append([*path, name])
        return None

    def _reach(self, q: str) -> str:
        names = sorted(name for name in self._links if self._path(q, name) and name != q)
        return ", ".join(names) if names else "nothing"
