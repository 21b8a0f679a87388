"""Overlay pictures: a slice of a scan with the outlines of its lesions, as SVG.

A slice enters as Hounsfield units; an ``<svg>`` leaves, which holds the windowed slice
as an inline PNG and the outlines as vectors at the pixel borders, so that a style
sheet can switch them and they stay sharp at every zoom. Pictures are shown in the
radiological way: the patient's left at image right, anterior at the top.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry

WINDOW_LEVEL_HU = 90.0
WINDOW_WIDTH_HU = 750.0
"""Display window: fat is dark grey, soft tissue grey, 130 HU just above the middle."""
BODY_HU = -300
MAX_PICTURE_PIXELS = 640
"""Longer side of a picture in pixels; larger matrices are averaged down."""
ZOOM_MARGIN_MM = 10.0
ZOOM_MIN_SIDE_MM = 60.0
MAX_NUMBERS_IN_ZOOM = 12

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


@dataclass(frozen=True)
class DisplayPlane:
    """How stored slices are turned so that the patient's left is at image right.

    Args:
        transpose: Whether rows and columns change places, before the flips.
        flip_rows: Whether the top and the bottom change places.
        flip_columns: Whether left and right change places.
        marks: Letters at the left, right, top and bottom border of the picture: R, L,
            A, P, S (superior) or I (inferior).
        spacing_mm: Height and width of a displayed pixel in mm.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool
    marks: tuple[str, str, str, str]
    spacing_mm: tuple[float, float]

    @classmethod
    def of(cls, geometry: Geometry) -> DisplayPlane:
        """Return the plane that shows a geometry's slices in the radiological way."""
        row_step = geometry.affine_lps[:3, 1]
        column_step = geometry.affine_lps[:3, 2]
        across, down = column_step, row_step
        across_axis = int(np.argmax(np.abs(across)))
        down_axis = _dominant_axis(down, without=across_axis)
        transpose = down_axis < across_axis
        if transpose:
            across, down = down, across
            across_axis, down_axis = down_axis, across_axis
        # LPS: x runs to the left, y to the back, z to the head; the head is shown up.
        flip_columns = bool(across[across_axis] < 0)
        flip_rows = bool((down[down_axis] < 0) != (down_axis == 2))
        low, high = ("R", "A", "I"), ("L", "P", "S")
        top, bottom = low[down_axis], high[down_axis]
        if down_axis == 2:
            top, bottom = bottom, top
        return cls(
            transpose=transpose,
            flip_rows=flip_rows,
            flip_columns=flip_columns,
            marks=(low[across_axis], high[across_axis], top, bottom),
            spacing_mm=(float(np.linalg.norm(down)), float(np.linalg.norm(across))),
        )

    def turn(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn a stored slice (row, column) into the displayed one."""
        image = image.T if self.transpose else image
        image = image[::-1] if self.flip_rows else image
        return image[:, ::-1] if self.flip_columns else image


@dataclass(frozen=True)
class Outline:
    """A region to outline: its displayed pixels, its style and its number.

    Args:
        mask: (row, column) of the displayed slice.
        style: ``"kept"`` for a lesion of the score, ``"dropped"`` for what the rule
            leaves out, ``"reference"`` and ``"course"`` for a reference's bone and
            carotids.
        numbers: Number and displayed (row, column) of its lesions.
    """

    mask: npt.NDArray[np.bool_]
    style: Literal["kept", "dropped", "reference", "course"]
    numbers: Sequence[tuple[int, float, float]] = ()


def body_box(slices_hu: npt.NDArray[Any]) -> Box:
    """Return the box round what is not air, one for all displayed slices.

    Args:
        slices_hu: (slice, row, column) displayed slices in HU.

    Returns:
        The box of the rows and columns of which at least 2 % are above -300 HU in
        some slice, and a border of 3 % for the marks; the whole picture if there are
        none.
    """
    body = (slices_hu > BODY_HU).any(axis=0)
    rows = np.flatnonzero(body.mean(axis=1) > 0.02)
    columns = np.flatnonzero(body.mean(axis=0) > 0.02)
    if not rows.size or not columns.size:
        return (0, body.shape[0], 0, body.shape[1])
    box: list[int] = []
    for indices, size in zip((rows, columns), body.shape, strict=True):
        border = round(0.03 * size)
        box += [max(0, int(indices[0]) - border)]
        box += [min(size, int(indices[-1]) + 1 + border)]
    return (box[0], box[1], box[2], box[3])


def zoom_box(
    mask: npt.NDArray[np.bool_], spacing_mm: tuple[float, float], within: Box
) -> Box:
    """Return a box of about square shape in mm round the lesions of a picture.

    Args:
        mask: (row, column), at least one pixel set.
        spacing_mm: Height and width of a pixel.
        within: What of the slice is shown; the box is moved into it where it fits.

    Returns:
        The lesions with a margin of 10 mm, at least 60 mm wide and high, but never
        beyond the slice.
    """
    rows, columns = np.nonzero(mask)
    first = (int(np.min(rows)), int(np.min(columns)))
    last = (int(np.max(rows)) + 1, int(np.max(columns)) + 1)
    extents_mm = [(last[axis] - first[axis]) * spacing_mm[axis] for axis in (0, 1)]
    side_mm = max(ZOOM_MIN_SIDE_MM, max(extents_mm) + 2 * ZOOM_MARGIN_MM)
    box: list[int] = []
    for axis in (0, 1):
        size = mask.shape[axis]
        length = min(size, round(side_mm / spacing_mm[axis]))
        low, high = within[2 * axis], within[2 * axis + 1] - length
        start = round((first[axis] + last[axis] - length) / 2)
        start = min(max(start, low), high) if low <= high else start
        start = min(max(start, last[axis] - length), first[axis])
        start = min(max(start, 0), size - length)
        box += [start, start + length]
    return (box[0], box[1], box[2], box[3])


def outline_path(mask: npt.NDArray[np.bool_]) -> str:
    """Return an SVG path along the pixel borders of a mask, in pixel units.

    Args:
        mask: (row, column); column 0 begins at x = 0 and row 0 at y = 0.

    Returns:
        Path commands, horizontal borders first; empty for an empty mask.

    Example:
        >>> outline_path(np.array([[False, True]]))
        'M1 0h1M1 1h1M1 0v1M2 0v1'
    """
    horizontal, vertical = border_runs(mask)
    parts = [f"M{start} {row}h{n}" for row, start, n in horizontal]
    parts += [f"M{column} {start}v{n}" for column, start, n in vertical]
    return "".join(parts)


def border_runs(
    mask: npt.NDArray[np.bool_],
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Return the pixel borders of a mask as (line, start, length).

    Args:
        mask: (row, column); column 0 begins at x = 0 and row 0 at y = 0.

    Returns:
        Horizontal borders, whose lines are rows, and vertical ones, columns.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    horizontal = np.diff(padded, axis=0)[:, 1:-1] != 0
    vertical = (np.diff(padded, axis=1)[1:-1, :] != 0).T
    return _runs(horizontal), _runs(vertical)


def slice_svg(
    image_hu: npt.NDArray[Any],
    outlines: Sequence[Outline],
    plane: DisplayPlane,
    *,
    picture_id: str,
    box: Box,
    zoom: Box,
    label: str,
) -> tuple[str, str]:
    """Draw one displayed slice twice: all of it, and its lesions enlarged.

    Args:
        image_hu: (row, column) displayed slice in HU.
        outlines: Regions to outline.
        plane: How the slice was turned, for the marks and the pixel size.
        picture_id: HTML id of the picture, unique in the document; the enlarged view
            reuses the picture by it.
        box: What of the slice is shown.
        zoom: What of the slice is enlarged.
        label: Text for readers who cannot see the picture.

    Returns:
        The ``<svg>`` of the slice and the ``<svg>`` of the enlarged part.
    """
    image = _image(image_hu, _united(box, zoom), plane, picture_id)
    lines = _lines(outlines, plane)
    numbers = [number for outline in outlines for number in outline.numbers]
    whole = image + lines + _zoom_frame(zoom, plane)
    part = f'<use href="#{picture_id}"/>' + lines + _numbers(numbers, zoom, plane)
    return (
        _svg(box, plane, "whole", label, whole),
        _svg(zoom, plane, "zoom", f"{label}, enlarged", part),
    )


def plane_svg(
    image_hu: npt.NDArray[Any],
    outlines: Sequence[Outline],
    plane: DisplayPlane,
    *,
    picture_id: str,
    label: str,
) -> str:
    """Draw one displayed slice, all of it; the arguments are :func:`slice_svg`'s."""
    box = (0, image_hu.shape[0], 0, image_hu.shape[1])
    content = _image(image_hu, box, plane, picture_id) + _lines(outlines, plane)
    return _svg(box, plane, "plane", label, content)


def _image(
    image_hu: npt.NDArray[Any], box: Box, plane: DisplayPlane, picture_id: str
) -> str:
    height_mm, width_mm = plane.spacing_mm
    row, row_end, column, column_end = box
    png = _png(image_hu[row:row_end, column:column_end])
    return (
        f'<image id="{picture_id}"'
        f' x="{column * width_mm:.3f}" y="{row * height_mm:.3f}"'
        f' width="{(column_end - column) * width_mm:.3f}"'
        f' height="{(row_end - row) * height_mm:.3f}" preserveAspectRatio="none"'
        f' href="data:image/png;base64,{png}"/>'
    )


def _lines(outlines: Sequence[Outline], plane: DisplayPlane) -> str:
    height_mm, width_mm = plane.spacing_mm
    lines = "".join(
        f'<path class="outline {line.style}" d="{outline_path(line.mask)}"/>'
        for line in outlines
        if line.mask.any()
    )
    return f'<g transform="scale({width_mm:.6f} {height_mm:.6f})">{lines}</g>'


def _dominant_axis(vector: npt.NDArray[np.float64], *, without: int) -> int:
    sizes = np.abs(vector)
    sizes[without] = -1.0
    return int(np.argmax(sizes))


def _united(box: Box, other: Box) -> Box:
    return (
        min(box[0], other[0]),
        max(box[1], other[1]),
        min(box[2], other[2]),
        max(box[3], other[3]),
    )


def _runs(borders: npt.NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return (line, start, length) of every run of set elements along the lines."""
    steps = np.diff(np.pad(borders.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    lines, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    runs = np.stack((lines, starts, ends - starts), axis=1)
    return [(line, start, length) for line, start, length in runs.tolist()]


def display_greys(image_hu: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a slice under the display window in 256 greys."""
    low_hu = WINDOW_LEVEL_HU - WINDOW_WIDTH_HU / 2
    scaled = (image_hu.astype(np.float32) - low_hu) * (255.0 / WINDOW_WIDTH_HU)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)


def _png(image_hu: npt.NDArray[Any]) -> str:
    """Return a slice under the display window as a base64 PNG."""
    from PIL import Image

    picture = Image.fromarray(display_greys(image_hu))
    factor = -(-max(picture.size) // MAX_PICTURE_PIXELS)
    if factor > 1:
        picture = picture.reduce(factor)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", compress_level=9)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _svg(box: Box, plane: DisplayPlane, style: str, label: str, content: str) -> str:
    """Return a picture of a box in mm: its content, marks of the sides, a scale bar."""
    height_mm, width_mm = plane.spacing_mm
    row, row_end, column, column_end = box
    return (
        f'<svg class="{style}" role="img" aria-label="{label}" viewBox="'
        f"{column * width_mm:.3f} {row * height_mm:.3f}"
        f" {(column_end - column) * width_mm:.3f}"
        f' {(row_end - row) * height_mm:.3f}">'
        f"{content}{_marks(box, plane)}{_scale_bar(box, plane)}</svg>"
    )


def _zoom_frame(zoom: Box, plane: DisplayPlane) -> str:
    height_mm, width_mm = plane.spacing_mm
    row, row_end, column, column_end = zoom
    return (
        f'<rect class="frame" x="{column * width_mm:.2f}" y="{row * height_mm:.2f}"'
        f' width="{(column_end - column) * width_mm:.2f}"'
        f' height="{(row_end - row) * height_mm:.2f}"/>'
    )


def _marks(box: Box, plane: DisplayPlane) -> str:
    """Letters of the patient's sides, at the middle of each border."""
    height_mm, width_mm = plane.spacing_mm
    top, bottom = box[0] * height_mm, box[1] * height_mm
    left, right = box[2] * width_mm, box[3] * width_mm
    size = min(bottom - top, right - left) * 0.048
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2 + size * 0.35
    places = (
        (left + size * 0.8, middle_y),
        (right - size * 0.8, middle_y),
        (middle_x, top + size * 1.15),
        (middle_x, bottom - size * 0.45),
    )
    return "".join(
        f'<text class="mark" x="{x:.2f}" y="{y:.2f}"'
        f' font-size="{size:.2f}">{mark}</text>'
        for mark, (x, y) in zip(plane.marks, places, strict=True)
    )


def _scale_bar(box: Box, plane: DisplayPlane) -> str:
    """A bar of known length at the lower right, at most a quarter of the width."""
    bottom, right = box[1] * plane.spacing_mm[0], box[3] * plane.spacing_mm[1]
    height = bottom - box[0] * plane.spacing_mm[0]
    width = right - box[2] * plane.spacing_mm[1]
    length_mm = next((n for n in (50, 20, 10, 5) if n <= width / 4), 1)
    size = height * 0.04
    x, y = right - size - length_mm, bottom - size
    return (
        f'<path class="bar" d="M{x:.2f} {y:.2f}h{length_mm}"/>'
        f'<text class="bar-text" x="{right - size:.2f}" y="{y - size * 0.5:.2f}"'
        f' font-size="{size:.2f}">{length_mm} mm</text>'
    )


def _numbers(
    numbers: Sequence[tuple[int, float, float]], zoom: Box, plane: DisplayPlane
) -> str:
    """Lesion numbers beside their lesions, as many as can be told apart."""
    height_mm, width_mm = plane.spacing_mm
    size = (zoom[1] - zoom[0]) * height_mm * 0.045
    return "".join(
        f'<text class="outline number" x="{column * width_mm:.2f}"'
        f' y="{row * height_mm:.2f}" font-size="{size:.2f}">{number}</text>'
        for number, row, column in list(numbers)[:MAX_NUMBERS_IN_ZOOM]
    )
