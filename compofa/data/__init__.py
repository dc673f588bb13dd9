"""Data sets: images that come out at any resolution, by name (`glyphs`, `digits`, `imagefolder:PATH`,
`webdataset:PATTERN`)."""

from compofa.data.arrays import ArrayData
from compofa.data.augmentation import Augmentation, Augmenter
from compofa.data.base import ImageData, Pixels, class_differences
from compofa.data.folder import FolderData
from compofa.data.names import absolute_name, is_there, load_data

__all__ = [
    "ArrayData",
    "Augmentation",
    "Augmenter",
    "FolderData",
    "ImageData",
    "Pixels",
    "absolute_name",
    "class_differences",
    "is_there",
    "load_data",
]
