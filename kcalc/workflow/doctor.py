"""Whether kcalc can work on this machine: nothing enters, a list of checks leaves."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kcalc._version import NOTICE, __version__
from kcalc.artifact import find_model, verify
from kcalc.errors import KcalcError, ModelError, ResourceError
from kcalc.terminal import without_start_up_lines

LEAST_MEMORY_MIB = 2048
"""Memory in which a chest CT is scored: the peak is about 1 GiB (README, Measured)."""
LEAST_DISK_MIB = 512
"""Free space for temporary files and a result folder."""

_SYNTAXES = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG baseline (8 bit)": "1.2.840.10008.1.2.4.50",
    "JPEG extended (12 bit)": "1.2.840.10008.1.2.4.51",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS lossless": "1.2.840.10008.1.2.4.80",
    "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90",
    "HTJ2K lossless": "1.2.840.10008.1.2.4.201",
}
"""Compressed transfer syntaxes that CT archives use."""
_DISTRIBUTION = "kcalc"
_MIB = 1 << 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What.
        state: ``"ok"``; ``"warning"``, kcalc works with less; ``"failed"``, no scan
            can be scored.
        message: What was found, in words.
        hint: The way out; "" where all is well.
        code: Reason code of a failure.
    """

    name: str
    state: Literal["ok", "warning", "failed"]
    message: str
    hint: str = ""
    code: str = ""


@dataclass(frozen=True)
class Examination:
    """All checks of one machine."""

    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``kcalc doctor --json`` prints."""
        return {
            "kcalc": __version__,
            "can_score": not self.failures,
            "checks": [vars(check) for check in self.checks],
            "notice": NOTICE,
        }

    @property
    def failures(self) -> list[Check]:
        """The checks without whose success no scan can be scored."""
        return [check for check in self.checks if check.state == "failed"]

    def summary(self) -> str:
        """Return the checks in words, a line each, and what follows from them."""
        lines = []
        for check in self.checks:
            lines.append(f"{check.state:<8} {check.name}: {check.message}")
            if check.hint:
                lines.append(f"{'':<8} {check.hint}")
        verdict = "cannot" if self.failures else "can"
        return "\n".join([*lines, f"Scans {verdict} be scored here.", NOTICE])

    def refuse_if_unfit(self) -> None:
        """Raise the first failure, if there is one.

        Raises:
            ModelError: The model is missing or damaged, and nothing else is wrong.
            ResourceError: A package or memory is lacking.
        """
        failed = sorted(self.failures, key=lambda check: check.name == "model")
        if not failed:
            return
        first = failed[0]
        kind = ModelError if first.name == "model" else ResourceError
        raise kind(first.code, first.message, hint=first.hint)


def examine(model: str | os.PathLike[str] | None = None) -> Examination:
    """Return what kcalc finds on this machine.

    Args:
        model: Name or path of the model to verify; None for the shipped one.
    """
    checks = [_python(), *_packages(), _devices()]
    checks += [_memory(), _disk(), *_decoders(), _model(model)]
    return Examination(tuple(checks))


def _python() -> Check:
    """Return the version of Python and the kind of machine."""
    message = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", "ok", message)


def _packages() -> list[Check]:
    """Return each package that kcalc needs, with its version beside what is wanted."""
    from packaging.requirements import Requirement

    checks = []
    for line in _requirements():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        version = _version_of(wanted.name)
        if not version and wanted.name == "tensorflow":
            # The same folder, without the CUDA part.
            version = _version_of("tensorflow-cpu")
        if not version:
            checks.append(
                Check(
                    wanted.name,
                    "failed",
                    f"not installed; kcalc needs {wanted.specifier}",
                    f'Install it with: pip install "{wanted}".',
                    "PACKAGE",
                )
            )
        elif not wanted.specifier.contains(version, prereleases=True):
            checks.append(
                Check(
                    wanted.name,
                    "warning",
                    f"{version}; kcalc is tested with {wanted.specifier}",
                    f'Install it with: pip install "{wanted}".',
                )
            )
        else:
            checks.append(Check(wanted.name, "ok", version))
    return checks


def _requirements() -> list[str]:
    """Return what kcalc requires, also where it runs from a checkout uninstalled."""
    checkout = Path(__file__).parents[2] / "setup.cfg"
    if checkout.is_file():
        config = configparser.ConfigParser()
        config.read(checkout, encoding="utf-8")
        if config.get("metadata", "name", fallback="") == _DISTRIBUTION:
            return config.get("options", "install_requires").split("\n")[1:]
    try:
        return importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _version_of(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _devices() -> Check:
    """Start TensorFlow and return the devices it sees."""
    try:
        with without_start_up_lines():
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
    except Exception as error:
        return Check(
            "devices",
            "failed",
            f"TensorFlow does not start ({type(error).__name__})",
            "Install kcalc in a fresh environment.",
            "TENSORFLOW",
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    num_cpus = cores or os.cpu_count() or 1
    names = [
        str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))
        for gpu in gpus
    ]
    graphics = ", ".join(names) if names else "no GPU, the CPU does the work"
    return Check("devices", "ok", f"{num_cpus} CPU cores; {graphics}")


def _memory() -> Check:
    """Return the memory that a process may still take."""
    free_mib = available_memory_mib()
    if free_mib is None:
        return Check("memory", "warning", "this system does not tell how much is free")
    message = f"{free_mib} MiB free"
    if free_mib < LEAST_MEMORY_MIB:
        return Check(
            "memory",
            "warning",
            f"{message}; a chest CT takes about 1000 MiB",
            "Close other programs before scoring large scans.",
        )
    return Check("memory", "ok", message)


def available_memory_mib(
    read: Callable[[str], str] = lambda name: Path(name).read_text("ascii"),
) -> int | None:
    """Return free memory in MiB, within the limit of a container; None if unknown.

    Args:
        read: Returns the text of a file of the system.
    """
    limits = []
    try:
        rows = (line.split() for line in read("/proc/meminfo").splitlines())
        limits += [int(row[1]) // 1024 for row in rows if row[0] == "MemAvailable:"]
    except (OSError, ValueError, IndexError):
        pass
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            limits.append((int(read(limit)) - int(read(used))) // _MIB)
        except (OSError, ValueError):
            continue
    return min(limits) if limits else None


def _disk() -> Check:
    """Return the space for temporary files."""
    try:
        free_mib = shutil.disk_usage(tempfile.gettempdir()).free // _MIB
    except OSError as error:
        return Check(
            "disk",
            "failed",
            f"there is no folder for temporary files ({type(error).__name__})",
            "Set TMPDIR to a folder that can be written to.",
            "DISK",
        )
    message = f"{free_mib} MiB free for temporary files"
    if free_mib < LEAST_DISK_MIB:
        hint = "Free some space, or set TMPDIR to another disk."
        return Check("disk", "warning", message, hint)
    return Check("disk", "ok", message)


def _decoders() -> list[Check]:
    """Return which compressed DICOM can be read."""
    try:
        from pydicom.pixels import get_decoder
    except ImportError as error:
        message = f"pydicom does not start ({type(error).__name__})"
        hint = "Install kcalc in a fresh environment."
        return [Check("decoders", "failed", message, hint, "PACKAGE")]
    checks = []
    for name, uid in _SYNTAXES.items():
        plugins = get_decoder(uid).available_plugins
        if plugins:
            checks.append(Check(f"decoder {name}", "ok", ", ".join(plugins)))
        else:
            message = "none; such slices are refused (DECODER)"
            hint = 'Install one with: pip install "kcalc[decode]".'
            checks.append(Check(f"decoder {name}", "warning", message, hint))
    return checks


def _model(model: str | os.PathLike[str] | None) -> Check:
    """Find the model and compare its files with their sha256."""
    try:
        place = find_model(model)
        manifest = verify(place)
    except KcalcError as error:
        return Check("model", "failed", error.rule, error.hint, error.code)
    message = (
        f"{manifest.name} version {manifest.version}, {len(manifest.files)} files "
        f"verified by sha256, in {place}"
    )
    return Check("model", "ok", message)
