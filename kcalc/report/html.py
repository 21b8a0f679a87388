"""The HTML report of one scan: a record and pictures enter, one document leaves.

The document loads nothing and runs no script. Every text that came from a file is
escaped; patient data never enter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kcalc.report.all_rules import all_rules_section
from kcalc.report.figures import WINDOW_LEVEL_HU, WINDOW_WIDTH_HU
from kcalc.report.pictures import Picture
from kcalc.report.registration import network_grid_words, registration_section
from kcalc.report.style import STYLE
from kcalc.report.summary import further_numbers
from kcalc.report.table import LESION_COLUMNS


def render_html(
    record: Mapping[str, Any],
    pictures: Sequence[Picture],
    *,
    num_left_out: int = 0,
    registration: Sequence[str] = (),
) -> str:
    """Return the report as a self-contained HTML document.

    Args:
        record: What ``score.json`` holds (:func:`kcalc.report.score_record`).
        pictures: Slices with lesions, in slice order.
        num_left_out: Slices with lesions that are not shown.
        registration: Pictures of a registered head
            (:func:`kcalc.report.registration.registration_pictures`).
    """
    sections = (
        _header(record),
        _tiles(record),
        _paragraph(record),
        _further(record),
        _findings(record["findings"]),
        _rule(record),
        all_rules_section(record),
        registration_section(record, registration),
        _pictures(record, pictures, num_left_out),
        _lesions(record),
        _scan(record),
        _footer(record),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src '
        "'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>Calcium score report</title>\n<style>{STYLE}</style>\n"
        "</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(record: Mapping[str, Any]) -> str:
    return (
        f"<header><h1>{escape(record['target']['title'])}: report</h1>"
        f'<p class="subtitle">Mask: {escape(_mask_words(record))}. '
        f"Rule: {escape(record['rule']['name'])}. "
        f"kcalc {escape(record['versions']['kcalc'])}.</p></header>"
        f'<p class="notice"><b>{escape(record["notice"])}</b></p>'
    )


def _mask_words(record: Mapping[str, Any]) -> str:
    model = record["model"]
    if model is None:
        return "given by the reader"
    return f"found by {model['name']}, version {model['version']}"


def _tiles(record: Mapping[str, Any]) -> str:
    mass_mg = record["mass_mg"]
    volume = f"{record['volume_mm3']:.1f}"
    if record["agatston"] is None:
        tiles = [_tile("Volume", volume, f"mm³, {_count(record)}", "main")]
    else:
        score = f"{record['agatston']:.1f}"
        tiles = [_tile("Agatston score", score, _count(record), "main")]
    grid = record["network_grid"]
    if grid is not None:
        tiles[0] = _tile(
            "Volume, scan's grid", volume, f"mm³, {_count(record)}", "main"
        )
        words = f"mm³ on {network_grid_words(record)}"
        tiles.append(
            _tile("Volume, network's grid", f"{grid['volume_mm3']:.1f}", words)
        )
    if record["risk_category"] is not None:
        standing = (
            "non-standard acquisition"
            if record["non_standard_acquisition"]
            else "of the coronary Agatston score"
        )
        tiles += [
            _tile("Risk category", record["risk_category"], standing),
            _tile("CAC-DRS", record["cac_drs"], _vessel_words(record)),
        ]
    if record["agatston"] is not None:
        tiles.append(_tile("Volume", volume, "mm³"))
    tiles.append(
        _tile("Mass", f"{mass_mg:.2f}", "mg hydroxyapatite")
        if mass_mg is not None
        else _tile("Mass", "not given", "no mass calibration was given", "", "words")
    )
    return f'<section class="tiles">{"".join(tiles)}</section>'


def _tile(
    name: str, value: str, unit: str, style: str = "", value_style: str = ""
) -> str:
    return (
        f'<div class="tile {style}"><div class="name">{escape(name)}</div>'
        f'<div class="value {value_style}">{escape(value)}</div>'
        f'<div class="unit">{escape(unit)}</div></div>'
    )


def _count(record: Mapping[str, Any]) -> str:
    count = record["num_lesions"]
    slices = len({lesion["slice_index"] for lesion in record["lesions"]})
    return (
        f"{count} lesion{'' if count == 1 else 's'} in "
        f"{slices} slice{'' if slices == 1 else 's'}"
    )


def _vessel_words(record: Mapping[str, Any]) -> str:
    unknown = record["cac_drs"].endswith("N?")
    return "A: score; N: unknown" if unknown else "A: score, N: vessels"


def _paragraph(record: Mapping[str, Any]) -> str:
    return (
        '<section><h2>Finding to copy</h2><p class="copy">'
        f"{escape(record['finding_text'])}</p></section>"
    )


def _further(record: Mapping[str, Any]) -> str:
    rows = [(n, text.replace("mm3", "mm³")) for n, text in further_numbers(record)]
    source = record["vessel_map"] or {}
    if "max_distance_mm" in source:
        rows.append(("Vessels", f"nearest within {source['max_distance_mm']:g} mm"))
    for name, total in (record["per_vessel"] or {}).items():
        score = total["agatston"]
        agatston = "" if score is None else f"Agatston {score:.1f}, "
        mass = "" if total["mass_mg"] is None else f", {total['mass_mg']:.2f} mg"
        count = total["num_lesions"]
        lesions = f"{count} lesion{'' if count == 1 else 's'}"
        volume = f"{total['volume_mm3']:.1f} mm³"
        rows.append((name, f"{agatston}{volume}{mass}, {lesions}"))
    note = record["target"]["note"]
    remark = f'<p class="note">{escape(note)}</p>' if note else ""
    if not rows and not note:
        return ""
    half = (len(rows) + 1) // 2
    return (
        f'<section><h2>Further numbers</h2>{remark}<div class="facts">'
        f"{_facts(rows[:half])}{_facts(rows[half:])}</div></section>"
    )


def _findings(findings: Sequence[Mapping[str, str]]) -> str:
    if not findings:
        body = '<p class="note">None: nothing was corrected and nothing stands out.</p>'
    else:
        body = "".join(
            f'<div class="finding {escape(finding["kind"])}">'
            f"<code>{escape(finding['code'])}</code> {escape(finding['kind'])}: "
            f"{escape(finding['message'])}</div>"
            for finding in findings
        )
    return f"<section><h2>Findings about the scan</h2>{body}</section>"


def _rule(record: Mapping[str, Any]) -> str:
    rule = record["rule"]
    return (
        f"<section><h2>How the score was made</h2><p>{escape(rule['description'])}</p>"
        f'<p class="note">Rule <b>{escape(rule["name"])}</b>: '
        f"{escape(rule['source'])}. {escape(rule['remarks'])}</p></section>"
    )


def _pictures(
    record: Mapping[str, Any], pictures: Sequence[Picture], num_left_out: int
) -> str:
    title = "<h2>Slices with lesions</h2>"
    if not pictures:
        voxels = record["mask"]["voxels"]
        calcium = record["mask"]["calcium_voxels"]
        return (
            f"<section>{title}<p>No lesion was counted. The mask holds {voxels} "
            f"voxels, of which {calcium} reach the threshold; none of them forms a "
            "lesion under the rule above.</p></section>"
        )
    left_out = (
        f"<p><b>{num_left_out} more slices with lesions are not shown</b>, those that "
        "add least to the score; the table below lists all lesions.</p>"
        if num_left_out
        else ""
    )
    dropped = (
        '<span><i class="key dropped"></i>calcium of the mask that the rule '
        "leaves out</span>"
        if record["mask"]["calcium_voxels"] > record["mask"]["scored_voxels"]
        else ""
    )
    return (
        f"<section>{title}<p>Patient's left at image right. Window: level "
        f"{WINDOW_LEVEL_HU:.0f} HU, width {WINDOW_WIDTH_HU:.0f} HU. Outlines run along "
        "pixel borders; numbers are those of the table below.</p>"
        f'{left_out}<div class="switch"><label><input type="checkbox" id="outlines" '
        'checked> Show outlines</label><span><i class="key"></i>lesion of the '
        f'score</span>{dropped}</div><div class="pictures">'
        + "".join(_figure(picture, record) for picture in pictures)
        + "</div></section>"
    )


def _figure(picture: Picture, record: Mapping[str, Any]) -> str:
    lesions = record["lesions"]
    numbers = ", ".join(
        f"{number} ({lesions[number - 1]['vessel']})"
        if lesions[number - 1]["vessel"]
        else str(number)
        for number in picture.lesion_numbers[:20]
    )
    more = len(picture.lesion_numbers) - 20
    word = "lesion" if len(picture.lesion_numbers) == 1 else "lesions"
    return (
        f'<figure id="slice-{picture.slice_index}"><div class="pair" '
        f'style="grid-template-columns: {picture.whole_aspect:.4f}fr 1fr">'
        f"{picture.whole_svg}{picture.zoom_svg}</div><figcaption>"
        f"<b>z = {picture.position_mm:+.1f} mm</b> · slice index "
        f"{picture.slice_index} of 0–{record['shape_zyx'][0] - 1} · "
        f"{_slice_score(picture)}{word} "
        f"{numbers}{f' and {more} more' if more > 0 else ''} · "
        f"level {WINDOW_LEVEL_HU:.0f}, width {WINDOW_WIDTH_HU:.0f} HU"
        "</figcaption></figure>"
    )


def _slice_score(picture: Picture) -> str:
    return "" if picture.agatston is None else f"Agatston {picture.agatston:.1f} · "


def _lesions(record: Mapping[str, Any]) -> str:
    if not record["lesions"]:
        return ""
    columns = [
        column
        for column in LESION_COLUMNS
        if column.in_report
        and any(column.value(lesion) is not None for lesion in record["lesions"])
    ]
    head = "".join(
        f"<th{_number_class(column.decimals)}>{escape(column.title)}</th>"
        for column in columns
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_number_class(column.decimals)}>{escape(column.text(lesion))}</td>"
            for column in columns
        )
        + "</tr>"
        for lesion in record["lesions"]
    )
    foot = "".join(
        f"<td{_number_class(column.decimals)}>"
        f"{'Total' if place == 0 else _total(record, column.key, column.decimals)}</td>"
        for place, column in enumerate(columns)
    )
    return (
        f'<section><h2>Lesions</h2><div class="scroll"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{rows}</tbody><tfoot><tr>{foot}</tr></tfoot></table></div>"
        "</section>"
    )


def _number_class(decimals: int | None) -> str:
    return "" if decimals is None else ' class="number"'


def _total(record: Mapping[str, Any], key: str, decimals: int | None) -> str:
    if key not in ("agatston", "volume_mm3", "mass_mg") or record[key] is None:
        return ""
    return f"{record[key]:.{decimals or 0}f}"


def _scan(record: Mapping[str, Any]) -> str:
    spacing_mm, shape = record["spacing_mm"], record["shape_zyx"]
    facts = record["acquisition"]
    voltage, thickness = facts["tube_voltage_kvp"], facts["slice_thickness_mm"]
    scanner = " ".join(
        str(facts[name])
        for name in ("manufacturer", "manufacturer_model_name")
        if facts[name]
    )
    grid = record.get("grid")
    left = (
        ("Score taken on", None if grid is None else grid["description"]),
        ("Modality", facts["modality"]),
        ("Scanner", scanner),
        ("Tube voltage", None if voltage is None else f"{voltage:g} kVp"),
        ("Convolution kernel", facts["convolution_kernel"]),
    )
    right = (
        ("Slices × rows × columns", " × ".join(str(n) for n in shape)),
        ("Slice spacing", f"{spacing_mm[0]:.3f} mm"),
        ("Slice thickness", None if thickness is None else f"{thickness:g} mm"),
        ("Pixel (rows × columns)", f"{spacing_mm[1]:.4f} × {spacing_mm[2]:.4f} mm"),
    )
    return (
        '<section><h2>The scan</h2><div class="facts">'
        f"{_facts(left)}{_facts(right)}</div></section>"
    )


def _facts(rows: Sequence[tuple[str, str | None]]) -> str:
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value or 'not stated')}</td></tr>"
        for name, value in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _footer(record: Mapping[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in record["versions"].items()
    )
    model = record["model"]
    trained = f" {model['trained_on']}" if model and model.get("trained_on") else ""
    return (
        f"<footer><p>{escape(record['notice'])}{escape(trained)}</p>"
        f"<p>{escape(versions)}. Voxels sha256 "
        f"{escape(record['input']['voxels_sha256'][:16])}…</p></footer>"
    )
