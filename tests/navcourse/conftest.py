"""What pytest must leave alone here."""

# A lesson script runs its checks, and fails on purpose, when it is imported.
collect_ignore = ["sample_lesson.py"]
