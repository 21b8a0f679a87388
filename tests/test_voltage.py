"""Thresholds of other beams: the table, between its rows, and what is never adapted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dicom_factory import write_series
from hypothesis import given, settings
from hypothesis import strategies as st

import kcalc
from kcalc.errors import InputError, UnfitError
from kcalc.io import read_volume
from kcalc.scoring import (
    KvpRow,
    ScoringRule,
    adaptation_obstacle,
    kev_adapted,
    kvp_adapted,
    rule,
)
from kcalc.volume import Acquisition
from kcalc.workflow import ScoreOptions
from kcalc.workflow.options import rule_for_beam

AGATSTON = rule("agatston_1990")


def edges(a_rule):
    return [edge for edge, _ in a_rule.density_bins]


@pytest.mark.parametrize(
    ("kvp", "expected"),
    [
        (70, [207, 318, 477, 636]),
        (80, [177, 271, 408, 544]),
        (100, [147, 226, 339, 452]),
        (99.7, [147, 226, 339, 452]),
    ],
)
def test_rows_of_the_table_are_taken_as_they_are(kvp, expected):
    adapted = kvp_adapted(AGATSTON, kvp)
    assert edges(adapted) == expected
    assert adapted.threshold_hu == expected[0]
    assert [weight for _, weight in adapted.density_bins] == [1, 2, 3, 4]
    assert adapted.name == "agatston_1990_kvp_adapted"
    assert "interpolated" not in adapted.source


def test_between_two_rows_the_logarithm_is_linear():
    # 110 kVp lies half way from 100 to 120: the geometric mean of both rows.
    adapted = kvp_adapted(AGATSTON, 110)
    assert edges(adapted) == pytest.approx(
        [(147 * 130) ** 0.5, (226 * 200) ** 0.5, (339 * 300) ** 0.5, (452 * 400) ** 0.5]
    )
    assert "110 kVp, interpolated" in adapted.source


def test_above_120_kvp_the_last_line_goes_on():
    # One step of 20 kVp further on: 130 x 130 / 147. At 135 kVp it meets the 119 HU
    # that CalciumScoring.jl has.
    assert edges(kvp_adapted(AGATSTON, 140))[0] == pytest.approx(130 * 130 / 147)
    assert edges(kvp_adapted(AGATSTON, 135)) == pytest.approx(
        [119, 183, 274, 364], abs=1
    )


@pytest.mark.parametrize("kvp", [120, 119.6, 120.4])
def test_at_120_kvp_a_rule_stays_as_it_is(kvp):
    assert kvp_adapted(AGATSTON, kvp) is AGATSTON


def test_a_rule_with_a_row_of_its_own_keeps_it():
    canon = rule("fqm_canon")
    assert kvp_adapted(canon, 100) is canon
    applied = canon.applied(pixel_area_mm2=0.25, tube_voltage_kvp=100)
    assert applied.threshold_hu == 147


@pytest.mark.parametrize("kvp", [69, 151, 40])
def test_voltages_outside_the_table_are_refused(kvp):
    with pytest.raises(UnfitError, match=r"KVP_RANGE: .* from 70 to 150 kVp"):
        kvp_adapted(AGATSTON, kvp)


@pytest.mark.parametrize(
    "other",
    [
        ScoringRule("whole mask", "-", threshold_hu=None),
        replace(AGATSTON, threshold_hu=128),
        replace(AGATSTON, density_bins=((130, 1), (500, 2))),
    ],
)
def test_a_rule_with_other_edges_cannot_be_adapted(other):
    with pytest.raises(InputError, match="RULE_NOT_ADAPTABLE"):
        kvp_adapted(other, 100)
    with pytest.raises(InputError, match="RULE_NOT_ADAPTABLE"):
        kev_adapted(other, 70)


@pytest.mark.parametrize(
    ("kev", "expected"),
    [
        (40, [339, 515, 773, 1029]),
        (70, [132, 200, 300, 400]),
        (190, [64, 98, 147, 195]),
        (45, [(339 * 229) ** 0.5, (515 * 348) ** 0.5, (773 * 522) ** 0.5, 845.06]),
    ],
)
def test_photon_energies_have_their_own_table(kev, expected):
    adapted = kev_adapted(AGATSTON, kev)
    assert edges(adapted) == pytest.approx(expected, abs=0.01)
    assert ("interpolated" in adapted.source) == (kev == 45)


@pytest.mark.parametrize("kev", [39, 191])
def test_photon_energies_outside_the_table_are_refused(kev):
    with pytest.raises(InputError, match=r"KEV_RANGE: .* from 40 to 190 keV"):
        kev_adapted(AGATSTON, kev)


# --- scores


def scan_of(hu):
    scan = np.full((3, 10, 10), 40, np.int16)
    scan[1, 2:6, 2:6] = hu  # 4 mm2 at 0.5 mm
    return scan


@pytest.mark.parametrize(
    ("hu", "plain", "adapted"), [(140, 4, 0), (147, 4, 4), (225, 8, 4), (452, 16, 16)]
)
def test_a_100_kvp_scan_loses_what_only_its_beam_brightened(hu, plain, adapted):
    scan = scan_of(hu)
    arguments = {"spacing_mm": (3.0, 0.5, 0.5), "tube_voltage_kvp": 100}
    score = kcalc.calcium_score(scan, scan > 100, **arguments)
    assert score.agatston == plain
    assert score.warnings[0].startswith("KVP: scanned at 100 kVp, scored with the")
    score = kcalc.calcium_score(
        scan, scan > 100, **arguments, rule=kvp_adapted(AGATSTON, 100)
    )
    assert score.agatston == adapted
    assert score.warnings[0].startswith(
        "KVP: scanned at 100 kVp and scored at the 147 HU"
    )


def test_a_rule_adapted_to_another_voltage_is_warned_of():
    scan = scan_of(300)
    score = kcalc.calcium_score(
        scan,
        scan > 100,
        (3.0, 0.5, 0.5),
        rule=kvp_adapted(AGATSTON, 80),
        tube_voltage_kvp=120,
    )
    assert "scored at the 177 HU that the rule" in score.warnings[0]
    assert "for another tube voltage" in score.warnings[0]


def test_a_rule_with_a_row_at_120_kvp_warns_of_nothing_there():
    own = replace(AGATSTON, name="own", kvp_table=(KvpRow(120, 128),))
    scan = scan_of(129)
    score = kcalc.calcium_score(
        scan, scan > 100, (3.0, 0.5, 0.5), rule=own, tube_voltage_kvp=120
    )
    assert (score.rule.threshold_hu, score.warnings) == (128, ())


@settings(deadline=None, max_examples=50)
@given(
    low=st.floats(70, 149),
    step=st.floats(0.1, 79),
    table=st.sampled_from(["kvp", "kev"]),
)
def test_thresholds_never_rise_with_the_energy(low, step, table):
    adapt = kvp_adapted if table == "kvp" else kev_adapted
    softer, harder = adapt(AGATSTON, low), adapt(AGATSTON, min(low + step, 150))
    pairs = list(zip(edges(softer), edges(harder), strict=True))
    assert all(high <= low + 1e-9 for low, high in pairs)
    assert edges(softer) == sorted(edges(softer))


@settings(deadline=None, max_examples=50)
@given(kvp=st.floats(70, 119), hu=st.integers(100, 700))
def test_an_adapted_score_of_a_softer_beam_is_never_higher(kvp, hu):
    scan = scan_of(hu)
    arguments = {"spacing_mm": (3.0, 0.5, 0.5), "tube_voltage_kvp": kvp}
    plain = kcalc.calcium_score(scan, scan > 50, **arguments).agatston
    rule_for_kvp = kvp_adapted(AGATSTON, kvp)
    adapted = kcalc.calcium_score(scan, scan > 50, **arguments, rule=rule_for_kvp)
    assert adapted.agatston <= plain


# --- scans that are never adapted


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"tin_filter": True}, "tin filter"),
        ({"convolution_kernel": "Sa36f\\3"}, "Sa36"),
        ({"convolution_kernel": "sa36"}, "Sa36"),
        ({"spectral": True}, "multi-energy"),
    ],
)
def test_scans_whose_voltage_says_little_have_an_obstacle(facts, reason):
    assert reason in adaptation_obstacle(Acquisition(**facts))


def test_an_ordinary_scan_has_no_obstacle():
    assert adaptation_obstacle(Acquisition(convolution_kernel="Qr36f")) is None


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, (None, False, False)),
        ({"CardiacSynchronizationTechnique": "PROSPECTIVE"}, (True, False, False)),
        ({"CardiacSynchronizationTechnique": "NONE"}, (False, False, False)),
        ({"TriggerTime": "650"}, (True, False, False)),
        ({"NominalPercentageOfCardiacPhase": 75.0}, (True, False, False)),
        ({"ScanOptions": ["ECG", "FILTER"]}, (True, False, False)),
        ({"ScanOptions": "HELICAL MODE"}, (None, False, False)),
        ({"FilterMaterial": "TIN"}, (None, True, False)),
        ({"FilterType": "SN_FLAT"}, (None, True, False)),
        ({"FilterType": "FLAT"}, (None, False, False)),
        ({"SeriesDescription": "CaSc Sn100 3.0 Sa36"}, (None, True, False)),
        ({"ProtocolName": "CaScore SN100kV"}, (None, True, False)),
        ({"SeriesDescription": "Snyder protocol, small vessels"}, (None, False, False)),
        (
            {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "ME70KEV"]},
            (None, False, True),
        ),
        ({"MultienergyCTAcquisition": "YES"}, (None, False, True)),
    ],
)
def test_technique_is_read_from_the_attributes_that_tell_it(
    tmp_path, attributes, expected
):
    def change(ds, index):
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)

    write_series(tmp_path, edit=change)
    facts = read_volume(tmp_path).acquisition
    assert (facts.ecg_gated, facts.tin_filter, facts.spectral) == expected


# --- what kcalc score does with it


@pytest.mark.parametrize(
    ("facts", "name", "codes"),
    [
        ({"tube_voltage_kvp": 120.0}, "agatston_1990", []),
        ({"tube_voltage_kvp": 100.0}, "agatston_1990_kvp_adapted", []),
        (
            {"tube_voltage_kvp": 100.0, "convolution_kernel": "Sa36f"},
            "agatston_1990",
            ["KVP_NOT_ADAPTED"],
        ),
        (
            {"tube_voltage_kvp": 120.0, "convolution_kernel": "Sa36f"},
            "agatston_1990",
            [],
        ),
        (
            {"tube_voltage_kvp": 120.0, "spectral": True},
            "agatston_1990",
            ["KVP_NOT_ADAPTED"],
        ),
    ],
)
def test_an_adapted_rule_is_given_where_it_may_be(facts, name, codes):
    chosen, findings = rule_for_beam(
        AGATSTON, ScoreOptions(kvp_adapted=True), Acquisition(**facts)
    )
    assert (chosen.name, [finding.code for finding in findings]) == (name, codes)


def test_a_spectral_image_without_its_energy_is_warned_of():
    facts = Acquisition(tube_voltage_kvp=120.0, spectral=True)
    chosen, (finding,) = rule_for_beam(AGATSTON, ScoreOptions(), facts)
    assert (chosen, finding.code) == (AGATSTON, "SPECTRAL")
    assert "--kev" in finding.message
