"""The choices of ``kcalc score``: target, vessels, calibration, class, percentile."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from kcalc import cli
from kcalc.errors import InputError, UnfitError, UsageError
from kcalc.geometry import Geometry
from kcalc.io.nifti import read_mask, write_nifti
from kcalc.phantoms import write_dicom_series
from kcalc.volume import Acquisition, Volume
from kcalc.workflow import ScoreOptions, score_scan

SHAPE = (40, 48, 64)
GEOMETRY = Geometry.axial(SHAPE, (3.0, 0.5, 0.5), (-20.0, -10.0, 50.0))
# Lesions of 16 pixels (4 mm2, 12 mm3): LAD 250 HU, RCA 450 HU, aorta 350 HU.
LAD = (slice(10, 11), slice(10, 14), slice(10, 14))
RCA = (slice(20, 21), slice(10, 14), slice(40, 44))
AORTA = (slice(30, 31), slice(30, 34), slice(20, 24))


def make_scan(kvp: float = 120.0, *, gated: bool | None = True, thickness_mm=3.0):
    array = np.full(SHAPE, -1000, np.int16)
    array[:, 2:46, 2:62] = 50
    for place, hu in ((LAD, 250), (RCA, 450), (AORTA, 350)):
        array[place] = hu
    array[2:6, 36:44, 50:58] = 250  # a rod of 200 mg/mL
    array[2:6, 36:44, 40:48] = 0  # water
    acquisition = Acquisition(
        modality="CT",
        tube_voltage_kvp=kvp,
        slice_thickness_mm=thickness_mm,
        ecg_gated=gated,
    )
    return Volume(array, GEOMETRY, acquisition=acquisition)


def labelled(**values: int) -> np.ndarray:
    """Boxes one pixel larger than the lesions, with these values."""
    mask = np.zeros(SHAPE, np.uint8)
    for name, (z, y, x) in {"lad": LAD, "rca": RCA, "aorta": AORTA}.items():
        mask[z, y.start - 1 : y.stop + 1, x.start - 1 : x.stop + 1] = values[name]
    return mask


def save(path: Path, mask: np.ndarray) -> Path:
    return write_nifti(path, mask, GEOMETRY)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_dicom_series(make_scan(), tmp_path / "series")
    return tmp_path / "series"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return save(tmp_path / "plain.nii.gz", labelled(lad=1, rca=1, aorta=1))


@pytest.fixture
def by_label(tmp_path: Path) -> Path:
    return save(tmp_path / "labels.nii.gz", labelled(lad=2, rca=4, aorta=5))


def score(series: Path, mask: Path, name: str = "out", **options: object):
    arguments = {
        key: options.pop(key)
        for key in ("rule", "mass_calibration", "dicom")
        if key in options
    }
    return score_scan(
        series,
        series.parent / name,
        mask_path=mask,
        options=ScoreOptions(**options),
        **arguments,
    )


def codes(result) -> list[str]:
    return [finding["code"] for finding in result.record["findings"]]


# --- vessels


def test_aorta_is_told_apart_and_in_no_risk_class(series, by_label):
    result = score(series, by_label)
    # 4 mm2 each: LAD weight 2, RCA weight 4, aorta weight 3
    assert result.record["agatston"] == pytest.approx(36)
    assert result.record["coronary_agatston"] == pytest.approx(24)
    assert result.record["risk_category"] == "11-100"
    assert result.record["cac_drs"] == "A1/N2"
    assert result.record["per_vessel"]["aorta"]["agatston"] == pytest.approx(12)
    assert result.record["vessel_map"] == {"source": "the mask"}
    assert "EXTRACORONARY" in codes(result)
    assert "of it coronary 24.0" in result.record["finding_text"]
    report = (series.parent / "out" / "report.html").read_text()
    assert "<td>aorta</td><td>Agatston 12.0, 12.0 mm³, 1 lesion</td>" in report


def test_calcium_goes_to_the_nearest_vessel_within_the_stated_distance(
    series, plain, tmp_path
):
    lumen = np.zeros(SHAPE, np.uint8)
    lumen[5:35, 11:13, 16] = 2  # 1.5 to 3 mm beside the LAD's lesion
    lumen[5:35, 11:13, 48] = 4  # 2.5 to 4 mm beside the RCA's
    vessels = save(tmp_path / "lumen.nii.gz", lumen)
    near = score(series, plain, "near", vessels_path=vessels, vessel_distance_mm=3)
    lesions = [lesion["vessel"] for lesion in near.record["lesions"]]
    assert lesions == ["LAD", None, None]
    assert near.record["vessel_map"] == {
        "source": "nearest segmented vessel",
        "max_distance_mm": 3,
    }
    assert near.record["cac_drs"] == "A1/N?"
    far = score(series, plain, "far", vessels_path=vessels, vessel_distance_mm=5)
    assert [x["vessel"] for x in far.record["lesions"]] == ["LAD", "RCA", None]
    # The mask of the result carries the vessels and gives the same score again.
    again = score(series, tmp_path / "far" / "mask.nii.gz", "again")
    assert again.score.per_vessel == far.score.per_vessel


def test_a_segmentation_of_something_else_is_refused(series, plain, tmp_path):
    vessels = save(tmp_path / "lumen.nii.gz", np.full(SHAPE, 77, np.uint8))
    with pytest.raises(InputError, match="VESSEL_LABELS"):
        score(series, plain, vessels_path=vessels)
    assert not (tmp_path / "out").exists()


# --- targets


@pytest.mark.parametrize(
    ("sex", "verdict"),
    [
        ("female", "below the cut-off"),
        ("male", "below the cut-off"),
        (None, None),
    ],
)
def test_aortic_valve_has_its_cut_off_and_no_coronary_class(
    series, tmp_path, sex, verdict
):
    mask = save(tmp_path / "valve.nii.gz", labelled(lad=2, rca=4, aorta=6))
    result = score(series, mask, target="aortic-valve", sex=sex)
    assert result.record["agatston"] == pytest.approx(12)
    assert result.record["num_lesions"] == 1
    assert result.record["aortic_valve"] == {"sex": sex, "class": verdict}
    assert result.record["risk_category"] is None
    assert result.record["cac_drs"] is None
    assert result.record["target"]["title"] == "Aortic valve calcium"
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Risk category" not in report
    assert "Aortic valve calcium" in report


def test_a_large_valve_score_says_that_stenosis_is_likely(tmp_path):
    # 40 slices of 1200 pixels of 0.25 mm2 at weight 4: 48 000 points.
    scan = make_scan()
    scan.array[:, 5:35, 5:45] = 500
    write_dicom_series(scan, tmp_path / "series")
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 5:35, 5:45] = 1
    path = save(tmp_path / "valve.nii.gz", mask)
    result = score(tmp_path / "series", path, target="aortic-valve", sex="male")
    assert result.record["agatston"] == pytest.approx(48000)
    assert result.record["aortic_valve"]["class"] == "severe stenosis likely"
    assert "By the cut-off for male sex" in result.record["finding_text"]


def test_thoracic_aorta_takes_its_label_alone(series, by_label):
    result = score(series, by_label, target="thoracic-aorta")
    assert result.record["agatston"] == pytest.approx(12)
    assert set(np.unique(result.mask)) == {0, 5}


def test_carotid_calcium_is_a_volume_above_130_hu_alone(tmp_path):
    scan = make_scan()
    scan.array[LAD] = 130  # not above 130
    scan.array[20, 10, 40] = 130
    write_dicom_series(scan, tmp_path / "series")
    mask = save(tmp_path / "mask.nii.gz", labelled(lad=1, rca=1, aorta=1))
    result = score(tmp_path / "series", mask, target="icac")
    # RCA's 15 and the aorta's 16 voxels of 0.75 mm3
    assert result.record["volume_mm3"] == pytest.approx(31 * 0.75)
    for key in ("agatston", "coronary_agatston", "risk_category", "cac_drs"):
        assert result.record[key] is None
    assert result.record["rule"]["name"] == "icac_volume"
    assert {lesion["agatston"] for lesion in result.record["lesions"]} == {None}
    with (tmp_path / "out" / "lesions.csv").open() as file:
        assert {row["agatston"] for row in csv.DictReader(file)} == {""}
    text = result.summary() + (tmp_path / "out" / "report.html").read_text()
    assert "Agatston" not in text
    assert "weight" not in result.record["rule"]["description"].lower()
    assert "Volume 23.2 mm3" in result.record["finding_text"]


def test_ordinal_score_follows_the_arteries(series, plain, tmp_path):
    vessels = np.zeros(SHAPE, np.uint8)
    vessels[1:4, 4, 4] = 1
    vessels[1:31, 12, 12] = 2  # 30 pieces of 3 mm, calcium in one
    vessels[20:21, 12, 40:60] = 4  # 10 mm, calcium in 4 of them: 2 pieces of 3 mm of 4
    vessels[1:9, 40, 30] = 3
    path = save(tmp_path / "lumen.nii.gz", vessels)
    result = score(series, plain, target="coronary-ordinal", vessels_path=path)
    ordinal = result.record["ordinal"]
    assert ordinal["calcified_share"]["LAD"] == pytest.approx(1 / 30)
    assert ordinal["calcified_share"]["RCA"] == pytest.approx(0.5)
    assert ordinal["grades"] == {"LM": 0, "LAD": 1, "LCX": 0, "RCA": 2}
    assert (ordinal["score"], ordinal["category"]) == (3, "1-3")
    assert "Ordinal score 3 of 12" in result.record["finding_text"]
    assert "Ordinal score   3 of 12" in result.summary()


def test_a_label_map_without_the_target_scores_zero_and_says_so(series, tmp_path):
    mask = save(tmp_path / "labels.nii.gz", labelled(lad=2, rca=4, aorta=4))
    result = score(series, mask, target="aortic-valve")
    assert result.record["agatston"] == 0
    assert "MASK_EMPTY" in codes(result)


def test_a_mask_of_another_structure_is_no_target(series, tmp_path):
    mask = save(tmp_path / "labels.nii.gz", labelled(lad=2, rca=2, aorta=2))
    with pytest.raises(InputError, match="TARGET_LABEL"):
        score(series, mask, target="aortic-valve")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": "brain"}, "target must be one of coronary"),
        ({"target": "coronary-ordinal"}, "needs the course of the coronary arteries"),
        ({"vessel_distance_mm": 0}, "must be positive"),
        ({"rod_density_mg_per_ml": float("nan")}, "must be positive"),
        ({"risk_classes": "other"}, "risk_classes must be"),
        ({"sex": "x"}, "sex must be female or male"),
        ({"percentile_table": "t.csv", "age": 50}, "needs age and sex"),
        (
            {"percentile_table": "t", "age": 5, "sex": "male", "target": "icac"},
            "not of the target icac",
        ),
    ],
)
def test_choices_that_do_not_go_together_are_refused(options, text):
    with pytest.raises(UsageError, match=text) as caught:
        ScoreOptions(**options)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": "icac", "rule": "fqm_canon"}, "has its own rule, icac_volume"),
        ({"target": "icac", "dicom": True}, "has none"),
        ({"mass_calibration": 0.8, "calibration_path": "rod.nii"}, "not both"),
    ],
)
def test_choices_are_refused_before_any_work(series, plain, options, text):
    with pytest.raises(UsageError, match=text):
        score(series, plain, **options)
    assert not (series.parent / "out").exists()


def test_targets_beside_the_coronaries_need_a_mask(series, tmp_path):
    options = ScoreOptions(target="aortic-valve")
    with pytest.raises(UsageError, match="no network finds the target aortic-valve"):
        score_scan(series, tmp_path / "out", options=options)


def test_a_target_whose_model_is_not_shipped_needs_a_model_or_a_mask(
    series, tmp_path, monkeypatch
):
    from kcalc.workflow import choices

    monkeypatch.setattr(choices, "SHIPPED_MODELS", {})
    with pytest.raises(UsageError, match=r"target icac is shipped.*--model.*--mask"):
        score_scan(series, tmp_path / "out", options=ScoreOptions(target="icac"))


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("vessels_path", "VESSEL_LABELS"),
        ("calibration_path", "CALIBRATION_ROI"),
        ("percentile_table", "PERCENTILE_TABLE"),
    ],
)
def test_what_the_user_gave_is_refused_before_the_network_runs(
    series, tmp_path, monkeypatch, option, code
):
    from kcalc.workflow import scan

    def never(*arguments: object) -> None:
        raise AssertionError("the network was called")

    monkeypatch.setattr(scan, "find_calcium", never)
    path = save(tmp_path / "nothing.nii.gz", np.zeros(SHAPE, np.uint8))
    chosen = {option: path}
    if option == "percentile_table":
        (tmp_path / "t.csv").write_text("sex\n")
        chosen = {option: tmp_path / "t.csv", "age": 50.0, "sex": "male"}
    with pytest.raises(InputError, match=code):
        score_scan(series, tmp_path / "out", options=ScoreOptions(**chosen))


# --- mass and further indices


def rod_mask(*, background: bool = True) -> np.ndarray:
    rois = np.zeros(SHAPE, np.uint8)
    rois[3:5, 37:43, 51:57] = 1
    rois[3:5, 37:43, 41:47] = 2
    if background:
        rois[36:38, 20:30, 30:40] = 3
    return rois


def test_a_rod_calibrates_the_mass_and_opens_the_further_indices(
    series, plain, tmp_path
):
    rod = save(tmp_path / "rod.nii.gz", rod_mask())
    result = score(series, plain, calibration_path=rod)
    # 200 mg/mL over 250 HU of contrast: 0.8. Three lesions of 12 mm3.
    assert result.record["mass_calibration"]["source"] == "rod"
    assert result.record["mass_calibration"]["mg_per_ml_per_hu"] == pytest.approx(0.8)
    assert result.record["mass_mg"] == pytest.approx(12 * (250 + 450 + 350) * 0.8e-3)
    indices = result.record["further_indices"]
    # Over tissue of 50 HU a rod of 250 HU has 200 HU of contrast; no partial volume.
    fraction = 12 * (200 + 400 + 300) / 200
    assert indices["volume_fraction_mm3"] == pytest.approx(fraction)
    assert indices["integrated_mass_mg"] == pytest.approx(fraction * 0.2)
    # The rod has no noise, so the weights of the spatial score are not defined.
    assert indices["spatially_weighted_score"] is None
    assert "rod calibration" in result.record["finding_text"]
    assert "Integrated mass" in (tmp_path / "out" / "report.html").read_text()


def test_a_noisy_rod_gives_the_spatially_weighted_score(tmp_path, plain):
    scan = make_scan()
    rod = rod_mask()
    noise = np.where(np.indices(SHAPE).sum(axis=0) % 2, 10, -10)
    scan.array[rod == 1] += noise[rod == 1].astype(np.int16)
    write_dicom_series(scan, tmp_path / "series")
    path = save(tmp_path / "rod.nii.gz", rod)
    result = score(tmp_path / "series", plain, calibration_path=path)
    # 100 mg/mL reads 125 HU, SD 10: lesions weigh 1, tissue of 50 HU nothing. In each
    # lesion 4 x 4 pixels, of which each spreads a fifth to every neighbour in the rim.
    indices = result.record["further_indices"]
    assert indices["spatially_weighted_score"] == pytest.approx(48, abs=1e-6)


def test_without_tissue_there_are_no_further_indices(series, plain, tmp_path):
    rod = save(tmp_path / "rod.nii.gz", rod_mask(background=False))
    result = score(series, plain, calibration_path=rod)
    assert result.record["mass_mg"] is not None
    assert result.record["further_indices"] is None


def test_the_population_s_mass_comes_with_a_warning(series, plain):
    result = score(series, plain, mass_calibration="population")
    assert result.record["mass_mg"] == pytest.approx(12 * 1050 * 0.77e-3)
    assert "MASS_POPULATION" in codes(result)


def test_the_population_s_mass_is_refused_at_100_kvp(tmp_path, plain):
    write_dicom_series(make_scan(100.0), tmp_path / "series")
    with pytest.raises(UnfitError, match="CALIBRATION_KVP"):
        score(tmp_path / "series", plain, mass_calibration="population")
    assert not (tmp_path / "out").exists()


def test_without_a_calibration_there_is_no_mass(series, plain):
    record = score(series, plain).record
    assert (record["mass_mg"], record["mass_calibration"]) == (None, None)


def test_isotropic_volume_stands_beside_the_plain_one(series, plain):
    record = score(series, plain).record
    assert record["volume_mm3"] == pytest.approx(36)
    # 130 HU lies 1.8, 2.4 and 2.2 mm off the slices of 250, 450 and 350 HU over 50:
    # 7, 9 and 9 samples of 0.5 mm.
    assert record["volume_isotropic_mm3"] == pytest.approx((7 + 9 + 9) * 16 * 0.125)


# --- classes and percentile


def test_orcascore_classes_are_an_option(tmp_path):
    scan = make_scan()
    scan.array[RCA] = 60
    scan.array[AORTA] = 60
    write_dicom_series(scan, tmp_path / "series")
    mask = save(tmp_path / "mask.nii.gz", labelled(lad=1, rca=1, aorta=1))
    common = score(tmp_path / "series", mask, "common")
    assert common.record["risk_category"] == "1-10"
    result = score(tmp_path / "series", mask, risk_classes="orcascore")
    assert result.record["risk_category"] == "0-10"
    assert "Risk category 0-10 (orCaScore)" in result.record["finding_text"]


def test_percentile_of_the_user_s_table(series, plain, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("sex,age_from,age_to,p50,p75,p90\nfemale,50,59,1,20,100\n")
    result = score(series, plain, percentile_table=table, age=55, sex="female")
    assert result.record["percentile"] == {
        "above": 75.0,
        "at_most": 90.0,
        "age": 55.0,
        "sex": "female",
        "group": "",
    }
    assert (
        "between the 75th and the 90th percentile (age 55, female)"
        in (result.record["finding_text"])
    )


def test_percentiles_read_as_ordinals():
    from kcalc.report.finding import percentile_words

    person = {"age": 50.0, "sex": "male", "group": "b"}
    words = [
        percentile_words(person | {"above": above, "at_most": at_most})
        for above, at_most in ((1, 2), (0, 23), (12, 97.5), (91, 100))
    ]
    assert [word.partition(" (")[0] for word in words] == [
        "between the 1st and the 2nd percentile",
        "at or below the 23rd percentile",
        "between the 12th and the 97.5th percentile",
        "above the 91st percentile",
    ]
    assert words[0].endswith("(age 50, male, b)")


def test_an_age_outside_the_table_is_refused(series, plain, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("sex,age_from,age_to,p50\nfemale,50,59,1\n")
    with pytest.raises(InputError, match="PERCENTILE_RANGE"):
        score(series, plain, percentile_table=table, age=60, sex="female")
    assert not (tmp_path / "out").exists()


# --- the standing of the scan


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, []),
        ({"gated": False}, ["NOT_GATED"]),
        ({"gated": None}, ["NOT_GATED"]),
        ({"thickness_mm": 5.0}, ["PROTOCOL"]),
        ({"kvp": 100.0}, ["KVP"]),
        ({"kvp": 80.0, "gated": None}, ["KVP", "NOT_GATED"]),
    ],
)
def test_a_scan_off_the_standard_is_named_beside_the_class(
    tmp_path, plain, facts, expected
):
    write_dicom_series(make_scan(**facts), tmp_path / "series")
    result = score(tmp_path / "series", plain)
    assert result.record["non_standard_acquisition"] == expected
    report = (tmp_path / "out" / "report.html").read_text()
    for text in (report, result.summary(), result.record["finding_text"]):
        assert ("on-standard acquisition" in text) == bool(expected)


def test_a_scan_that_cuts_the_heart_is_non_standard(tmp_path):
    scan = make_scan()
    short = Volume(
        scan.array[8:24].copy(),
        Geometry.axial((16, 48, 64), (3.0, 0.5, 0.5)),
        acquisition=scan.acquisition,
    )
    write_dicom_series(short, tmp_path / "short")
    mask = labelled(lad=1, rca=1, aorta=1)[8:24]
    path = write_nifti(tmp_path / "mask.nii.gz", mask, short.geometry)
    result = score(tmp_path / "short", path)
    assert result.record["non_standard_acquisition"] == ["FOV"]
    (finding,) = [f for f in result.record["findings"] if f["code"] == "FOV"]
    assert "covers 48 mm" in finding["message"]


def test_a_lesion_in_the_last_slice_may_go_on(tmp_path):
    scan = make_scan()
    scan.array[39, 20:24, 20:24] = 300
    write_dicom_series(scan, tmp_path / "series")
    mask = np.zeros(SHAPE, np.uint8)
    mask[39, 20:24, 20:24] = 1
    result = score(tmp_path / "series", save(tmp_path / "m.nii.gz", mask))
    assert result.record["non_standard_acquisition"] == ["FOV"]


# --- the table of lesions and the command line


def test_lesion_table_has_every_column(series, by_label, tmp_path):
    score(series, by_label)
    with (tmp_path / "out" / "lesions.csv").open() as file:
        row = list(csv.DictReader(file))[1]
    assert row["vessel"] == "RCA"
    assert (row["z_index"], row["y_index"], row["x_index"]) == ("20.0", "11.5", "41.5")
    assert (row["x_mm"], row["y_mm"], row["z_mm"]) == ("0.75", "-4.25", "110.0")
    assert (row["first_slice_index"], row["last_slice_index"]) == ("20", "20")
    assert (row["area_mm2"], row["volume_mm3"]) == ("4.0", "12.0")
    assert (row["max_hu"], row["mean_hu"], row["num_pixels"]) == (
        "450.0",
        "450.0",
        "16",
    )


def test_every_choice_is_on_the_command_line(series, plain, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("sex,group,age_from,age_to,p50\nmale,a,50,59,1\n")
    vessels = save(tmp_path / "v.nii.gz", labelled(lad=2, rca=4, aorta=5))
    rod = save(tmp_path / "rod.nii.gz", rod_mask())
    arguments = [
        *("score", "-i", series, "-o", tmp_path / "out", "--mask", plain, "--json"),
        *("--vessels", vessels, "--vessel-distance", "2", "--risk-classes"),
        *("orcascore", "--calibration-rod", rod, "--rod-density", "100"),
        *("--percentiles", table, "--age", "52", "--sex", "male", "--group", "A"),
    ]
    assert cli.main([str(argument) for argument in arguments]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["vessel_map"]["max_distance_mm"] == 2
    assert record["cac_drs"] == "A1/N2"
    assert record["risk_category"] == "11-100"
    assert record["mass_calibration"]["mg_per_ml_per_hu"] == pytest.approx(0.4)
    assert record["percentile"]["group"] == "a"


def test_choices_that_do_not_go_together_give_exit_code_two(series, plain, capsys):
    arguments = ["score", "-i", str(series), "-o", str(series.parent / "out")]
    arguments += ["--mask", str(plain), "--percentiles", "t.csv", "--sex", "male"]
    assert cli.main(arguments) == 2
    assert "a percentile needs age and sex" in capsys.readouterr().err


def test_the_population_is_a_word_on_the_command_line(series, plain, capsys):
    arguments = ["score", "-i", str(series), "-o", str(series.parent / "out")]
    arguments += ["--mask", str(plain), "--mass-calibration", "population"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Mass            9.70 mg" in out
    assert "mean of a population" in out


def test_targets_of_the_command_line_are_those_of_the_library():
    from kcalc.cli.score_options import TARGETS as ON_THE_COMMAND_LINE
    from kcalc.scoring import TARGETS

    assert ON_THE_COMMAND_LINE == tuple(TARGETS)


def test_mask_of_nearest_vessels_is_readable(series, plain, tmp_path):
    vessels = save(tmp_path / "v.nii.gz", labelled(lad=2, rca=4, aorta=0))
    score(series, plain, vessels_path=vessels)
    mask = read_mask(tmp_path / "out" / "mask.nii.gz", GEOMETRY)
    assert set(np.unique(mask)) == {0, 2, 4, 8}
