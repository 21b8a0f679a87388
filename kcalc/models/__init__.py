"""Published architectures: each function returns a functional ``keras.Model``."""

from kcalc.models.dense_ra_unet import dense_ra_unet
from kcalc.models.planar_unet import planar_unet, planar_unet_halo_zyx
from kcalc.models.residual_dropout_fcn import residual_dropout_fcn
from kcalc.models.residual_dropout_plan import output_windows

__all__ = [
    "dense_ra_unet",
    "output_windows",
    "planar_unet",
    "planar_unet_halo_zyx",
    "residual_dropout_fcn",
]
