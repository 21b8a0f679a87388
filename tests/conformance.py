"""Write docs/conformance.md: every rule on every vector, expected and got.

    python tests/conformance.py            # or: make conformance

Sections on the real scan need the test data (``KCALC_TEST_DATA``, default
``../shared/data``); without them their old text stays. Exits with 1 where a number
differs from what is expected.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from qrm_inserts import QrmScan, read_qrm
from reference_scorer import loop_score
from rule_properties import EXCEPTIONS, PROPERTIES
from scoring_vectors import VECTORS, Vector

from kcalc.errors import UnfitError
from kcalc.scoring import RULES, calcium_score, score_under_all_rules

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "conformance.md"
DEFAULT_DATA = ROOT.parent / "shared" / "data"
TOLERANCE = 1e-4
PUBLISHED_INSERTS = ("Large_HD", "Medium_HD", "Large_MD", "Small_MD", "Small_LD")

_HEAD = """# Conformance of the scoring rules

Made by `python tests/conformance.py` (`make conformance`); a test keeps it up to date.
What each rule is, and which faults of its origin it keeps: `kcalc score --rule all`
or `kcalc.scoring.RULES`. Volumes in mm3. Expected numbers are

- **published**: by the origin's own test suite, or for the real scan by FQM;
- **by hand**: worked out on paper from the origin's rule;
- **loop**: by the slow scorer of `tests/reference_scorer.py`, voxel by voxel, which
  shares no code with kcalc's.
"""


def sections(data: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield name and maker of every section that can be made."""
    for vector in VECTORS:
        yield f"vector {vector.name}", lambda vector=vector: _vector(vector)
    yield "properties", _properties
    if (data / "qrm-phantom").is_dir():
        scan = read_qrm(data)
        yield "published inserts", lambda: _published(scan)
        yield "real scan", lambda: _real(scan)


def expected_of(vector: Vector, name: str) -> tuple[str, float, float | None] | None:
    """Return (from, Agatston, volume) expected, None where the rule does not apply."""
    if name in vector.by_hand:
        numbers = vector.by_hand[name]
        return None if numbers is None else ("by hand", *numbers)
    if name in vector.published:
        return ("published", *vector.published[name])
    if _got(vector, name) is None:
        return None
    loop = loop_score(
        vector.scan,
        vector.where,
        vector.spacing_mm,
        RULES[name],
        kvp=vector.kvp,
        thickness_mm=vector.thickness_mm,
    )
    return ("loop", loop.agatston, loop.volume_mm3)


def _got(vector: Vector, name: str) -> tuple[float, float] | None:
    try:
        score = vector.score(name)
    except UnfitError:
        return None
    return score.agatston, score.volume_mm3


def _vector(vector: Vector) -> str:
    spacing = " x ".join(f"{s:g}" for s in vector.spacing_mm)
    lines = [
        f"## {vector.name}",
        "",
        f"{vector.words[0].upper()}{vector.words[1:]} (spacing z, y, x: {spacing} mm).",
        "",
        "| rule | Agatston expected | got | volume expected | got | expected from |",
        "|---|---|---|---|---|---|",
    ]
    for name in RULES:
        expected, got = expected_of(vector, name), _got(vector, name)
        if expected is None or got is None:
            known = "not applicable" if expected is None else "a number"
            made = "not applicable" if got is None else "a number"
            lines.append(f"| {name} | {known} | {_mark(made, made == known)} | | | |")
            continue
        source, agatston, volume = expected
        lines.append(
            f"| {name} | {agatston:.6g} | {_number(got[0], agatston)} | "
            f"{'' if volume is None else f'{volume:.6g}'} | "
            f"{_number(got[1], volume)} | {source} |"
        )
    return "\n".join(lines)


def _number(got: float, expected: float | None) -> str:
    fits = expected is None or abs(got - expected) <= TOLERANCE
    return _mark(f"{got:.6g}", fits)


def _mark(text: str, fits: bool) -> str:
    return text if fits else f"**differs: {text}**"


def _properties() -> str:
    lines = [
        "## Properties",
        "",
        "Each is tried on drawn scans for every preset (Hypothesis, "
        "`tests/test_scoring_properties.py`); for each exception a test shows a "
        "counterexample.",
        "",
        "| property | holds for | but not for |",
        "|---|---|---|",
    ]
    for name in PROPERTIES:
        but = [
            f"{preset}: {reason}"
            for (prop, preset), reason in EXCEPTIONS.items()
            if prop == name
        ]
        holds = len(RULES) - len(but)
        lines.append(f"| {name} | {holds} of {len(RULES)} | {'; '.join(but) or '-'} |")
    return "\n".join(lines)


def _published(scan: QrmScan) -> str:
    lines = [
        "## Published inserts of a real scan",
        "",
        "The scan of the QRM phantom of MolloiLab/CAC-stanford-data (MIT), five of its "
        "nine inserts, scored by FQM (van Praagh 2021, doi 10.1002/mp.14912); rule "
        "`fqm_canon`, within 1e-4.",
        "",
        "| insert | Agatston expected | got | volume expected | got | mg expected | "
        "got |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in PUBLISHED_INSERTS:
        insert = scan.reference["inserts"][name]
        score = calcium_score(
            scan.volume.array,
            scan.insert(name),
            scan.volume.spacing_mm,
            rule="fqm_canon",
            tube_voltage_kvp=120,
            mass_calibration=scan.calibration,
        )
        cells = []
        for key in ("agatston", "volume_mm3", "mass_mg"):
            got = float(getattr(score, key))
            fits = abs(got - insert[key]) <= TOLERANCE
            cells += [f"{insert[key]:.5f}", _mark(f"{got:.5f}", fits)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _real(scan: QrmScan) -> str:
    masks = (scan.nine_inserts(), scan.whole_insert())
    columns = [
        score_under_all_rules(
            scan.volume.array,
            mask,
            scan.volume.spacing_mm,
            tube_voltage_kvp=120,
            slice_thickness_mm=3.0,
        )
        for mask in masks
    ]
    inserts = [x.score.agatston for x in columns[0] if x.score]
    whole = {x.rule.name: x.score.agatston for x in columns[1] if x.score}
    with_threshold = {n: a for n, a in whole.items() if RULES[n].threshold_hu}
    pixel_mm2 = scan.volume.spacing_mm[1] * scan.volume.spacing_mm[2]
    lines = [
        "## One real scan under every rule",
        "",
        "The same scan; nothing is expected of single rules here. Nine inserts: the "
        "components >= 130 HU that touch their disks. Whole insert: a circle of 50 mm "
        "round the cylinders' centre in slices 21 to 27, noise and all; rules without "
        "a threshold (deepcac, ai_cac) take that circle for calcium.",
        "",
        "| rule | nine inserts | whole insert |",
        "|---|---|---|",
    ]
    for of_inserts, of_whole in zip(*columns, strict=True):
        if of_inserts.score is None or of_whole.score is None:
            continue
        lines.append(
            f"| {of_inserts.rule.name} | {of_inserts.score.agatston:.1f} | "
            f"{of_whole.score.agatston:.1f} |"
        )
    unscaled = columns[0][0].score
    points = 0.0 if unscaled is None else unscaled.agatston / pixel_mm2
    minimum = whole["fqm_siemens"] / whole["agatston_1990"] - 1
    low, high = min(with_threshold.values()), max(with_threshold.values())
    lines += [
        "",
        f"- Over the nine inserts the rules give {min(inserts):.1f} to "
        f"{max(inserts):.1f}; a survey of the public scorers had 951 to 1077.",
        f"- Over the whole insert those with a threshold give {low:.1f} to {high:.1f}; "
        "the minimum area alone (fqm_siemens against agatston_1990) moves it by "
        f"{minimum:.1%}; the survey had 982 to 1153, and 17 %. It does not state its "
        "region; slices and radius were chosen here.",
        f"- A scorer that forgets the pixel area would give {points:.0f} by "
        "agatston_1990 (weighted pixels); the survey had 4079, of another repository.",
    ]
    return "\n".join(lines)


def page(old: str, data: Path) -> str:
    """Return the page, keeping old sections that cannot be made."""
    made = {name: make() for name, make in sections(data)}
    kept = {name: text for name, text in parts(old).items() if name not in made}
    order = [*(f"vector {v.name}" for v in VECTORS), "published inserts", "real scan"]
    texts = {**kept, **made}
    body = [
        f"<!-- begin {name} -->\n{texts[name]}\n<!-- end {name} -->\n"
        for name in ("properties", *order)
        if name in texts
    ]
    return "\n".join([_HEAD, *body])


def parts(text: str) -> dict[str, str]:
    """Return the sections of a page by name."""
    found = re.findall(r"<!-- begin (.+?) -->\n(.*?)\n<!-- end \1 -->", text, re.DOTALL)
    return dict(found)


def main() -> int:
    """Write the page; 1 where something differs."""
    data = Path(os.environ.get("KCALC_TEST_DATA", DEFAULT_DATA))
    old = PAGE.read_text("utf-8") if PAGE.is_file() else ""
    text = page(old, data)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, "utf-8")
    differences = text.count("**differs")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {differences} differences\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
