# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The shipped model with TensorFlow alone
#
# A version folder below `saved_models/` is a plain SavedModel. This notebook loads one
# without importing kcalc or Keras, as a server or a colleague's pipeline would, and
# finds the calcium in a scan. **Research use only; not for diagnosis.** The model was
# trained on simulated scans alone, and the scan here is simulated too.
#
# It is the executed form of `savedmodel_with_tensorflow_alone.py`; `make notebook`
# makes it again. To look at another model, set `KCALC_NOTEBOOK_MODEL` to its folder.
#
# TensorFlow itself imports Keras where it is installed. So that nothing here can lean
# on Keras or kcalc, the first cell forbids this process to import them.

# %%
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.modules["keras"] = sys.modules["kcalc"] = None  # an import raises ImportError
import matplotlib.pyplot as plt
import nibabel
import numpy as np
import tensorflow as tf

NAME = "cac_dense_ra_unet_small"
checkout = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "kcalc").is_dir())
model_folder = Path(
    os.environ.get("KCALC_NOTEBOOK_MODEL", checkout / "saved_models" / NAME)
)
version = max(int(p.name) for p in model_folder.iterdir() if p.name.isdecimal())
print(model_folder.name, "version", version)

# %% [markdown]
# ## A scan
#
# The command line renders a scan of the QRM calcium phantom, nine small cylinders of
# hydroxyapatite in a plastic chest, and writes it as NIfTI. That is a process of its
# own: nothing of kcalc enters this one. In a terminal it reads
# `kcalc phantom qrm -o scan --nifti`.

# %%
with tempfile.TemporaryDirectory() as folder:
    command = ["phantom", "qrm", "-o", f"{folder}/scan", "--seed", "7", "--nifti"]
    subprocess.run(
        [sys.executable, "-m", "kcalc.cli", *command],
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    file = nibabel.load(f"{folder}/scan/scan.nii.gz")
    image = nibabel.Nifti1Image(np.asarray(file.dataobj), file.affine)
print("stored axes", nibabel.aff2axcodes(image.affine), image.shape)

# %% [markdown]
# ## The contract of its input
#
# The model takes Hounsfield units as int16 `hu[z, y, x]`:
#
# * slices run from caudal to cranial (towards the head, S),
# * rows towards the patient's back (posterior, P),
# * columns towards the patient's left (L).
#
# So `hu[0, 0, 0]` is the lowest, foremost, rightmost voxel. NIfTI stores `[x, y, z]`
# and says in its affine which way each axis runs. We turn the axes to L, P, S whatever
# they were and then reverse their order. Flips and permutations only: no resampling. A
# model cannot notice a mirrored patient; a scan in another order gives a wrong mask
# and no error.

# %%
to_lps = nibabel.orientations.ornt_transform(
    nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("LPS")
)
lps = image.as_reoriented(to_lps)
hu = np.ascontiguousarray(np.asarray(lps.dataobj).transpose(2, 1, 0), np.int16)
spacing_mm = np.array(lps.header.get_zooms()[::-1], np.float32)
print("hu", hu.shape, hu.dtype, "from", hu.min(), "to", hu.max(), "HU")
print("spacing", spacing_mm.round(3), "mm (z, y, x)")

# %% [markdown]
# ## The model
#
# `tf.saved_model.load` gives an object with two signatures: `serving_default`, from
# stacks of nine slices to probabilities, and `segment`, from a whole scan to its mask.
# Windowing, stacking, padding and the cut at 130 HU are in the graph.

# %%
model = tf.saved_model.load(str(model_folder / str(version)))
for name, signature in sorted(model.signatures.items()):
    takes = signature.structured_input_signature[1]
    gives = signature.structured_outputs
    print(name)
    for key, spec in [*sorted(takes.items()), *sorted(gives.items())]:
        print("   ", "in " if key in takes else "out", key, spec.dtype.name, spec.shape)

# %%
answer = model.signatures["segment"](
    hu=tf.constant(hu), spacing_mm=tf.constant(spacing_mm)
)
mask = answer["mask"].numpy()

in_mask = int(mask.sum())
slices = np.flatnonzero(mask.any(axis=(1, 2)))
voxel_mm3 = float(np.prod(spacing_mm.astype(float)))
print(in_mask, "voxels in", slices.size, "slices")
print(f"volume {in_mask * voxel_mm3:.1f} mm3, {voxel_mm3:.4f} mm3 a voxel")

# %% [markdown]
# This volume counts every voxel of the mask. It is no Agatston score and no
# `kcalc score` volume, which leave out lesions below a least area: a score comes with
# its rule.

# %%
areas = mask.sum(axis=(1, 2))
shown = np.sort(np.argsort(areas)[-3:])
rows, columns = np.nonzero(mask.any(axis=0)) if in_mask else np.indices(hu.shape[1:])
top, bottom = max(rows.min() - 40, 0), rows.max() + 40
left, right = max(columns.min() - 40, 0), columns.max() + 40
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), dpi=72, layout="constrained")
for axis, index in zip(axes, shown, strict=True):
    axis.imshow(hu[index, top:bottom, left:right], cmap="gray", vmin=-160, vmax=240)
    if areas[index]:
        axis.contour(mask[index, top:bottom, left:right], [0.5], colors="red")
    axis.set_title(f"slice {index}, {areas[index]} voxels", fontsize=10)
    axis.set_axis_off()
figure.suptitle("Window -160 to 240 HU, patient's right at the image's left")
plt.show()

# %% [markdown]
# ## What a bad scan gets
#
# An error, never an empty mask. Here the rescale was forgotten: stored values instead
# of Hounsfield units.

# %%
try:
    model.signatures["segment"](
        hu=tf.constant((hu.astype(int) + 2048).astype(np.int16)),
        spacing_mm=tf.constant(spacing_mm),
    )
except tf.errors.InvalidArgumentError as error:
    text = error.message
    print(text[text.index("hu must") : text.index(" Send hu")])

# %% [markdown]
# ## Why not `keras.models.load_model`
#
# Keras 3 reads `.keras` files. A SavedModel folder it refuses ("File format not
# supported"), since the folder holds a TensorFlow graph and not a description of
# layers: there is no Keras model in it to rebuild. `keras.layers.TFSMLayer` can wrap
# the folder as one layer for inference. To train on, build the network with
# `kcalc.models.dense_ra_unet` and load `model.weights.h5`, which lies beside the graph.
#
# Nothing here needed either:

# %%
for name in ("keras", "kcalc"):
    try:
        __import__(name)
        print(name, "was imported")
    except ImportError:
        print(name, "was not imported")
