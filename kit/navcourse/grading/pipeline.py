"""Two nbgrader preprocessors: one asks the learner's function, the other gives the score.

They stand in ``Autograde.autograde_preprocessors`` (see `run.class_config`), so that everything
before and after is nbgrader's own. `ProbeExecute` runs the notebook and, after each check cell,
a probe that never becomes part of the notebook. `Judge`, outside the kernel, replaces the check
cell's outputs so that nbgrader's rule for partial credit records exactly the judge's number.
"""

import json
import os
import re
import shutil
import tempfile
import time
import uuid
from functools import lru_cache
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from nbclient.client import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbclient.util import run_sync
from nbformat import NotebookNode, v4
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from traitlets import Bool, Dict, Integer, List, Unicode

from navcourse.grading import sandbox
from navcourse.grading._executed import (
    Asked,
    Executed,
    executed_path,
    fill,
    key_of,
    load,
    taken_from,
)
from navcourse.grading._warm import WarmProvisioner
from navcourse.grading.judge import Case, Hidden, Verdict, cases, load_checks, score
from navcourse.grading.probe import MARKER, Answer, answers_from, pack_inputs

__all__ = ["LOST", "Judge", "ProbeExecute", "asked_of", "checks_in", "exercise_of", "judged_path"]

NO_CHECK = "there is no hidden check for this exercise"
TIMED_OUT = "the code did not finish in time: is there a loop that never ends?"
DEAD = "the notebook's process ended before this exercise could be judged"
LOST = "lost"
MOST_TEXT = 4000
MOST_OUTPUT = 20_000_000
"""Characters that one cell may print, draw and display; the rest is left out."""
MOST_MESSAGE = 400_000_000
"""Of one message: the answers to all hidden cases of an exercise fit."""
OUTPUTS = frozenset(
    ["stream", "display_data", "update_display_data", "execute_result", "error", "comm_open", "comm_msg"]
)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class ProbeExecute(Execute):
    """Execute in the sandbox; after each check cell, ask the learner's function the hidden cases."""

    iopub_timeout: int  # nbclient's, here for the type checker
    checks_folder = Unicode("", help="folder of the hidden checks").tag(config=True)
    cohort = Unicode("", help="seeds the hidden cases").tag(config=True)
    require_sandbox = Bool(False, help="refuse to run learners' code without bubblewrap").tag(config=True)
    readable = List(Unicode(), help="folders the kernel may read, such as data sets").tag(config=True)
    caches = Dict(help="name -> folder of the host to copy in: numba, matplotlib").tag(config=True)
    memory_mb = Integer(6000, help="address space of one kernel").tag(config=True)
    executed = Unicode("", help="folder of results of earlier runs, taken when their key fits").tag(
        config=True
    )
    keys = Dict(help="notebook -> key of its result in `executed`").tag(config=True)
    private: Any = None  # the folder of the kernel that runs
    template: Any = None  # a worker's `_warm.Template`; without it every kernel starts cold

    def create_kernel_manager(self) -> Any:
        # One private folder for each kernel: connection file, sockets, the submission's copy.
        manager = self.kernel_manager_class(
            kernel_name=sandbox.kernelspec(self.private / "jupyter"),
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(self.private / "jupyter" / "kernels")]),
            connection_file=str(self.private / "kernel.json"),
            config=self.config,
        )
        if self.template:
            manager.provisioner = WarmProvisioner(
                parent=manager, kernel_id="warm", kernel_spec=manager.kernel_spec
            )
            manager.provisioner.use(self.template, self.private)
        if os.name != "nt":  # no network inside; outside, no port that another user could reach
            manager.transport, manager.ip = "ipc", str(self.private / "s" / "k")
        manager.context.setsockopt(zmq.MAXMSGSIZE, MOST_MESSAGE)  # else one message may fill the memory
        self.km = manager
        return manager

    def preprocess(self, nb: NotebookNode, resources: Any, km: Any = None) -> tuple[NotebookNode, Any]:
        """Take the stored result if there is one of this very submission, else run the notebook."""
        who = resources["nbgrader"]
        path = executed_path(Path(self.executed), who["student"], who["assignment"], who["notebook"])
        key = self.keys.get(who["notebook"], "")
        if key == LOST:
            return nb, resources  # no answers: the judge says what that means
        stored = load(path, key) if key else None
        if stored is None or not fill(nb, stored):
            stored = self.run(nb, resources)
        resources["navcourse"] = {name: self._answers(name, asked) for name, asked in stored.answers.items()}
        return nb, resources

    def key_of(self, submitted: Path, source: Path) -> str:
        """The key of a submission's result under these settings."""
        checks = checks_in(self.checks_folder)
        exercises = filter(None, map(exercise_of, nbformat.read(source, 4).cells))
        asked = [asked_of(checks[e], self.cohort)[1] if e in checks else NO_CHECK for e in exercises]
        limits = (self.timeout, self.memory_mb, sandbox.sandbox_available())
        return key_of(submitted, source, [*asked, str(limits)])

    def run(self, nb: NotebookNode, resources: Any) -> Executed:
        """Run the notebook in the sandbox and ask every exercise; a learner's failure is a result too.

        Raises
        ------
        RuntimeError
            If a sandbox is required and there is none, or no kernel could be started.
        """
        if not sandbox.sandbox_available():
            if self.require_sandbox:
                raise RuntimeError("no sandbox here: bubblewrap is missing or may not make a namespace")
            self.log.warning("no sandbox here: the code runs as you, with limits on time and memory only")
        self.private = Path(tempfile.mkdtemp(prefix="nc-"))
        self._asked: dict[str, Asked] = {}
        self._timed_out = self._started = False
        sandbox.write_settings(
            self.private,
            use_bwrap=sandbox.sandbox_available(),
            readable=[Path(p) for p in self.readable],
            caches={name: Path(folder) for name, folder in self.caches.items()},
            memory_mb=self.memory_mb,
        )
        NotebookClient.__init__(self, nb, None)
        self.reset_execution_trackers()
        self._check_assign_resources(resources)
        try:
            self._execute_all(nb, resources)
        except Exception as error:  # what a kernel says is the learner's: it may say anything
            # Exercises that were not reached have no answer: the judge says what that means.
            own_words = self.private / sandbox.LOG_NAME
            said = (
                own_words.read_text(errors="replace", encoding="utf-8")[-2000:] if own_words.is_file() else ""
            )
            self.log.error("kernel lost: %s %s", error, said)
            if not self._started:
                raise
            if self._cell.cell_type == "code":  # how much of it still came through is chance
                self._cell.outputs, self._cell.execution_count = [], None
        finally:
            shutil.rmtree(self.private, ignore_errors=True)
        return taken_from(nb, self._asked)

    def _execute_all(self, nb: NotebookNode, resources: Any) -> None:
        with self.setup_kernel():
            info = self.wait_for_reply(self.kc.kernel_info())
            if info is None:
                raise DeadKernelError("the kernel did not say who it is")
            self._started = True
            nb.metadata["language_info"] = info["content"]["language_info"]
            for index, cell in enumerate(list(nb.cells)):
                self._cell = cell
                finished = self._run(cell, resources, index)
                exercise = exercise_of(cell)
                if exercise:
                    late = Asked(instead=TIMED_OUT)
                    self._asked[exercise] = self._ask(exercise, nb, resources) if finished else late
        self.set_widgets_metadata()

    def _run(self, cell: NotebookNode, resources: Any, index: int, room: int = MOST_OUTPUT) -> bool:
        """Execute one cell; False when it ran out of time and was interrupted."""
        usual = self.iopub_timeout
        self._timed_out, self._room = False, room
        try:
            self.preprocess_cell(cell, resources, index)
        finally:
            self.iopub_timeout = usual
        if self._timed_out and not self._responds():
            raise DeadKernelError("the kernel cannot be interrupted")
        return not self._timed_out

    def process_message(self, msg: Any, cell: NotebookNode, cell_index: int) -> Any:
        """Keep the first outputs of a cell; a notebook that prints gigabytes is not kept in memory."""
        if msg["msg_type"] in OUTPUTS:
            self._room -= len(json.dumps(msg["content"]))
            if self._room < 0:
                return None
        return super().process_message(msg, cell, cell_index)

    async def _async_handle_timeout(self, timeout: int, cell: NotebookNode | None = None) -> Any:
        # After an interrupt the end of the outputs comes at once or never: do not wait as for a busy machine.
        self._timed_out, self.iopub_timeout = True, min(5, self.iopub_timeout)
        return await super()._async_handle_timeout(timeout, cell)

    def _responds(self) -> bool:
        async def reply() -> bool:
            wanted, end = self.kc.kernel_info(), time.monotonic() + 5.0
            while time.monotonic() < end:
                try:
                    message = await self.kc.shell_channel.get_msg(timeout=1.0)
                except Empty:
                    continue
                if message["parent_header"].get("msg_id") == wanted:
                    return True
            return False

        return bool(run_sync(reply)())

    def _ask(self, exercise: str, nb: NotebookNode, resources: Any) -> Asked:
        check = checks_in(self.checks_folder).get(exercise)
        if check is None:
            return Asked(instead=NO_CHECK)
        _, packed = asked_of(check, self.cohort)
        nonce = uuid.uuid4().hex
        source = (
            "import navcourse.grading.probe as _navcourse_probe\n"
            f"_navcourse_probe.probe({exercise!r}, {packed!r}, {nonce!r})"
        )
        cell = v4.new_code_cell(source)
        # nbclient wants the cell in the notebook while it runs; it must never be saved with it.
        nb.cells.append(cell)
        try:
            finished = self._run(cell, resources, len(nb.cells) - 1, MOST_MESSAGE)
        finally:
            nb.cells.pop()
        if not finished:
            return Asked(instead=TIMED_OUT)
        start = f"{MARKER}{nonce}:"
        lines = [line for line in _stream(cell, "stdout").splitlines() if line.startswith(start)]
        return Asked(lines[-1] if lines else "", nonce)

    def _answers(self, exercise: str, asked: Asked) -> list[Answer] | str:
        if asked.instead:
            return asked.instead
        cases, _ = asked_of(checks_in(self.checks_folder)[exercise], self.cohort)
        return answers_from(asked.line, len(cases), asked.nonce)


class Judge(NbGraderPreprocessor):
    """Replace each check cell's outputs by the visible text, the judge's lines and the score."""

    checks_folder = Unicode("", help="folder of the hidden checks").tag(config=True)
    cohort = Unicode("", help="seeds the hidden cases").tag(config=True)
    course_root = Unicode("", help="the verdicts are kept in its folder judged/").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        told: dict[str, list[Answer] | str] = resources.get("navcourse", {})
        record: dict[str, Any] = {}
        for cell in nb.cells:
            exercise = exercise_of(cell)
            if not exercise:
                continue
            points = float(cell.metadata.nbgrader["points"])
            answers = told.get(exercise, DEAD)
            verdict = self._verdict(exercise, answers, points)
            human = answers if answers in (DEAD, NO_CHECK) else ""
            record[exercise] = {"points": verdict.points, "lines": verdict.lines, "human": human}
            _replace_outputs(cell, verdict)
        who = resources["nbgrader"]
        path = judged_path(Path(self.course_root), who["assignment"], who["student"], who["notebook"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        return nb, resources

    def _verdict(self, exercise: str, answers: list[Answer] | str, points: float) -> Verdict:
        if isinstance(answers, str):
            then = "" if answers == TIMED_OUT else "; a human will look at it"
            return Verdict(0.0, points, (f"✗ {answers}{then}",))
        asked, _ = asked_of(checks_in(self.checks_folder)[exercise], self.cohort)
        return score(asked, answers, points)


def exercise_of(cell: NotebookNode) -> str:
    """The exercise that a check cell belongs to; empty for every other cell."""
    marks = cell.metadata.get("nbgrader", {})
    grade_id = str(marks.get("grade_id", ""))
    is_check = cell.cell_type == "code" and marks.get("grade") and not marks.get("solution")
    return grade_id.removeprefix("check_") if is_check and grade_id.startswith("check_") else ""


def judged_path(course_root: Path, assignment: str, student: str, notebook: str) -> Path:
    """Where the verdicts of one notebook are kept."""
    return course_root / "judged" / student / assignment / f"{notebook}.json"


@lru_cache(maxsize=4)
def checks_in(folder: str) -> dict[str, Hidden]:
    """The hidden checks of a folder, read once."""
    return load_checks(Path(folder))


@lru_cache(maxsize=64)
def asked_of(check: Hidden, cohort: str) -> tuple[list[Case], str]:
    """The cases of a check and their packed inputs: the same for the whole class, so made once."""
    made = cases(check, cohort)
    return made, pack_inputs([case.inputs for case in made])


def _stream(cell: NotebookNode, name: str) -> str:
    wanted = [o.text for o in cell.get("outputs", []) if o.output_type == "stream" and o.name == name]
    return "".join(wanted)


def _visible_text(cell: NotebookNode) -> str:
    """What the visible check said: its printed lines and the message of its error, no stderr."""
    text = _stream(cell, "stdout").rstrip()[:MOST_TEXT]
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            message = _ANSI.sub("", str(output.get("evalue") or output.get("ename", "")))
            mark = "" if message.startswith("✗") else "✗ "
            text += f"\n{mark}{message[:MOST_TEXT]}"
    return text.strip()


def _replace_outputs(cell: NotebookNode, verdict: Verdict) -> None:
    heading = f"Hidden checks: {verdict.points:g} of {verdict.max_points:g} points"
    text = "\n".join([t for t in (_visible_text(cell),) if t] + [heading, *verdict.lines]) + "\n"
    number = repr(float(verdict.points))  # nbgrader reads this text as a number; anything else is full marks
    cell.outputs = [
        v4.new_output("stream", name="stdout", text=text),
        v4.new_output("execute_result", data={"text/plain": number}, execution_count=cell.execution_count),
    ]
