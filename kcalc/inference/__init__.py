"""Inference: a Volume and a model enter, a mask on the volume's grid leaves."""

from kcalc.inference.general import segment_volume
from kcalc.inference.loading import load_model
from kcalc.inference.opening import Network, open_network
from kcalc.inference.predictor import Prediction, predict
from kcalc.inference.same_tiling import predict_tiled, same_tiles
from kcalc.inference.tiling import predict_averaged, predict_exact
from kcalc.inference.valid_network import residual_dropout_geometry, valid_run
from kcalc.preparation import ValidGeometry

__all__ = [
    "Network",
    "Prediction",
    "ValidGeometry",
    "load_model",
    "open_network",
    "predict",
    "predict_averaged",
    "predict_exact",
    "predict_tiled",
    "residual_dropout_geometry",
    "same_tiles",
    "segment_volume",
    "valid_run",
]
