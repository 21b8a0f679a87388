"""The commit hooks refuse medical images by content, and no medical image is here."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

HOOKS = Path(__file__).parent / "hooks"


def _hook(name: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HOOKS / name), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("slice.dcm", b""),
        ("IM0001", b"\0" * 128 + b"DICM" + b"\0" * 300),
        ("volume.bin", b"\0" * 344 + b"n+1\0"),
        ("volume.gz", gzip.compress(b"\0" * 344 + b"n+1\0")),
    ],
)
def test_a_medical_image_is_refused(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    done = _hook("refuse_medical_images.py", path)
    assert done.returncode == 1
    assert name in done.stderr


def test_source_and_pictures_pass(tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text("print('hello')\n")
    assert _hook("refuse_medical_images.py", path).returncode == 0


def test_a_file_over_ten_megabytes_is_refused(tmp_path: Path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"\0" * 10_000_001)
    assert _hook("refuse_large_files.py", path).returncode == 1
    path.write_bytes(b"\0" * 1000)
    assert _hook("refuse_large_files.py", path).returncode == 0


def test_the_repository_holds_neither():
    root = Path(__file__).parents[1]
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [root / name for name in listed.stdout.decode().split("\0") if name]
    assert _hook("refuse_medical_images.py", *paths).returncode == 0
    assert _hook("refuse_large_files.py", *paths).returncode == 0
