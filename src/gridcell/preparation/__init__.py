"""Preparation: the fixed way from a raw item to the array that the network reads.

The same in training, evaluation and prediction; fitted on training rows alone; plain data in the
model file.
"""

from gridcell.preparation.fit import ImagePreparation, choose_size, fit_images

__all__ = ["ImagePreparation", "choose_size", "fit_images"]
