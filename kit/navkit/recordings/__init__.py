"""Recordings of your own: what anything is and whether it is healthy."""
