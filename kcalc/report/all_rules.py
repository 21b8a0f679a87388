"""One scan under every rule as a table: a record enters, text or HTML leaves."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_COLUMNS = (
    ("agatston", "Agatston", 1),
    ("volume_mm3", "Volume, mm³", 1),
    ("mass_mg", "Mass, mg", 2),
    ("num_lesions", "Lesions", 0),
    ("risk_category", "Risk category", None),
)


def all_rules_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the table in lines of text, none where only one rule was asked for.

    Args:
        record: What ``score.json`` holds.
    """
    rows = record["all_rules"]
    if rows is None:
        return []
    head = "".join(f"{title:>15}" for _, title, _ in _COLUMNS)
    lines = ["", f"{'Rule':<18}{head}"]
    for row in rows:
        if row["applicable"]:
            cells = "".join(f"{cell:>15}" for cell in _cells(row))
            marks = _codes(row)
            lines.append(f"{row['rule']:<18}{cells}{'  ' + marks if marks else ''}")
        else:
            lines.append(f"{row['rule']:<18} not applicable: {row['reason']}")
    return [*lines, _range(record), ""]


def all_rules_section(record: Mapping[str, Any]) -> str:
    """Return the table as a section of the HTML report, empty for one rule.

    Args:
        record: What ``score.json`` holds.
    """
    rows = record["all_rules"]
    if rows is None:
        return ""
    head = "".join(
        f'<th class="number">{escape(title)}</th>' for _, title, _ in _COLUMNS
    )
    body = "".join(_html_row(row) for row in rows)
    remarks = "".join(
        f"<p><b>{escape(row['rule'])}</b>: {escape(row['description'])} "
        f"{escape(row['remarks'])} Source: {escape(row['source'])}."
        f"{_html_warnings(row)}</p>"
        for row in rows
    )
    return (
        "<section><h2>The same mask under every rule</h2>"
        f'<p>{escape(_range(record))} <span class="note">Score, lesions and pictures '
        f"of this report are those of {escape(record['rule']['name'])}.</span>"
        f'</p><div class="scroll"><table><thead><tr><th>Rule</th>{head}<th></th></tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
        f"<details><summary>What each rule says, and what it keeps of its origin"
        f"</summary>{remarks}</details></section>"
    )


def _html_row(row: Mapping[str, Any]) -> str:
    name = f"<td>{escape(row['rule'])}</td>"
    if not row["applicable"]:
        return (
            f'<tr>{name}<td colspan="{len(_COLUMNS) + 1}" style="white-space: normal">'
            f"not applicable: {escape(row['reason'])}</td></tr>"
        )
    cells = "".join(f'<td class="number">{escape(cell)}</td>' for cell in _cells(row))
    return f'<tr>{name}{cells}<td class="note">{escape(_codes(row))}</td></tr>'


def _html_warnings(row: Mapping[str, Any]) -> str:
    return "".join(f" <b>{escape(warning)}</b>" for warning in row["warnings"])


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = []
    for key, _, decimals in _COLUMNS:
        value = row[key]
        if value is None:
            cells.append("–")
        else:
            cells.append(value if decimals is None else f"{value:.{decimals}f}")
    return cells


def _codes(row: Mapping[str, Any]) -> str:
    """Return the codes of the row's warnings; their words stand in score.json."""
    return " ".join(warning.partition(":")[0] for warning in row["warnings"])


def _range(record: Mapping[str, Any]) -> str:
    rows = record["all_rules"]
    applicable = [row for row in rows if row["applicable"]]
    of_region = [row for row in applicable if "MASK_REGION" in _codes(row)]
    scores = [row["agatston"] for row in applicable if row not in of_region]
    text = (
        f"{len(scores)} rules give an Agatston score from {min(scores):.1f} to "
        f"{max(scores):.1f} for the same mask"
    )
    if of_region:
        text += f"; {len(of_region)} take the mask for calcium, which it is not"
    if len(rows) > len(applicable):
        text += f"; {len(rows) - len(applicable)} do not apply"
    return f"{text}."
