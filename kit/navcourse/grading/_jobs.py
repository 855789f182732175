"""Runs jobs in several worker processes; a worker that dies costs one more try, not the class."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from navcourse.grading._worker import course_to
from navcourse.grading.settings import Course

__all__ = ["Job", "cores", "run_jobs"]

Job = Mapping[str, str]
"""Plain texts: student, assignment, notebook, key."""
TRIES = 2
GONE = "the worker process ended"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(course: Course, jobs: Sequence[Job], *, workers: int) -> Generator[tuple[Job, str], None, None]:
    """Run all jobs; yields each as it ends, with "" or with what went wrong twice and was not the learner's.

    Closing the iterator, also by Ctrl-C, ends every worker and its kernel.
    """
    todo: queue.SimpleQueue[Job] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Job, str]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)
    stop = threading.Event()
    running: dict[int, subprocess.Popen[str]] = {}
    threads = [
        threading.Thread(target=_serve, args=(course, todo, done, stop, running, number))
        for number in range(min(workers, len(jobs)))
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            yield done.get()
    finally:
        stop.set()
        for worker in list(running.values()):
            with suppress(OSError):
                worker.stdin.close()  # type: ignore[union-attr]  # at this it ends, and its kernel
        for thread in threads:
            thread.join()


def _serve(
    course: Course,
    todo: "queue.SimpleQueue[Job]",
    done: "queue.SimpleQueue[tuple[Job, str]]",
    stop: threading.Event,
    running: dict[int, "subprocess.Popen[str]"],
    number: int,
) -> None:
    worker = None
    while not stop.is_set():
        try:
            job = todo.get_nowait()
        except queue.Empty:
            break
        said = GONE
        for _ in range(TRIES):
            worker = worker or _started(course)
            running[number] = worker
            if stop.is_set():
                break
            said = _told(worker, job)
            if said == GONE:
                _ended(worker)
                worker = None
            if not said or stop.is_set():
                break
        done.put((job, said))
    if worker:
        _ended(worker)


def _started(course: Course) -> "subprocess.Popen[str]":
    # A session of its own: Ctrl-C in the terminal is the grader's to answer.
    command = [sys.executable, "-P", "-m", "navcourse.grading._worker"]
    with course.log.open("a", encoding="utf-8") as log:
        worker = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
    _say(worker, course_to(course))
    return worker


def _told(worker: "subprocess.Popen[str]", job: Job) -> str:
    _say(worker, job)
    line = worker.stdout.readline() if worker.stdout else ""
    return str(json.loads(line)) if line.endswith("\n") else GONE


def _say(worker: "subprocess.Popen[str]", what: Mapping[str, Any]) -> None:
    with suppress(OSError, ValueError):  # it is gone: reading from it will tell
        worker.stdin.write(json.dumps(what) + "\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]


def _ended(worker: "subprocess.Popen[str]") -> None:
    for pipe in (worker.stdin, worker.stdout):
        with suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
    try:
        worker.wait(timeout=20)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
