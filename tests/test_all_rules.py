"""One scan under every rule: numbers or reasons, in Python, JSON, text and HTML."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kcalc import cli
from kcalc.errors import InputError, UsageError
from kcalc.geometry import Geometry
from kcalc.io.nifti import write_nifti
from kcalc.phantoms import write_dicom_series
from kcalc.scoring import (
    RULES,
    calcium_score,
    kvp_adapted,
    rule,
    score_under_all_rules,
)
from kcalc.volume import Acquisition, Volume
from kcalc.workflow import ScoreOptions, score_scan

SPACING_MM = (1.5, 0.5, 0.5)


def scan_hu() -> np.ndarray:
    scan = np.full((5, 40, 40), -1000, np.int16)
    scan[:, 4:36, 4:36] = 40
    scan[2, 20:23, 20:24] = 250
    scan[3, 10, 10] = 450
    return scan


@pytest.fixture
def case(tmp_path):
    """Return the folder of a series at 120 kVp and its mask."""
    volume = Volume(
        scan_hu(),
        Geometry.axial((5, 40, 40), SPACING_MM),
        acquisition=Acquisition(
            modality="CT", tube_voltage_kvp=120.0, slice_thickness_mm=3.0
        ),
    )
    write_dicom_series(volume, tmp_path / "series")
    write_nifti(tmp_path / "mask.nii.gz", volume.array >= 130, volume.geometry)
    return tmp_path


def test_every_preset_scores_as_it_does_alone():
    scan = scan_hu()
    facts = {
        "tube_voltage_kvp": 120,
        "slice_thickness_mm": 3.0,
        "mass_calibration": 0.8,
        "vessels": (scan > 400).astype(np.uint8) + 1,
    }
    outcomes = score_under_all_rules(scan, scan >= 130, SPACING_MM, **facts)
    assert [x.rule.name for x in outcomes] == list(RULES)
    for outcome in outcomes:
        alone = calcium_score(
            scan, scan >= 130, SPACING_MM, rule=outcome.rule.name, **facts
        )
        assert outcome.score == alone


def test_rules_that_do_not_apply_say_why():
    scan = scan_hu()
    outcomes = score_under_all_rules(scan, scan >= 130, SPACING_MM, tube_voltage_kvp=90)
    reasons = {x.rule.name: x.reason for x in outcomes if x.score is None}
    assert list(reasons) == [
        *(f"fqm_{v}" for v in ("siemens", "philips", "ge", "canon", "literature")),
        "ai_cac",
        "ai_cac_default",
        "calciumscoring_jl",
        "slicer_agatston",
    ]
    assert reasons["fqm_ge"].startswith(
        "RULE_KVP: The rule fqm_ge is defined at 100, 120 kVp only."
    )
    assert reasons["ai_cac"].startswith("RULE_THICKNESS: The rule ai_cac scales by")
    row = next(x for x in outcomes if x.score is None).to_dict()
    assert (row["applicable"], row["agatston"], row["risk_category"]) == (
        False,
        None,
        None,
    )


def test_a_rule_that_cannot_be_adapted_does_not_apply():
    scan = scan_hu()
    outcomes = score_under_all_rules(
        scan,
        scan >= 130,
        SPACING_MM,
        tube_voltage_kvp=80,
        slice_thickness_mm=3.0,
        adapt=lambda preset: kvp_adapted(preset, 80),
    )
    by_name = {x.rule.name: x for x in outcomes}
    assert by_name["fqm_ge"].score.rule.threshold_hu == 177
    assert by_name["deepcac"].reason.startswith("RULE_NOT_ADAPTABLE:")
    assert by_name["calciumscoring_jl"].score.rule.threshold_hu == 184  # its own row


def test_a_scan_refused_under_any_rule_is_refused_at_once():
    scan = scan_hu().astype(np.float32)
    scan[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="HU_NAN"):
        score_under_all_rules(scan, scan >= 130, SPACING_MM)


def test_score_json_has_all_rules_and_the_default_rules_own_figures(case, tmp_path):
    result = score_scan(
        case / "series",
        tmp_path / "all",
        mask_path=case / "mask.nii.gz",
        rule="all",
        mass_calibration=0.8,
    )
    alone = score_scan(
        case / "series",
        tmp_path / "one",
        mask_path=case / "mask.nii.gz",
        mass_calibration=0.8,
    )
    assert result.score == alone.score
    written = json.loads((tmp_path / "all" / "score.json").read_text())
    rows = {row["rule"]: row for row in written["all_rules"]}
    assert list(rows) == list(RULES)
    # 12 pixels of 0.25 mm2 weigh 2, one of 0.25 mm2 weighs 4; spacing / 3 mm is 1 / 2
    assert rows["agatston_1990"]["agatston"] == pytest.approx(3.0)
    assert rows["fqm_siemens"]["agatston"] == pytest.approx(3.5)
    assert rows["slicer_agatston"]["agatston"] == pytest.approx(7.0)
    assert rows["ai_cac"]["agatston"] == 6.0
    assert rows["tiger"]["mass_mg"] == pytest.approx(13 * 0.375 * 0.8e-3 * 3450 / 13)
    assert all(row["source"] and row["description"] for row in rows.values())
    other = json.loads((tmp_path / "one" / "score.json").read_text())
    assert other["all_rules"] is None
    for record in (written, other):
        for key in ("all_rules", "files", "record_sha256"):  # digests, of all of it
            del record[key]
    assert written == other


def test_summary_and_report_show_the_table(case, capsys):
    arguments = ["score", "-i", str(case / "series"), "-o", str(case / "out")]
    mask = ["--mask", str(case / "mask.nii.gz")]
    assert cli.main([*arguments, *mask, "--rule", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert table["fqm_siemens"][1:6] == ["3.5", "4.9", "–", "2", "1-10"]
    assert "16 rules give an Agatston score from 3.0 to 7.0 for the same mask." in lines
    html = (case / "out" / "report.html").read_text("utf-8")
    assert "<h2>The same mask under every rule</h2>" in html
    assert "of this report are those of agatston_1990." in html
    assert "Keeps faults of its origin" in html


def test_report_says_not_applicable_with_the_reason(case, capsys):
    scan = Volume(
        scan_hu(),
        Geometry.axial((5, 40, 40), SPACING_MM),
        acquisition=Acquisition(
            modality="CT", tube_voltage_kvp=140.0, slice_thickness_mm=3.0
        ),
    )
    write_dicom_series(scan, case / "other")
    arguments = ["score", "-i", str(case / "other"), "-o", str(case / "out")]
    mask = ["--mask", str(case / "mask.nii.gz")]
    assert cli.main([*arguments, *mask, "--rule", "all"]) == 0
    out = capsys.readouterr().out
    wanted = (
        "not applicable: RULE_KVP: The rule fqm_ge is defined at 100, 120 kVp only."
    )
    assert wanted in out
    assert "; 7 do not apply." in out
    assert wanted in (case / "out" / "report.html").read_text("utf-8")


def test_one_inapplicable_rule_is_refused_with_the_way_out(case, capsys):
    scan = Volume(
        scan_hu(),
        Geometry.axial((5, 40, 40), SPACING_MM),
        acquisition=Acquisition(modality="CT", tube_voltage_kvp=140.0),
    )
    write_dicom_series(scan, case / "other")
    arguments = ["score", "-i", str(case / "other"), "-o", str(case / "out")]
    mask = ["--mask", str(case / "mask.nii.gz")]
    assert cli.main([*arguments, *mask, "--rule", "fqm_ge"]) == 5
    err = capsys.readouterr().err
    assert "RULE_KVP: The rule fqm_ge is defined at 100, 120 kVp only." in err
    assert "agatston_1990 takes every voltage" in err
    assert not (case / "out").exists()


def test_a_region_mask_is_told_apart_from_the_rules_range(case, capsys):
    scan = scan_hu()
    region = np.zeros(scan.shape, np.uint8)
    region[1:4, 8:30, 8:30] = 1
    write_nifti(case / "region.nii.gz", region, Geometry.axial(scan.shape, SPACING_MM))
    arguments = ["score", "-i", str(case / "series"), "-o", str(case / "out")]
    mask = ["--mask", str(case / "region.nii.gz")]
    assert cli.main([*arguments, *mask, "--rule", "all"]) == 0
    out = capsys.readouterr().out
    assert "13 rules give an Agatston score from" in out
    assert "; 3 take the mask for calcium, which it is not." in out
    rows = {r.split()[0]: r for r in out.splitlines() if r.strip()}
    assert "MASK_VOLUME" in rows["tiger"]
    assert "MASK_REGION" in rows["ai_cac"]


@pytest.mark.parametrize("target", ["icac"])
def test_all_rules_of_a_target_with_its_own_rule_are_refused(case, target):
    with pytest.raises(UsageError, match="all rules are rules of an Agatston score"):
        score_scan(
            case / "series",
            case / "out",
            mask_path=case / "mask.nii.gz",
            rule="all",
            options=ScoreOptions(target=target),
        )


def test_mask_file_of_a_rule_without_threshold_goes_back_in(case):
    scan = scan_hu()
    region = np.zeros(scan.shape, np.uint8)
    region[2, 19:24, 19:25] = 1
    write_nifti(case / "region.nii.gz", region, Geometry.axial(scan.shape, SPACING_MM))
    for name in ("deepcac", "tiger", "fqm_philips", "comp2comp"):
        first = score_scan(
            case / "series",
            case / f"one-{name}",
            mask_path=case / "region.nii.gz",
            rule=name,
        )
        second = score_scan(
            case / "series",
            case / f"two-{name}",
            mask_path=case / f"one-{name}" / "mask.nii.gz",
            rule=name,
        )
        assert second.score == first.score
        assert first.score.rule == rule(name).applied(
            pixel_area_mm2=0.25, tube_voltage_kvp=120, slice_thickness_mm=3.0
        )
