"""Building blocks of kcalc's networks: one registered Keras layer a file.

Feature maps go in and come out as (batch, y, x, channel), with z before y in 3-D.
"""

from kcalc.layers.batch_normalization import batch_normalization, norm_relu
from kcalc.layers.bilinear_doubling import BilinearDoubling
from kcalc.layers.dense_block import DenseBlock
from kcalc.layers.extra_dense_block import ExtraDenseBlock
from kcalc.layers.independent_initializer import independent_initializer
from kcalc.layers.pad_to_multiple import CropLike, PadToMultiple
from kcalc.layers.planar_conv_block import FULL, PLANAR, PlanarConvBlock
from kcalc.layers.residual_atrous_unit import ResidualAtrousUnit
from kcalc.layers.residual_dropout_block import ResidualDropoutBlock
from kcalc.layers.sc_se import ScSE

__all__ = [
    "FULL",
    "PLANAR",
    "BilinearDoubling",
    "CropLike",
    "DenseBlock",
    "ExtraDenseBlock",
    "PadToMultiple",
    "PlanarConvBlock",
    "ResidualAtrousUnit",
    "ResidualDropoutBlock",
    "ScSE",
    "batch_normalization",
    "independent_initializer",
    "norm_relu",
]
