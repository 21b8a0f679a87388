"""Head CT into the standard pose: a scan enters, it leaves on the network's grid.

Rigid registration needs SimpleITK: ``pip install "kcalc[register]"``.
"""

from kcalc.registration.network_grid import (
    NETWORK_GRID,
    NetworkScan,
    network_grid,
    to_network_grid,
)
from kcalc.registration.pose import Pose
from kcalc.registration.reference import Reference, phantom_reference
from kcalc.registration.register import (
    Fit,
    given_reference,
    read_reference,
    register_head,
)

__all__ = [
    "NETWORK_GRID",
    "Fit",
    "NetworkScan",
    "Pose",
    "Reference",
    "given_reference",
    "network_grid",
    "phantom_reference",
    "read_reference",
    "register_head",
    "to_network_grid",
]
