"""Export: a trained Keras model enters, a SavedModel that TensorFlow serves leaves."""

from kcalc.export.saved_model import export_saved_model, save_keras_model

__all__ = ["export_saved_model", "save_keras_model"]
