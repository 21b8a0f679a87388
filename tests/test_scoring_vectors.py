"""Numbers of other people, numbers worked out by hand, and the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import conformance
import numpy as np
import pytest
from qrm_inserts import read_qrm
from reference_scorer import loop_score
from scoring_vectors import VECTORS

import kcalc
from kcalc.errors import UnfitError
from kcalc.scoring import RULES

EXPECTED = [
    pytest.param(vector, name, numbers, id=f"{vector.name}-{name}")
    for vector in VECTORS
    for name, numbers in (*vector.published.items(), *vector.by_hand.items())
]


@pytest.mark.parametrize(("vector", "name", "numbers"), EXPECTED)
def test_a_preset_gives_the_number_its_origin_gives(vector, name, numbers):
    if numbers is None:
        with pytest.raises(UnfitError, match=f"The rule {name} "):
            vector.score(name)
        return
    agatston, volume_mm3 = numbers
    assert vector.score(name).agatston == pytest.approx(agatston, abs=1e-6)
    if volume_mm3 is not None:
        assert vector.score(name).volume_mm3 == pytest.approx(volume_mm3, abs=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_every_preset_has_numbers_worked_out_by_hand(name):
    given = [v for v in VECTORS if v.by_hand.get(name) is not None]
    assert len(given) >= 3


def test_calciumscoring_jl_vector_has_its_mass_too():
    vector = next(v for v in VECTORS if v.name == "jl-1")
    score = kcalc.calcium_score(
        vector.scan,
        vector.where,
        vector.spacing_mm,
        rule="calciumscoring_jl",
        mass_calibration=0.75,  # 0.00075 mg/mm3/HU there
    )
    assert score.mass_mg == pytest.approx(0.6)


@pytest.mark.data
def test_vectors_are_those_of_the_test_data(test_data: Path):
    entries = json.loads((test_data / "scorer-vectors.json").read_text())["agatston"]
    vectors = {vector.name: vector for vector in VECTORS}
    assert {e["id"] for e in entries} <= set(vectors)
    for entry in entries:
        vector = vectors[entry["id"]]
        if entry["source"] == "jl":
            rows, columns, slices = entry["shape_rc_z"]
            scan = np.full((slices, rows, columns), entry["fill"])
            for block in entry["blocks"]:
                index = (slice(*block[axis]) for axis in ("z", "rows", "cols"))
                scan[tuple(index)] = block["hu"]
            expected = vector.published["calciumscoring_jl"]
            assert expected == (entry["agatston"], entry["volume_mm3"])
            scaled = entry["agatston_if_scaled_by_spacing_over_3"]
            assert vector.published["agatston_1990"][0] == scaled
        else:
            scan = np.full(entry["size_xyz"][::-1], entry["fill"])
            for x0, y0, z0, x1, y1, z1, hu in entry["blocks_xyz_inclusive"]:
                scan[z0 : z1 + 1, y0 : y1 + 1, x0 : x1 + 1] = hu
            assert vector.published["dicom_viewer"][0] == entry["agatston"]
        np.testing.assert_array_equal(scan, vector.scan)
        spacing = entry["spacing_mm"]  # (x, y, z), or rows, columns, slices
        assert vector.spacing_mm == (spacing[2], spacing[1], spacing[0])


# --- the real phantom scan


@pytest.fixture(scope="module")
def qrm(test_data: Path):
    """Return the real QRM scan."""
    if not (test_data / "qrm-phantom").is_dir():
        pytest.skip("qrm-phantom is absent")
    return read_qrm(test_data)


@pytest.mark.data
@pytest.mark.parametrize("name", conformance.PUBLISHED_INSERTS)
def test_published_insert_scores_are_matched(qrm, name):
    insert = qrm.reference["inserts"][name]
    score = kcalc.calcium_score(
        qrm.volume.array,
        qrm.insert(name),
        qrm.volume.spacing_mm,
        rule="fqm_canon",
        tube_voltage_kvp=120,
        mass_calibration=qrm.calibration,
    )
    assert score.agatston == pytest.approx(insert["agatston"], abs=1e-4)
    assert score.volume_mm3 == pytest.approx(insert["volume_mm3"], abs=1e-4)
    assert score.mass_mg == pytest.approx(insert["mass_mg"], abs=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("name", RULES)
def test_nine_inserts_score_what_the_rules_of_the_field_give(qrm, name):
    mask = qrm.nine_inserts()
    score = kcalc.calcium_score(
        qrm.volume.array,
        mask,
        qrm.volume.spacing_mm,
        rule=name,
        tube_voltage_kvp=120,
        slice_thickness_mm=3.0,
        mass_calibration=qrm.calibration,
    )
    assert 951 <= score.agatston <= 1077  # field.md, section 1
    near = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(mask))
    loop = loop_score(
        qrm.volume.array[near],
        mask[near],
        qrm.volume.spacing_mm,
        RULES[name],
        kvp=120,
        thickness_mm=3.0,
        calibration=qrm.calibration,
    )
    assert score.agatston == pytest.approx(loop.agatston)
    assert score.mass_mg == pytest.approx(loop.mass_mg)
    if name != "fqm_literature":  # its samples go on beyond the slices cut out here
        assert score.volume_mm3 == pytest.approx(loop.volume_mm3)


# --- the conformance page


def test_conformance_page_is_up_to_date_as_far_as_data_is_present():
    text = conformance.PAGE.read_text("utf-8")
    data = Path(conformance.os.environ.get("KCALC_TEST_DATA", conformance.DEFAULT_DATA))
    assert conformance.page(text, data) == text, "run python tests/conformance.py"
    assert "**differs" not in text


def test_conformance_page_marks_what_differs(monkeypatch):
    vector = next(v for v in VECTORS if v.name == "edges")
    assert "differs" not in conformance._vector(vector)
    monkeypatch.setitem(vector.by_hand, "tiger", (17.0, 27.0))
    monkeypatch.setitem(vector.by_hand, "lassoan", None)
    text = conformance._vector(vector)
    assert "| tiger | 17 | **differs: 16** | 27 | 27 | by hand |" in text
    assert "| lassoan | not applicable | **differs: a number** |" in text
