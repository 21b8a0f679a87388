"""Published architectures: each function returns a functional ``keras.Model``."""

from kcalc.models.dense_ra_unet import dense_ra_unet

__all__ = ["dense_ra_unet"]
