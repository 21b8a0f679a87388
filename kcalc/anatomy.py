"""Vessels and structures as pure data: label number, name, SNOMED CT code.

Label maps of kcalc use these numbers; 0 is background. Codes: digest E.8, taken
from DICOM PS3.16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Structure:
    """One labelled structure: its number in label maps, its name and SCT code."""

    label: int
    name: str
    sct_code: str


CORONARY_VESSELS: tuple[Structure, ...] = (
    Structure(1, "LM", "3227004"),
    Structure(2, "LAD", "59438005"),
    Structure(3, "LCX", "57396003"),
    Structure(4, "RCA", "13647002"),
)
"""The four coronary territories, in the order CAC-DRS counts them."""

OTHER_STRUCTURES: tuple[Structure, ...] = (
    Structure(5, "aorta", "15825003"),
    Structure(6, "aortic valve", "34202007"),
    Structure(7, "mitral annulus", "65197004"),
)
"""What lies beside the coronary arteries and calcifies too; no part of a CAC score."""

UNDETERMINED_LABEL = 8
"""Label of calcium whose vessel nobody named, such as label 4 of orCaScore."""

INSERT_LABEL = 9
"""Label of a calcification insert in a physical phantom: calcium without a vessel."""

INTRACRANIAL_CAROTIDS: tuple[Structure, ...] = (
    Structure(10, "right ICA", "86117002"),
    Structure(11, "left ICA", "86117002"),
)
"""Internal carotid arteries from the petrous part to the circle of Willis. The code is
that of the artery of either side; the name says which."""

NOT_CORONARY: tuple[Structure, ...] = (*OTHER_STRUCTURES, *INTRACRANIAL_CAROTIDS)
"""What has a label and is no part of a CAC score."""

LABEL_NAMES: Mapping[int, str | None] = {
    **{part.label: part.name for part in (*CORONARY_VESSELS, *NOT_CORONARY)},
    UNDETERMINED_LABEL: None,
    INSERT_LABEL: None,
}
"""Every number of a label map; None where it names no vessel and no structure."""
