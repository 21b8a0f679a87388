"""Inference: a Volume and a model enter, a mask on the volume's grid leaves."""

from kcalc.inference.loading import load_model
from kcalc.inference.opening import Network, open_network
from kcalc.inference.predictor import Prediction, predict

__all__ = ["Network", "Prediction", "load_model", "open_network", "predict"]
