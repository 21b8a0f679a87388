"""Fuzz the readers: damaged files enter, refusals or volumes leave, nothing else.

    python tests/fuzz_readers.py random --inputs 50000       # our mutator, all formats
    python tests/fuzz_readers.py bits                        # every bit and every cut
    python tests/fuzz_readers.py guided --kind nifti --inputs 10000   # atheris

An input passes if the reader returns, or raises a KcalcError, within 5 seconds of CPU
time and within 1 GiB beyond what the process took before; a minute without an end is a
hang, however busy the machine is. Inputs run in a child process, so
that a crash of a decoder or an endless loop is found too; what fails is kept, with its
traceback, in ``--keep``. Equal arguments give equal inputs. Exit code 1 if any failed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_SECONDS = 5.0
MAX_WALL_SECONDS = 60.0
MAX_GROWTH_KIB = 1 << 20
"""Memory that one process may take beyond its start: 1 GiB."""
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_WORDS = (
    b"nan",
    b"-1",
    b"0",
    b"1e308",
    b"-1e-320",
    b"9" * 30,
    b"",
    b"\0",
    b"\\",
    b"../",
)


@dataclass(frozen=True)
class Outcome:
    """What became of one input: a code, ``ok``, or a failure with its traceback."""

    word: str
    failure: str = ""


def outcome_of(read: Callable[[], object]) -> Outcome:
    """Run a reader and tell what it did; a KcalcError is a good end."""
    from kcalc.errors import KcalcError

    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read()
        word = "ok"
    except KcalcError as error:
        word = error.code
    except BaseException as error:
        return Outcome(type(error).__name__, traceback.format_exc())
    seconds = time.process_time() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if seconds > MAX_SECONDS:
        return Outcome("slow", f"{seconds:.1f} s, then {word}")
    if grown > MAX_GROWTH_KIB:
        return Outcome("memory", f"{grown >> 10} MiB, then {word}")
    return Outcome(word)


def mutated(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Return damaged content: bits, lengths, cuts, repeats, parts of another file."""
    data = bytearray(content)
    kinds = 4 if rng.random() < 0.6 else 9  # most keep the length
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            return b""
        at = int(rng.integers(0, len(data)))
        span = int(rng.integers(1, 40))
        match int(rng.integers(0, kinds)):
            case 0:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at] = int(rng.integers(0, 256))
            case 2:
                size = int(rng.choice([1, 2, 4]))
                value = int(rng.choice(_INTERESTING)) & (1 << 8 * size) - 1
                order = "little" if rng.random() < 0.8 else "big"
                data[at : at + size] = value.to_bytes(size, order)
            case 3:
                word = _WORDS[int(rng.integers(0, len(_WORDS)))]
                data[at : at + len(word)] = word
            case 4:
                data[at:at] = data[at : at + span] * int(rng.integers(1, 6))
            case 5:
                start = int(rng.integers(0, max(1, len(other))))
                data[at : at + span] = other[start : start + span]
            case 6:
                del data[at : at + span]
            case 7:
                data[at : at + span] = bytes(min(span, len(data) - at))
            case _:
                if rng.random() < 0.2:
                    del data[at:]
    return bytes(data)


def every_bit_and_cut(content: bytes) -> Iterator[bytes]:
    """Yield the content with each one bit turned, and cut after each byte."""
    for index in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[index // 8] ^= 1 << index % 8
        yield bytes(damaged)
    for length in range(len(content)):
        yield content[:length]


# --- seeds --------------------------------------------------------------------


@dataclass(frozen=True)
class Seed:
    """One good input: its kind, the folder it lies in, the file to damage."""

    kind: str
    name: str
    folder: Path
    path: Path
    content: bytes
    read: Callable[[], object]

    def try_with(self, content: bytes) -> Outcome:
        """Put content in the place of the file and read it."""
        self.path.write_bytes(content)
        return outcome_of(self.read)


def seeds(root: Path) -> list[Seed]:
    """Write every good input below a folder and return them."""
    from fuzz_seeds import WRITERS

    found = []
    for kind, writers in WRITERS.items():
        for write in writers:
            name = write.__name__
            folder = root / f"{kind}-{name}"
            folder.mkdir(parents=True)
            path, read = write(folder)
            found.append(Seed(kind, name, folder, path, path.read_bytes(), read))
    return found


def _inputs(mode: str, found: list[Seed], count: int, seed: int) -> Iterator[tuple]:
    """Yield (seed, content) in an order that depends on the arguments alone."""
    if mode == "bits":
        for one in found:
            for content in every_bit_and_cut(one.content):
                yield one, content
        return
    kinds: dict[str, list[Seed]] = {}
    for one in found:
        kinds.setdefault(one.kind, []).append(one)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        family = list(kinds.values())[number % len(kinds)]
        one = family[int(rng.integers(0, len(family)))]
        other = family[int(rng.integers(0, len(family)))]
        yield one, mutated(rng, one.content, other.content)


# --- running ------------------------------------------------------------------


def run(mode: str, kinds: list[str], count: int, seed: int, keep: Path) -> int:
    """Run all inputs in child processes and return how many failed."""
    progress = multiprocessing.Value("q", -1)
    totals: Counter[str] = Counter()
    num_failed = first = 0
    began = time.monotonic()
    while True:
        queue: multiprocessing.Queue = multiprocessing.Queue()
        child = multiprocessing.Process(
            target=_work,
            args=(mode, kinds, count, seed, first, keep, progress, queue),
        )
        child.start()
        killed = _watch(child, progress)
        with contextlib.suppress(Exception):
            counts, failed = queue.get(timeout=5)
            totals += counts
            num_failed += failed
        if child.exitcode == 0:
            break
        at = progress.value
        if at < first:
            raise SystemExit("The child process ended before its first input.")
        num_failed += 1
        totals["hang" if killed else f"crash {child.exitcode}"] += 1
        print(f"input {at}: {'hang' if killed else 'crash'}", flush=True)
        first = at + 1
    num_done = progress.value + 1
    print(f"{num_done} inputs in {time.monotonic() - began:.0f} s, {num_failed} failed")
    for word, number in totals.most_common():
        print(f"  {number:8d} {word}")
    return num_failed


def _watch(child: multiprocessing.Process, progress: multiprocessing.Value) -> bool:
    """Wait for a child; kill it where one input finds no end."""
    first = last = progress.value
    since = time.monotonic()
    while child.is_alive():
        child.join(0.5)
        if progress.value != last:
            last, since = progress.value, time.monotonic()
        elif last != first and time.monotonic() - since > MAX_WALL_SECONDS:
            child.kill()
            child.join()
            return True
    return False


def _work(mode, kinds, count, seed, first, keep, progress, queue) -> None:
    """Run the inputs from one number on; leave the current number in ``progress``."""
    totals: Counter[str] = Counter()
    num_failed = 0
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as root:
        found = [one for one in seeds(Path(root)) if not kinds or one.kind in kinds]
        last = None
        for number, (one, content) in enumerate(_inputs(mode, found, count, seed)):
            if number < first:
                continue
            if last is not None and last is not one:
                last.path.write_bytes(last.content)
            last = one
            progress.value = number
            (keep / "current").write_bytes(content)
            outcome = one.try_with(content)
            totals[f"{one.kind}: {outcome.word}"] += 1
            if outcome.failure:
                num_failed += 1
                (keep / f"{one.kind}-{one.name}-{number}").write_bytes(content)
                (keep / f"{one.kind}-{one.name}-{number}.txt").write_text(
                    outcome.failure
                )
                print(f"input {number} ({one.kind} {one.name}): {outcome.word}")
            if number % 1000 == 999:
                print(f"{number + 1} inputs, {num_failed} failed", flush=True)
    queue.put((totals, num_failed))


def run_guided(kind: str, count: int) -> None:
    """Run atheris, which looks for inputs that reach new code; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["kcalc", "pydicom", "nibabel"]):
        import nibabel  # noqa: F401
        import pydicom  # noqa: F401

        import kcalc.io.dicom_series
        import kcalc.io.nifti  # noqa: F401
    root = Path(tempfile.mkdtemp())
    found = [one for one in seeds(root) if one.kind == kind]
    corpus = root / "corpus"
    corpus.mkdir()
    for number, one in enumerate(found):
        (corpus / str(number)).write_bytes(bytes([number]) + one.content)

    def try_one(data: bytes) -> None:
        one = found[data[0] % len(found)] if data else found[0]
        outcome = one.try_with(data[1:])
        one.path.write_bytes(one.content)
        if outcome.failure:
            raise RuntimeError(f"{one.kind} {one.name}: {outcome.failure}")

    flags = [
        f"-runs={count}",
        f"-timeout={int(MAX_WALL_SECONDS)}",
        "-rss_limit_mb=4096",
    ]
    longest = max(len(one.content) for one in found)
    atheris.Setup(
        [sys.argv[0], *flags, f"-max_len={2 * longest}", str(corpus)], try_one
    )
    atheris.Fuzz()


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("random", "bits", "guided"))
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz"
    )
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    if arguments.mode == "guided":
        run_guided(arguments.kind[0], arguments.inputs)
        return 0
    failed = run(
        arguments.mode,
        arguments.kind,
        arguments.inputs,
        arguments.seed,
        arguments.keep,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
