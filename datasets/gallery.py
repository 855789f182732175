"""For authors: make cards/gallery.png anew, every phantom on one sheet; about a minute.

    python datasets/gallery.py [PATH]

Look at it before you commit it.
"""

import sys
from pathlib import Path

import numpy as np

from navkit.viewing import gallery, save_gallery

if __name__ == "__main__":
    path = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).resolve().parent / "cards" / "gallery.png"
    figure, description = gallery(rng=np.random.default_rng(4))
    print(f"{save_gallery(figure, path, description)}: {path.stat().st_size} bytes")
