"""Charts and overlays of an evaluation: what they show and that they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kcalc.evaluation import agreement_figures, compare_image, figures
from kcalc.geometry import Geometry
from kcalc.report import overlay_picture, write_agreement
from kcalc.report.overlay import marked_slices
from tests.test_evaluation import ALIKE, FALSE_ALARM, NOTHING, TOO_HIGH


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture
def rows():
    """Return twelve images, of lesions of rising size of which half are found."""
    made = []
    for number in range(12):
        label = np.zeros((3, 20, 20), bool)
        label[1, 2 : 3 + number, 5] = True
        image = np.where(label, 140 + 30 * number, -50).astype(np.int16)
        image[:, :, 15:] = 600
        mask = np.roll(label, 1, 1) if number % 2 else np.zeros_like(label)
        made.append(
            compare_image(str(number), label, mask, (2.0, 1.0, 1.0), image_hu=image)
        )
    return made


def test_the_report_of_images_has_its_text_and_charts(rows, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "vessels.png").write_bytes(b"of an earlier evaluation")
    written = write_agreement(tmp_path / "out", agreement_figures(rows))
    assert [path.name for path in written] == [
        "evaluation.md",
        "volume_histogram.png",
        "volume_bland_altman.png",
        "missed_lesions.png",
    ]
    assert sorted(tmp_path.joinpath("out").iterdir()) == sorted(written)
    assert "ICC(2,1)" in written[0].read_text("utf-8")
    for path in written[1:]:
        assert _pixels(path).std() > 5


def test_the_report_of_scores_has_the_risk_classes_too(tmp_path: Path):
    cases = [
        replace(
            case,
            vessel_agatston_reference={"LAD": case.agatston_reference},
            vessel_agatston_result={"LAD": case.agatston_result},
        )
        for case in (ALIKE, TOO_HIGH, NOTHING, FALSE_ALARM)
    ]
    written = write_agreement(tmp_path, figures(cases))
    assert [path.name for path in written[1:]] == [
        "volume_bland_altman.png",
        "missed_lesions.png",
        "agatston_bland_altman.png",
        "risk_classes.png",
        "risk_orcascore.png",
        "vessels.png",
    ]
    assert "linearly weighted kappa 0.600" in written[0].read_text("utf-8")


def test_one_case_without_calcium_is_reported_all_the_same(tmp_path: Path):
    written = write_agreement(tmp_path, figures([NOTHING]))
    assert [path.name for path in written] == [
        "evaluation.md",
        "missed_lesions.png",
        "risk_classes.png",
        "risk_orcascore.png",
    ]
    first = [path.read_bytes() for path in written]
    again = write_agreement(tmp_path, figures([NOTHING]))
    assert [path.read_bytes() for path in again] == first


@pytest.fixture
def scan():
    """Return a scan of 60 mm with a mask of the reader and one of the network."""
    image = np.full((5, 60, 60), -50, np.int16)
    label = np.zeros(image.shape, np.uint8)
    label[1, 10:14, 20:24] = 10
    mask = np.zeros(image.shape, bool)
    mask[1, 10:14, 22:26] = mask[3, 40:42, 40:42] = True
    return image, label, mask, Geometry.axial(image.shape, (3.0, 1.0, 1.0))


def test_the_reference_is_outlined_in_red_and_the_result_in_green(scan, tmp_path: Path):
    image, label, mask, geometry = scan
    pixels = _pixels(overlay_picture(tmp_path / "a.png", image, label, mask, geometry))
    red, green, blue = np.moveaxis(pixels, -1, 0)
    outlined_red = (red > 200) & (green < 120) & (blue < 120)
    outlined_green = (green > 180) & (red < 120) & (blue < 150)
    assert outlined_red.sum() > 100
    assert outlined_green.sum() > 100
    # The result reaches farther to the patient's left, shown at the image's right.
    half = pixels.shape[1] // 2
    places = [
        np.nonzero(found[:, :half])[1] for found in (outlined_red, outlined_green)
    ]
    assert places[0].min() < places[1].min()
    only_found = overlay_picture(
        tmp_path / "b.png", image, label, mask, geometry, slices=[3]
    )
    red, green, blue = np.moveaxis(_pixels(only_found), -1, 0)
    assert not ((red > 200) & (green < 120) & (blue < 120)).any()


def test_slices_with_most_marks_are_shown_in_order(scan):
    _, label, mask, _ = scan
    marked = (label > 0) | mask
    assert marked_slices(marked, 6) == [1, 3]
    assert marked_slices(marked, 1) == [1]
    assert marked_slices(np.zeros_like(marked), 6) == [2]


def test_a_scan_without_marks_shows_its_middle(scan, tmp_path: Path):
    image, label, mask, geometry = scan
    path = overlay_picture(tmp_path / "a.png", image, label * 0, mask * 0, geometry)
    assert _pixels(path).shape[2] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"result": np.zeros((5, 60, 59), bool)}, "one shape"),
        ({"slices": [5]}, "0 to 4"),
        ({"slices": []}, "at least one"),
    ],
)
def test_what_an_overlay_refuses(scan, tmp_path: Path, change, words):
    image, label, mask, geometry = scan
    given = {"reference": label, "result": mask, "geometry": geometry}
    with pytest.raises(ValueError, match=words):
        overlay_picture(tmp_path / "a.png", image, **(given | change))
    assert not list(tmp_path.iterdir())
