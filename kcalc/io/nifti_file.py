"""One NIfTI file: a path enters, its values and its grid leave, or a refusal."""

from __future__ import annotations

import contextlib
import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import GeometryError, InputError
from kcalc.geometry import Geometry
from kcalc.io.discovery import file_size, unreadable
from kcalc.io.grid_corrections import TILT_LIMIT_DEG
from kcalc.io.pixel_checks import MAX_VOXELS

MAX_FORM_CODE = 5
"""Largest code of a qform or sform (nifti1.h: unknown to template space)."""
MAX_COMPRESSION = 1032
"""Largest ratio that deflate reaches (zlib's technical details): more is a lie."""
MIN_DETERMINANT = 0.5
"""Least volume of the cell of the unit axes: that of a tilt of 60 degrees."""
MAX_EXCESS_BYTES = 1 << 26
"""Bytes that may lie before the voxels, or follow them in a compressed file."""

_AGAIN = "Fetch or write the file again."


def load_nifti(
    path: Path,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], bool]:
    """Return values (x, y, z), the RAS affine, and whether the file states one.

    A compressed file is read to its end, so that its checksum is compared; nibabel
    would stop at the last voxel.

    Raises:
        InputError: See ``kcalc.io.nifti.read_nifti``.
    """
    import nibabel
    from nibabel.openers import Opener

    if not path.is_file():
        raise InputError(
            "NOT_FOUND", "there is no such file.", path=path, hint="Check its name."
        )
    try:
        with _quiet_nibabel():
            image: Any = nibabel.load(path, mmap=False)
            with Opener(path) as file:
                header = type(image.header).from_fileobj(file, check=False)
        has_orientation = bool(header["qform_code"] > 0 or header["sform_code"] > 0)
    except Exception as error:
        raise _broken(path, error) from error
    num_bytes = _check_header(path, header)
    _check_orientation(path, header)
    try:
        if path.name.lower().endswith(".gz"):
            with _quiet_nibabel():
                image = type(image).from_bytes(_gunzip(path, num_bytes))
        affine = np.asarray(image.affine, dtype=np.float64)
        values = np.asanyarray(image.dataobj)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise _broken(path, error) from error
    return values.reshape(values.shape[:3]), affine, has_orientation


def nifti_geometry(
    affine_ras: npt.NDArray[np.float64],
    shape_xyz: tuple[int, ...],
    path: Path,
    *,
    sheared: bool = False,
    code: str = "NIFTI_AFFINE",
) -> Geometry:
    """Return the grid of a file; refuse a singular or sheared affine (C14).

    Args:
        affine_ras: From index (x, y, z) to RAS mm.
        shape_xyz: Of the file.
        path: The file, for messages.
        sheared: Whether the third axis may be sheared, as of a tilted gantry.
        code: Code of the refusal, for other formats.
    """
    columns = affine_ras[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(affine_ras).all() or np.min(lengths) < 1e-6:
        raise GeometryError(
            code,
            "the affine must be finite and not singular.",
            path=path,
            hint=_AGAIN,
        )
    unit = columns / lengths
    if not abs(np.linalg.det(unit)) >= MIN_DETERMINANT:
        raise GeometryError(
            code,
            "the affine must not be singular; its axes lie almost in one plane.",
            path=path,
            hint=_AGAIN,
        )
    shears = np.abs(unit.T @ unit - np.eye(3))
    shear = shears[0, 1] if sheared else shears.max()
    if shear > math.sin(math.radians(TILT_LIMIT_DEG)):
        angle_deg = math.degrees(math.asin(min(1.0, float(shear))))
        raise GeometryError(
            code,
            f"the axes must be orthogonal within {TILT_LIMIT_DEG} degrees; received "
            f"{angle_deg:.1f} degrees of shear.",
            path=path,
            hint="Use a series scanned without gantry tilt, or shear the tilt away "
            "with untilt=True (--untilt).",
        )
    x, y, z = shape_xyz[:3]
    return Geometry.from_affine_ras_xyz(affine_ras, (z, y, x))


@contextlib.contextmanager
def _quiet_nibabel() -> Iterator[None]:
    """Keep nibabel from telling of its repairs: what matters of them is refused."""
    logger = logging.getLogger("nibabel.global")
    disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = disabled


def _check_orientation(path: Path, header: Any) -> None:
    """Refuse what nibabel would repair in silence: a spacing of 0, unknown codes."""
    codes = int(header["qform_code"]), int(header["sform_code"])
    pixdim = [float(value) for value in header["pixdim"][1:4]]
    if not all(0 <= code <= MAX_FORM_CODE for code in codes):
        raise GeometryError(
            "NIFTI_AFFINE",
            f"qform_code and sform_code must lie within 0 to {MAX_FORM_CODE}; received "
            f"{codes[0]} and {codes[1]}.",
            path=path,
            hint=_AGAIN,
        )
    if codes[1] == 0 and not all(math.isfinite(v) and v > 0 for v in pixdim):
        raise GeometryError(
            "NIFTI_AFFINE",
            "without an sform the spacing is pixdim, three positive numbers; received "
            f"{', '.join(f'{value:g}' for value in pixdim)}.",
            path=path,
            hint=_AGAIN,
        )


def _check_header(path: Path, header: Any) -> int:
    """Return how many bytes the file must have; refuse a bad header first (C14).

    By the standard and in nibabel's own files a slope of 0 or NaN means unscaled.
    """
    shape = tuple(int(n) for n in header.get_data_shape())
    dtype = header.get_data_dtype()
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if len(shape) < 3 or min(shape) < 1 or any(n != 1 for n in shape[3:]):
        raise InputError(
            "NIFTI_DIMS",
            f"a scan or mask must be 3-D; received shape {shape}.",
            path=path,
            hint="Save one volume of it.",
        )
    if dtype.kind not in "iuf":
        raise InputError(
            "NIFTI_DTYPE",
            f"voxels must be integers or floats; received {dtype}.",
            path=path,
            hint="Save it as int16.",
        )
    scaled = math.isfinite(slope) and slope != 0
    if math.isinf(slope) or (scaled and not math.isfinite(inter)):
        raise InputError(
            "NIFTI_SCALE",
            f"scl_slope and scl_inter must be finite; received {slope} and {inter}.",
            path=path,
            hint=_AGAIN,
        )
    num_voxels = math.prod(shape)
    if num_voxels > MAX_VOXELS:
        raise InputError(
            "BUDGET",
            f"a volume may have {MAX_VOXELS} voxels; the header claims {num_voxels}.",
            path=path,
            hint="Give a smaller or coarser volume.",
        )
    ratio = MAX_COMPRESSION if path.name.lower().endswith(".gz") else 1
    offset = float(header["vox_offset"])
    if not 0 <= offset <= MAX_EXCESS_BYTES:
        raise InputError(
            "NIFTI_BROKEN",
            f"vox_offset must lie within the file; received {offset:g}.",
            path=path,
            hint=_AGAIN,
        )
    expected = num_voxels * int(dtype.itemsize) + int(offset)
    size = file_size(path)
    if size * ratio < expected:
        raise InputError(
            "TRUNCATED",
            f"the header claims {expected} bytes; a file of {size} bytes cannot "
            "hold them.",
            path=path,
            hint=_AGAIN,
        )
    return expected


def _gunzip(path: Path, num_bytes: int) -> bytes:
    """Return the first bytes of a compressed file after a look at its checksum."""
    with gzip.open(path, "rb") as file:
        content = file.read(num_bytes)
        num_more = 0
        while more := file.read(1 << 20):
            num_more += len(more)
            if num_more > MAX_EXCESS_BYTES:
                raise InputError(
                    "BUDGET",
                    f"{MAX_EXCESS_BYTES} bytes may follow the voxels; there are more.",
                    path=path,
                    hint=_AGAIN,
                )
    return content


def _broken(path: Path, error: Exception) -> InputError:
    """Return the refusal of a file that nibabel cannot read."""
    if isinstance(error, PermissionError):
        return unreadable(path, error)
    cut = isinstance(error, (EOFError, OSError, zlib.error, gzip.BadGzipFile))
    return InputError(
        "TRUNCATED" if cut else "NIFTI_BROKEN",
        f"the file cannot be read as NIfTI ({type(error).__name__}).",
        path=path,
        hint=_AGAIN,
    )
