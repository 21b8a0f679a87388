"""Distance to bone: a scan and its labelled calcium enter, millimetres leave.

Bone is estimated, for no label tells it: voxels of at least 130 HU that the reference
does not mark, in 6-connected components of at least 500 mm3. Noise and what a reader
left unmarked of a lesion stay below that volume, a skull or a rib does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.hounsfield import AGATSTON_THRESHOLD_HU

MIN_BONE_MM3 = 500.0


class BoneDistance:
    """Distances of voxels to the nearest bone of one scan.

    Args:
        image_hu: The scan in HU, (z, y, x).
        reference: Calcium that a reader marked, bool (z, y, x); it is no bone.
        spacing_mm: Distance of voxels in mm, (z, y, x).
        threshold_hu: Least value of bone.
        min_bone_mm3: Least volume of a component to be bone.

    Example:
        >>> scan = np.zeros((1, 1, 600), np.int16)
        >>> scan[..., :500] = 300
        >>> bone = BoneDistance(scan, np.zeros(scan.shape, bool), (1.0, 1.0, 1.0))
        >>> bone.mm(np.array([[0, 0, 499], [0, 0, 500], [0, 0, 510]])).tolist()
        [0.0, 1.0, 11.0]
    """

    def __init__(
        self,
        image_hu: npt.NDArray[Any],
        reference: npt.NDArray[np.bool_],
        spacing_mm: tuple[float, float, float],
        *,
        threshold_hu: float = AGATSTON_THRESHOLD_HU,
        min_bone_mm3: float = MIN_BONE_MM3,
    ) -> None:
        from scipy.ndimage import binary_erosion, label
        from scipy.spatial import cKDTree

        numbers, count = label((image_hu >= threshold_hu) & ~reference)
        # Slice by slice, for bincount takes a copy of 8 bytes a voxel.
        sizes = sum(
            np.bincount(plane.ravel(), minlength=count + 1) for plane in numbers
        )
        large = np.asarray(sizes * float(np.prod(spacing_mm)) >= min_bone_mm3)
        large[0] = False
        self.mask: npt.NDArray[np.bool_] = large[numbers]
        self._spacing = np.array(spacing_mm)
        # Of the bone, only voxels with a neighbour outside can be nearest to one.
        surface = np.argwhere(self.mask & ~binary_erosion(self.mask))
        self._tree = cKDTree(surface * self._spacing) if len(surface) else None

    @property
    def found(self) -> bool:
        """Whether the scan has any bone."""
        return self._tree is not None

    def mm(self, index_zyx: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the distance of voxels (n, 3) to the nearest bone voxel in mm.

        Distances run between voxel centres: 0 in bone, one spacing beside it, and
        infinity in a scan without bone.
        """
        if self._tree is None:
            return np.full(len(index_zyx), np.inf)
        distance, _ = self._tree.query(index_zyx * self._spacing)
        return np.where(self.mask[tuple(index_zyx.T)], 0.0, distance)
