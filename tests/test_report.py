"""The report: folders whole or absent, tables, outlines, pictures and HTML."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kcalc.errors import ResourceError
from kcalc.geometry import Geometry
from kcalc.report import (
    lesion_pictures,
    lesions_csv,
    render_html,
    result_folder,
    score_record,
    write_record,
)
from kcalc.report.figures import (
    DisplayPlane,
    Outline,
    body_box,
    outline_path,
    slice_svg,
    zoom_box,
)
from kcalc.report.table import LESION_COLUMNS, csv_cell
from kcalc.scoring import ScoringRule, calcium_score
from kcalc.volume import Acquisition, Finding, Volume

SPACING_MM = (3.0, 0.5, 1.0)


def _scan(
    num_slices: int = 4, affine: np.ndarray | None = None, **facts: object
) -> Volume:
    """Soft tissue in air with a lesion of six voxels, 250 HU, in every slice but 0."""
    array = np.full((num_slices, 40, 60), -1000, np.int16)
    array[:, 4:36, 6:54] = 40
    array[1:, 10:12, 20:23] = 250
    geometry = Geometry.axial(array.shape, SPACING_MM, (-30.0, -10.0, 100.0))
    if affine is not None:
        geometry = Geometry(array.shape, affine)
    acquisition = Acquisition(modality="CT", tube_voltage_kvp=120.0, **facts)
    return Volume(array, geometry, acquisition=acquisition)


def _report(volume: Volume, mask: np.ndarray, **options: object) -> tuple[dict, str]:
    score = calcium_score(
        volume.array, mask, volume.spacing_mm, tube_voltage_kvp=120, **options
    )
    record = score_record(score, volume, mask, model=None)
    pictures, num_left_out = lesion_pictures(volume, mask, score)
    return record, render_html(record, pictures, num_left_out=num_left_out)


# --- outlines -------------------------------------------------------------------


def test_outline_of_one_pixel_is_its_four_borders():
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    assert outline_path(mask) == "M1 1h1M1 2h1M1 1v1M2 1v1"


def test_outline_joins_neighbouring_borders_and_follows_holes():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    assert outline_path(mask) == (
        "M0 0h3M1 1h1M1 2h1M0 3h3" + "M0 0v3M1 1v1M2 1v1M3 0v3"
    )


def test_outline_of_nothing_is_empty():
    assert outline_path(np.zeros((2, 2), bool)) == ""


# --- orientation ----------------------------------------------------------------


def test_standard_axial_slice_is_shown_as_stored():
    plane = DisplayPlane.of(Geometry.axial((2, 3, 4), SPACING_MM))
    image = np.arange(12).reshape(3, 4)
    assert plane.marks == ("R", "L", "A", "P")
    assert plane.spacing_mm == (0.5, 1.0)
    np.testing.assert_array_equal(plane.turn(image), image)


def test_columns_that_run_to_the_right_are_flipped():
    affine = np.array([[0, 0, -1, 9], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    plane = DisplayPlane.of(Geometry((1, 1, 3), affine))
    np.testing.assert_array_equal(plane.turn(np.array([[1, 2, 3]])), [[3, 2, 1]])
    assert plane.marks == ("R", "L", "A", "P")


def test_prone_scan_is_shown_with_the_front_at_the_top():
    affine = np.array([[0, 0, -1, 9], [0, -1, 0, 9], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    plane = DisplayPlane.of(Geometry((1, 2, 2), affine))
    np.testing.assert_array_equal(
        plane.turn(np.array([[1, 2], [3, 4]])), [[4, 3], [2, 1]]
    )


def test_rows_and_columns_change_places_where_rows_run_to_the_left():
    affine = np.array([[0, 2, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    plane = DisplayPlane.of(Geometry((1, 2, 2), affine))
    np.testing.assert_array_equal(
        plane.turn(np.array([[1, 2], [3, 4]])), [[1, 3], [2, 4]]
    )
    assert plane.spacing_mm == (1.0, 2.0)


def test_coronal_slices_are_shown_with_the_head_up():
    affine = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    plane = DisplayPlane.of(Geometry((1, 2, 1), affine))
    assert plane.marks == ("R", "L", "S", "I")
    np.testing.assert_array_equal(plane.turn(np.array([[1], [2]])), [[2], [1]])


# --- boxes ----------------------------------------------------------------------


def test_body_box_holds_the_body_and_a_small_border():
    image = np.full((1, 100, 200), -1000, np.int16)
    image[0, 20:80, 50:150] = 30
    assert body_box(image) == (17, 83, 44, 156)


def test_body_box_of_air_is_the_whole_picture():
    assert body_box(np.full((1, 10, 12), -1000, np.int16)) == (0, 10, 0, 12)


def test_zoom_box_is_square_in_mm_and_holds_the_lesion():
    mask = np.zeros((400, 400), bool)
    mask[200, 100] = True
    assert zoom_box(mask, (0.5, 1.0), (0, 400, 0, 400)) == (140, 260, 70, 130)


def test_zoom_box_stays_inside_what_is_shown_but_keeps_the_lesion():
    mask = np.zeros((400, 400), bool)
    mask[5, 398] = True
    row, row_end, column, column_end = zoom_box(mask, (1.0, 1.0), (20, 380, 20, 380))
    assert (row, column_end) == (5, 399)
    assert (row_end - row, column_end - column) == (60, 60)


# --- pictures -------------------------------------------------------------------


def _png(svg: str) -> np.ndarray:
    data = re.search(r"data:image/png;base64,([^\"]+)", svg)
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_picture_shows_hounsfield_units_under_the_stated_window():
    plane = DisplayPlane.of(Geometry.axial((1, 1, 5), (1.0, 1.0, 1.0)))
    image_hu = np.array([[-1000, -285, 90, 465, 3000]], np.int16)
    whole, _ = slice_svg(
        image_hu, [], plane, picture_id="p", box=(0, 1, 0, 5), zoom=(0, 1, 0, 5),
        label="",
    )  # fmt: skip
    assert _png(whole).tolist() == [[0, 0, 128, 255, 255]]


def test_outline_lies_on_the_flipped_lesion():
    affine = np.array([[0, 0, -1, 59], [0, 0.5, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    volume = _scan(2, affine)
    mask = volume.array >= 130
    score = calcium_score(volume.array, mask, volume.spacing_mm)
    (picture,), _ = lesion_pictures(volume, mask, score)
    # Stored columns 20 to 22 of 60 are displayed as 37 to 39.
    assert "M37 10h3M37 12h3" in picture.whole_svg
    box = re.search(
        r'<image id="picture-1" x="([\d.]+)" y="([\d.]+)"', picture.whole_svg
    )
    assert box is not None
    left, top = float(box[1]), float(box[2]) / 0.5
    png = _png(picture.whole_svg)
    bright = np.add(np.argwhere(png > 150), (round(top), round(left)))
    assert (bright.min(0).tolist(), bright.max(0).tolist()) == ([10, 37], [11, 39])


def test_pictures_carry_position_score_and_numbers():
    volume = _scan()
    mask = volume.array >= 130
    score = calcium_score(volume.array, mask, volume.spacing_mm)
    pictures, num_left_out = lesion_pictures(volume, mask, score)
    assert num_left_out == 0
    assert [p.slice_index for p in pictures] == [1, 2, 3]
    assert [p.position_mm for p in pictures] == [103.0, 106.0, 109.0]
    assert [p.lesion_numbers for p in pictures] == [(1,), (2,), (3,)]
    # Six voxels of 0.5 mm2, weight 2, 3 mm slices.
    assert [p.agatston for p in pictures] == [6.0, 6.0, 6.0]


def test_beyond_the_bound_the_slices_that_score_most_stay():
    volume = _scan(6)
    volume.array[4, 10:12, 20:23] = 450
    volume.array[2, 10:12, 20:23] = 350
    mask = volume.array >= 130
    score = calcium_score(volume.array, mask, volume.spacing_mm)
    pictures, num_left_out = lesion_pictures(volume, mask, score, max_pictures=2)
    assert ([p.slice_index for p in pictures], num_left_out) == ([2, 4], 3)
    html = render_html(
        score_record(score, volume, mask, model=None),
        pictures,
        num_left_out=num_left_out,
    )
    assert "3 more slices with lesions are not shown" in html
    assert html.count("<tr><td") >= 5


def test_specks_that_the_rule_drops_are_outlined_apart():
    volume = _scan(2)
    volume.array[1, 30, 40] = 300
    mask = volume.array >= 130
    record, html = _report(volume, mask)
    assert record["mask"] == {
        "voxels": 7,
        "calcium_voxels": 7,
        "scored_voxels": 6,
    }
    assert (
        '<path class="outline dropped" d="M40 30h1M40 31h1M40 30v1M41 30v1"/>' in html
    )
    assert "calcium of the mask that the rule leaves out" in html


def test_a_lesion_across_slices_is_numbered_in_each_of_them():
    volume = _scan()
    mask = volume.array >= 130
    rule = ScoringRule("three dimensions", "test", connectivity=26)
    score = calcium_score(volume.array, mask, volume.spacing_mm, rule=rule)
    pictures, _ = lesion_pictures(volume, mask, score)
    assert [p.lesion_numbers for p in pictures] == [(1,), (1,), (1,)]
    assert [p.agatston for p in pictures] == [None, None, None]


def test_thirty_noisy_slices_of_512_stay_under_eight_megabytes():
    rng = np.random.default_rng(0)
    array = rng.normal(40, 25, (31, 512, 512)).astype(np.int16)
    array[:, 250:254, 250:254] = 300
    volume = Volume(array, Geometry.axial(array.shape, (3.0, 0.5, 0.5)))
    mask = np.zeros(array.shape, bool)
    mask[1:, 245:260, 245:260] = True
    _, html = _report(volume, mask)
    assert html.count("<figure") == 30
    assert len(html) < 8_000_000


def test_outline_without_lesions_draws_no_path():
    plane = DisplayPlane.of(Geometry.axial((1, 4, 4), (1.0, 1.0, 1.0)))
    whole, _ = slice_svg(
        np.zeros((4, 4), np.int16), [Outline(np.zeros((4, 4), bool), "kept")], plane,
        picture_id="p", box=(0, 4, 0, 4), zoom=(0, 4, 0, 4), label="",
    )  # fmt: skip
    assert 'class="outline' not in whole


# --- HTML -----------------------------------------------------------------------


def test_report_states_score_rule_window_marks_and_notice():
    volume = _scan()
    record, html = _report(volume, volume.array >= 130)
    for text in (
        "Research use only. Not a medical device; not for diagnosis.",
        "18.0",
        "11-100",
        "at or above 130 HU",
        "Agatston AS et al.",
        "level 90 HU, width 750 HU",
        "Patient's left at image right",
        "z = +103.0 mm",
        "no mass calibration was given",
        '<input type="checkbox" id="outlines" checked>',
        ">R</text>",
        ">L</text>",
    ):
        assert text in html, text
    assert record["agatston"] == 18.0


def test_report_loads_nothing_and_runs_no_script():
    volume = _scan()
    _, html = _report(volume, volume.array >= 130)
    assert "<script" not in html
    links = re.findall(r"(?:href|src)=\"([^\"]{0,12})", html)
    assert links
    assert all(link.startswith(("data:image/p", "#picture-")) for link in links)


def test_text_from_a_file_is_escaped():
    volume = _scan(
        manufacturer="<script>alert(1)</script>", convolution_kernel='"><img src=x>'
    )
    finding = Finding("X", "a < b & <b>bold</b>", "note")
    volume = Volume(
        volume.array,
        volume.geometry,
        acquisition=volume.acquisition,
        findings=(finding,),
    )
    _, html = _report(volume, volume.array >= 130)
    assert "<script" not in html
    assert "<img" not in html
    assert "a &lt; b &amp; &lt;b&gt;bold&lt;/b&gt;" in html


def test_series_uid_and_contrast_text_stay_out_of_record_and_report():
    volume = _scan(series_uid="1.2.3.999", contrast_agent="MUSTERMANN^MAX")
    record, html = _report(volume, volume.array >= 130)
    for text in (json.dumps(record), html):
        assert "1.2.3.999" not in text
        assert "MUSTERMANN" not in text


def test_report_of_no_lesion_says_what_the_mask_held():
    volume = _scan()
    mask = np.zeros(volume.shape, bool)
    mask[2, 10, 20] = mask[2, 5, 8] = True
    record, html = _report(volume, mask)
    assert record["agatston"] == 0
    assert "The mask holds 2 voxels, of which 1 reach the threshold" in html
    assert "NO_LESION" in html
    assert "<figure" not in html


def test_mass_is_shown_where_a_calibration_is_given():
    volume = _scan()
    record, html = _report(volume, volume.array >= 130, mass_calibration=0.8)
    # 18 voxels of 1.5 mm3 with 250 HU x 0.8 mg/mL/HU.
    assert record["mass_mg"] == pytest.approx(5.4)
    assert ">5.40<" in html


def test_warning_of_reader_and_score_under_one_code_stands_once():
    volume = _scan()
    reader = Finding("PROTOCOL", "The reader's words.", "warning")
    volume = Volume(volume.array, volume.geometry, findings=(reader,))
    mask = volume.array >= 130
    score = calcium_score(volume.array, mask, volume.spacing_mm, slice_thickness_mm=5.0)
    record = score_record(score, volume, mask, model=None)
    assert [f["code"] for f in record["findings"]] == ["PROTOCOL"]
    assert "equivalent score" in record["findings"][0]["message"]


# --- table ----------------------------------------------------------------------


def test_csv_holds_numbers_unrounded_and_positions_in_mm():
    volume = _scan(2)
    record, _ = _report(volume, volume.array >= 130)
    (row,) = csv.DictReader(io.StringIO(lesions_csv(record["lesions"])))
    assert row["lesion"] == "1"
    assert row["vessel"] == ""
    assert (row["x_mm"], row["y_mm"], row["z_mm"]) == ("-9.0", "-4.75", "103.0")
    assert (row["agatston"], row["area_mm2"], row["mass_mg"]) == ("6.0", "3.0", "")
    assert list(row) == [column.header for column in LESION_COLUMNS]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_csv_text_that_begins_like_a_formula_gets_an_apostrophe(text: str):
    assert csv_cell(text) == f"'{text}"


def test_csv_numbers_stay_plain_even_below_zero():
    assert csv_cell(-219.5) == "-219.5"


# --- folder ---------------------------------------------------------------------


def _write(directory: Path, text: str = "one", name: str = "a.txt") -> None:
    with result_folder(directory, "record.json") as folder:
        (folder / name).write_text(text)
        write_record(folder / "record.json", {"total": 1.5})


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*"))


def test_folder_appears_whole_with_its_parents(tmp_path: Path):
    _write(tmp_path / "deep" / "out")
    assert _names(tmp_path) == ["a.txt", "deep", "out", "record.json"]


def test_nothing_is_seen_of_a_folder_before_it_is_whole(tmp_path: Path):
    out = tmp_path / "out"
    with result_folder(out, "record.json") as folder:
        (folder / "a.txt").write_text("half")
        assert not out.exists()


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_is_left_when_the_work_fails(tmp_path: Path, exists: bool):
    out = tmp_path / "deep" / "out"
    if exists:
        out.mkdir(parents=True)
    before = _names(tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        result_folder(out, "record.json") as folder,
    ):
        (folder / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert _names(tmp_path) == before


def test_former_result_is_replaced_and_its_other_files_go(tmp_path: Path):
    _write(tmp_path / "out", name="old.txt")
    _write(tmp_path / "out", "two", name="new.txt")
    assert _names(tmp_path / "out") == ["new.txt", "record.json"]
    assert (tmp_path / "out" / "new.txt").read_text() == "two"


def test_former_result_stays_when_its_replacement_fails(tmp_path: Path):
    _write(tmp_path / "out")
    with (
        pytest.raises(RuntimeError, match="broken"),
        result_folder(tmp_path / "out", "record.json") as folder,
    ):
        (folder / "a.txt").write_text("half")
        raise RuntimeError("broken")
    assert (tmp_path / "out" / "a.txt").read_text() == "one"
    assert _names(tmp_path / "out") == ["a.txt", "record.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda out: (out / "a.txt").write_text("edited"), "a.txt was edited"),
        (lambda out: (out / "mine.txt").write_text("x"), "it also holds mine.txt"),
        (lambda out: (out / "record.json").unlink(), "not a former result"),
        (lambda out: (out / "record.json").write_text("[]"), "not a former result"),
        (
            lambda out: (out / "record.json").write_text(
                (out / "record.json").read_text().replace("1.5", "2.5")
            ),
            "record.json was edited",
        ),
    ],
)
def test_folder_with_anything_of_the_users_is_refused(tmp_path: Path, change, reason):
    out = tmp_path / "out"
    _write(out)
    change(out)
    before = {path.name: path.read_text() for path in out.iterdir()}
    with pytest.raises(ResourceError, match=reason) as caught:
        _write(out, "two")
    assert (caught.value.code, caught.value.exit_code) == ("OUTPUT_EXISTS", 7)
    assert {path.name: path.read_text() for path in out.iterdir()} == before


def test_mask_edited_during_a_run_is_not_overwritten(tmp_path: Path):
    out = tmp_path / "out"
    _write(out)
    with (
        pytest.raises(ResourceError, match=r"a\.txt was edited"),
        result_folder(out, "record.json") as folder,
    ):
        (folder / "a.txt").write_text("two")
        write_record(folder / "record.json", {"total": 1.5})
        (out / "a.txt").write_text("edited meanwhile")
    assert (out / "a.txt").read_text() == "edited meanwhile"
    assert _names(out) == ["a.txt", "record.json"]


def test_of_two_runs_into_one_new_folder_the_later_one_replaces_the_other(
    tmp_path: Path,
):
    out = tmp_path / "out"
    with result_folder(out, "record.json") as folder:
        _write(out, "first", name="old.txt")
        (folder / "a.txt").write_text("second")
        write_record(folder / "record.json", {"total": 1.5})
    assert _names(tmp_path) == ["a.txt", "out", "record.json"]
    assert (out / "a.txt").read_text() == "second"


def test_folder_lost_during_a_run_gives_exit_code_seven(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    with (
        pytest.raises(ResourceError, match="cannot be written") as caught,
        result_folder(out, "record.json"),
    ):
        shutil.rmtree(out)
    assert caught.value.exit_code == 7


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ResourceError, match="it is a file"):
        _write(tmp_path / "out")


def test_folder_below_a_file_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResourceError, match="cannot be written") as caught:
        _write(tmp_path / "file" / "out")
    assert (caught.value.code, caught.value.exit_code) == ("OUTPUT_UNWRITABLE", 7)


def test_left_over_partial_folder_of_a_killed_run_is_no_hindrance(tmp_path: Path):
    _write(tmp_path / "out")
    (tmp_path / "out" / ".kcalc-partial-x").mkdir()
    (tmp_path / "out" / ".kcalc-partial-x" / "a.txt").write_text("half")
    _write(tmp_path / "out", "two")
    assert (tmp_path / "out" / "a.txt").read_text() == "two"


def test_full_disk_gives_exit_code_seven_and_leaves_nothing(tmp_path: Path):
    with (
        pytest.raises(ResourceError, match="disk filled up") as caught,
        result_folder(tmp_path / "out", "record.json"),
    ):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 7
    assert _names(tmp_path) == []
