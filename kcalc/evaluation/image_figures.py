"""Rows of images enter, the figures of a whole test set and their text leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.evaluation.agreement import bland_altman, icc
from kcalc.evaluation.checks import defined
from kcalc.evaluation.detection import detection_figures, missed_lesions
from kcalc.evaluation.histogram import NUM_BINS, equal_bins
from kcalc.evaluation.images import ImageAgreement, one_row_a_case
from kcalc.evaluation.markdown import (
    NO_VALUE,
    markdown_table,
    number,
    percent,
    percents,
    span,
)
from kcalc.evaluation.overlap import dice_figures


def agreement_figures(
    rows: Iterable[ImageAgreement], *, seed: int = 0
) -> dict[str, Any]:
    """Return everything that a table of an evaluation needs, as plain values for JSON.

    Args:
        rows: One an image, at least one; an iterator is read once.
        seed: Seed of the bootstrap.

    Returns:
        ``images``, ``patients``; ``dice`` (:func:`dice_figures` of all images) and
        ``dice_with_reference`` (of the images whose reference is not empty; None where
        all are); ``volume`` (:func:`number_agreement` in mm3, with ``histogram``,
        None below ten images); ``detection`` (:func:`detection_figures`); ``missed``
        (:func:`missed_lesions`); ``vessels``, Dice and volume agreement by vessel,
        None unless every row has vessels; ``rows``.

    Raises:
        ValueError: There is no image, or one stands twice.
    """
    kept = one_row_a_case(rows)
    filled = [row for row in kept if row.voxels_reference]
    reference = [row.volume_reference_mm3 for row in kept]
    result = [row.volume_result_mm3 for row in kept]
    bins = defined(lambda: equal_bins(reference, result, NUM_BINS))
    return {
        "images": len(kept),
        "patients": len({row.patient for row in kept}),
        "dice": dice_figures(kept, seed=seed),
        "dice_with_reference": dice_figures(filled, seed=seed) if filled else None,
        "volume": {
            **number_agreement(reference, result),
            "histogram": None if bins is None else bins.to_dict(),
        },
        "detection": detection_figures(kept, seed=seed),
        "missed": missed_lesions(kept),
        "vessels": _vessel_figures(kept),
        "rows": [row.to_dict() for row in kept],
    }


def number_agreement(
    reference: npt.ArrayLike, result: npt.ArrayLike
) -> dict[str, dict[str, Any] | None]:
    """Return ICC(2,1), ICC(3,1) and Bland-Altman of a number at least 0.

    Args:
        reference: Value of each image by the reference.
        result: Value of the same images by the result.

    Returns:
        ``icc_2_1``, ``icc_3_1``, ``bland_altman`` and ``bland_altman_log1p``, each
        with its 95 % interval; None where it has no value, as for one image, or an ICC
        where all images are alike.
    """
    ratings = np.column_stack(
        (np.asarray(reference, np.float64), np.asarray(result, np.float64))
    )
    statistics = {
        "icc_2_1": defined(lambda: icc(ratings, "2,1")),
        "icc_3_1": defined(lambda: icc(ratings, "3,1")),
        "bland_altman": defined(lambda: bland_altman(reference, result)),
        "bland_altman_log1p": defined(
            lambda: bland_altman(reference, result, scale="log1p")
        ),
    }
    return {
        name: None if value is None else value.to_dict()
        for name, value in statistics.items()
    }


def agreement_text(figures: Mapping[str, Any]) -> str:
    """Return the tables of :func:`agreement_figures` in Markdown."""
    parts = [_dice_text(figures)]
    parts += ["Volumes, result against reference:", number_text(figures["volume"])]
    parts += ["Detection by lesion:", _detection_text(figures["detection"])]
    parts += ["Missed lesions:", _missed_text(figures["missed"])]
    if figures["vessels"]:
        parts += ["By vessel:", _vessel_text(figures["vessels"])]
    return "\n\n".join(parts)


def number_text(figures: Mapping[str, Any], unit: str = "mm3") -> str:
    """Return the table of :func:`number_agreement` in Markdown."""
    rows = []
    for variant in ("2_1", "3_1"):
        one = figures[f"icc_{variant}"]
        rows.append(
            {
                "statistic": f"ICC({variant.replace('_', ',')})",
                "value": number(one and one["value"], 3),
                "95 % interval": span(one and (one["low"], one["high"]), 3),
            }
        )
    limits = figures["bland_altman"]
    for name, title in (
        ("bias", "bias"),
        ("low", "lower limit of agreement"),
        ("high", "upper limit of agreement"),
    ):
        rows.append(
            {
                "statistic": f"{title}, {unit}",
                "value": number(limits and limits[name], 1),
                "95 % interval": span(limits and limits[f"{name}_interval"], 1),
            }
        )
    ratio = figures["bland_altman_log1p"]
    for name, title in (("ratio", "ratio"), ("ratio_limits", "limits of the ratio")):
        value = ratio and ratio[name]
        rows.append(
            {
                "statistic": f"{title} of ({unit} + 1), result to reference",
                "value": number(value, 3) if name == "ratio" else span(value, 3),
                "95 % interval": span(ratio and ratio["ratio_interval"], 3)
                if name == "ratio"
                else NO_VALUE,
            }
        )
    return markdown_table(rows)


def _dice_text(figures: Mapping[str, Any]) -> str:
    sets = {"all images": figures["dice"]}
    if figures["dice_with_reference"]:
        sets["reference not empty"] = figures["dice_with_reference"]
    rows = []
    for name, one in sets.items():
        quarters = one["by_quarter"] or {}
        rows.append(
            {
                "Dice, %": name,
                "images": one["images"],
                "pooled": _with_interval(one, "pooled"),
                "mean": _with_interval(one, "mean"),
                "SD": percent(one["sd"]),
                **{
                    f"quarter {place}": percent(quarters[place]["mean_dice"])
                    if place in quarters
                    else NO_VALUE
                    for place in "1234"
                },
            }
        )
    dice = figures["dice"]
    return (
        f"{markdown_table(rows)}\n\nQuarters by rising reference volume. "
        f"{dice['empty_references']} images have an empty reference: the "
        f"{dice['of_these_empty_results']} with an empty result count 1, the others 0."
    )


def _detection_text(figures: Mapping[str, Any]) -> str:
    rows = [
        {
            "by": "lesion",
            "reference": figures["lesions"],
            "result": figures["result_lesions"],
            "sensitivity, %": _with_interval(figures, "sensitivity"),
            "PPV, %": _with_interval(figures, "ppv"),
            "false an image": f"{figures['false_lesions_per_image']:.2f} lesions",
        },
        {
            "by": "volume",
            "reference": "",
            "result": "",
            "sensitivity, %": _with_interval(figures, "volume_sensitivity"),
            "PPV, %": _with_interval(figures, "volume_ppv"),
            "false an image": f"{figures['false_mm3_per_image']:.1f} mm3",
        },
    ]
    return markdown_table(rows)


def _missed_text(missed: Mapping[str, Any]) -> str:
    titles = {
        "by_volume_mm3": "volume, mm3",
        "by_peak_hu": "peak, HU",
        "by_bone_mm": "to bone, mm",
    }
    rows = [
        {
            "class": f"{title}: {_class(one)}",
            "lesions": one["lesions"],
            "missed": one["missed"],
            "missed, %": percent(one["missed_share"]),
        }
        for name, title in titles.items()
        for one in missed[name]
    ]
    hard = missed["small_or_faint"][0]
    rows.append(
        {
            "class": "smallest or faintest class",
            "lesions": hard["lesions"],
            "missed": hard["missed"],
            "missed, %": percent(hard["missed_share"]),
        }
    )
    text = markdown_table(rows)
    if hard["share_of_missed"] is None:
        return f"{text}\n\nNo lesion was missed."
    share = percent(hard["share_of_missed"])
    return f"{text}\n\nOf all missed lesions {share} % are in the last class."


def _class(one: Mapping[str, Any]) -> str:
    if one["to"] is None:
        return f">= {one['from']:g}"
    if not one["from"]:
        return f"< {one['to']:g}"
    return f"{one['from']:g} to < {one['to']:g}"


def _vessel_figures(rows: Sequence[ImageAgreement]) -> dict[str, Any] | None:
    maps = [row.vessels for row in rows if row.vessels is not None]
    if len(maps) < len(rows):
        return None
    names = list(dict.fromkeys(name for one in maps for name in one))
    figures = {}
    for name in names:
        counts = [
            (one.voxels_reference, one.voxels_result, one.voxels_both)
            if (one := found.get(name))
            else (0, 0, 0)
            for found in maps
        ]
        sums = np.array(counts).sum(axis=0)
        sizes = [row.voxel_mm3 for row in rows]
        volumes = [
            [size * count[side] for size, count in zip(sizes, counts, strict=True)]
            for side in (0, 1)
        ]
        figures[name] = {
            "images": sum(count[0] > 0 for count in counts),
            "pooled_dice": float(2 * sums[2] / (sums[0] + sums[1]))
            if sums[0] + sums[1]
            else None,
            "volume_reference_mm3": float(sum(volumes[0])),
            "volume_result_mm3": float(sum(volumes[1])),
            **number_agreement(*volumes),
        }
    return figures


def _vessel_text(vessels: Mapping[str, Any]) -> str:
    return markdown_table(
        [
            {
                "vessel": name,
                "images with it": one["images"],
                "pooled Dice, %": percent(one["pooled_dice"]),
                "reference, mm3": number(one["volume_reference_mm3"], 1),
                "result, mm3": number(one["volume_result_mm3"], 1),
                "ICC(2,1)": number(one["icc_2_1"] and one["icc_2_1"]["value"], 3),
            }
            for name, one in vessels.items()
        ]
    )


def _with_interval(figures: Mapping[str, Any], name: str) -> str:
    value, interval = percent(figures[name]), figures[f"{name}_interval"]
    return value if interval is None else f"{value} ({percents(interval)})"
