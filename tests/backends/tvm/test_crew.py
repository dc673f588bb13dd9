"""Workers that crash, hang, fail or go away: jobs are done once, or the caller hears why not. Without TVM."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backends.base import BackendUnavailable, CannotRun
from backends.tvm.crew import BEAT_S, STARTING_S, Beat, Crew, Gone, Lost, Trade
from compofa.errors import InputError


@dataclass(frozen=True)
class Actor(Trade):
    """Does what the job says; each worker notes the jobs that it finished in a file."""

    notes: Path
    name: str = "actor"

    def __str__(self) -> str:
        return self.name

    def start(self, beat: Beat) -> Callable[[Any], Any]:
        if self.name == "unborn":
            raise BackendUnavailable("no board there")
        if self.name == "unanswered":
            with beat.asking():
                time.sleep(600)

        def work(job: str) -> str:
            flag = self.notes.with_suffix(".once")
            if not (job.startswith("once-") and flag.exists()):
                if job.startswith("once-"):
                    flag.touch()
                act(job.removeprefix("once-"), beat)
            with self.notes.open("a") as file:
                file.write(f"{self.name} {job}\n")
            return job.upper()

        return work


def act(deed: str, beat: Beat) -> None:
    if deed == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif deed == "hang":
        time.sleep(600)
    elif deed == "leave":
        raise Gone("went away")
    elif deed == "refuse":
        raise CannotRun("not this one")
    elif deed == "wrong":
        raise InputError("this cannot be done")
    elif deed.startswith("slow"):
        steps = Path(deed.removeprefix("slow "))
        for _ in range(5):
            with steps.open("a") as file:
                file.write("step\n")
            time.sleep(BEAT_S)
            beat()


def crew(notes: Path, *names: str, **settings: Any) -> Crew:
    return Crew([Actor(notes, name) for name in names], **settings)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def test_all_jobs_are_done_once(notes: Path) -> None:
    jobs = [f"job{i}" for i in range(20)]
    done = dict(crew(notes, "a", "b").run(jobs))
    assert done == {i: job.upper() for i, job in enumerate(jobs)}
    assert sorted(line.split()[1] for line in notes.read_text().splitlines()) == sorted(jobs)


@pytest.mark.parametrize("end", ["crash", "leave", "hang"])
def test_the_jobs_of_a_worker_that_ends_go_to_the_others(
    end: str, notes: Path, make_patient: Callable[[Crew], None], caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [f"once-{end}", *(f"job{i}" for i in range(6))]
    some = crew(notes, "a", "b", silence_s=1.0, replace=False)
    make_patient(some)
    with caplog.at_level(logging.WARNING):
        done = dict(some.run(jobs))
    some.close()
    assert sorted(done) == list(range(7))
    finished = notes.read_text().splitlines()
    assert len(finished) == len({line.split()[1] for line in finished}) == 7
    assert caplog.text.count("is dropped") == 1
    assert len({line.split()[0] for line in finished[-3:]}) == 1


def test_a_hung_worker_is_told_from_a_slow_one(notes: Path) -> None:
    """Five times half a second of work, each with a sign of life, where 1.2 s of silence are allowed; the job says
    how time passes, however long it takes on this machine."""
    steps = notes.with_name("steps")
    steps.touch()

    def clock() -> float:
        return BEAT_S * len(steps.read_text().splitlines())

    done = dict(crew(notes, "a", silence_s=1.2, replace=False, clock=clock).run([f"slow {steps}"]))
    assert len(done) == 1 and not isinstance(done[0], CannotRun)


def test_a_board_that_does_not_answer_has_no_longer_than_any_silence(notes: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(Lost, match=r"unanswered gave no sign of life for \d+ s"):
        list(crew(notes, "unanswered", silence_s=1.0, replace=False).run(["job"]))
    assert time.monotonic() - begun < STARTING_S


def test_a_process_that_crashes_is_replaced(notes: Path, caplog: pytest.LogCaptureFixture) -> None:
    done = dict(crew(notes, "a", replace=True).run(["once-crash", "job"]))
    assert done == {0: "ONCE-CRASH", 1: "JOB"}
    assert "another takes its place" in caplog.text


def test_when_all_have_gone_the_caller_hears_why(notes: Path) -> None:
    with pytest.raises(Lost, match="a went away"):
        list(crew(notes, "a", replace=False).run(["leave"]))
    with pytest.raises(Lost, match=r"a ended with code -11"):
        list(crew(notes, "a", replace=False).run(["crash"]))
    with pytest.raises(BackendUnavailable, match="no board there"):
        list(crew(notes, "unborn", replace=False).run(["job"]))


def test_a_job_that_ends_each_process_is_given_up(notes: Path) -> None:
    """And costs no other job."""
    some = crew(notes, "a", replace=True)
    done = dict(some.run(["job", "crash", "another"]))
    assert (done[0], done[2]) == ("JOB", "ANOTHER")
    assert isinstance(done[1], CannotRun) and "a ended with code -11" in str(done[1])
    assert isinstance(dict(some.run(["crash"]))[0], CannotRun)
    assert some.workers == [], "nobody is started for nothing"
    assert dict(some.run(["job"])) == {0: "JOB"}


def test_no_more_are_started_than_there_are_jobs(notes: Path) -> None:
    some = crew(notes, "a", "b", "c", replace=True)
    assert dict(some.run(["job"])) == {0: "JOB"}
    assert len(some.workers) == 1
    assert len(dict(some.run(["job"] * 2))) == 2
    assert len(some.workers) == 2


def test_a_job_that_cannot_be_done_costs_no_other(notes: Path) -> None:
    some = crew(notes, "a", replace=False)
    done = dict(some.run(["refuse", "job"]))
    assert isinstance(done[0], CannotRun) and str(done[0]) == "not this one"
    assert done[1] == "JOB" and len(some.workers) == 1


def test_a_run_that_was_not_seen_through_leaves_nothing_to_the_next(notes: Path) -> None:
    some = crew(notes, "a", "b", replace=False)
    slow = f"slow {notes.with_suffix('.steps')}"
    for index, _ in some.run(["quick", slow, slow, slow]):
        if index == 0:
            break
    found = dict(some.run(["new-0", "new-1", "new-2"]))
    some.close()
    assert found == {0: "NEW-0", 1: "NEW-1", 2: "NEW-2"}


def test_what_a_worker_raises_reaches_the_caller(notes: Path) -> None:
    with pytest.raises(ValueError, match="this cannot be done"):
        list(crew(notes, "a").run(["wrong"]))


def test_no_process_outlives_the_crew(notes: Path) -> None:
    some = crew(notes, "a", silence_s=60)
    running = some.run(["job", "hang"])
    next(running)
    pids = [worker.process.pid for worker in some.workers]
    some.close()
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
