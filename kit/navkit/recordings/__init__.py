"""Recordings of your own: what anything is and whether it is healthy, in another format, without names.

Each of the three reads anything that `navkit.files` reads, says what it could not do, and writes new files
only: a recording is never changed in place.
"""

from navkit.recordings._about import Description
from navkit.recordings._anonymise import Anonymised, anonymise
from navkit.recordings._convert import convert
from navkit.recordings._describe import describe

__all__ = ["Anonymised", "Description", "anonymise", "convert", "describe"]
