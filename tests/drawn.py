"""Reads figures back: what was drawn, where, and which words stand in it."""

import re
from html import unescape
from xml.etree import ElementTree

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"


def frame(picture, number=0):
    return picture.figure.axes[number]


def line(axes, label):
    """The data of the line with this name in the legend."""
    return next(np.asarray(found.get_data()) for found in axes.lines if found.get_label() == label)


def bars(axes, label):
    """Counts and edges of the outline with this name in the legend."""
    found = next(patch for patch in axes.patches if patch.get_label() == label)
    return found.get_data().values, found.get_data().edges


def svg_texts(drawn):
    """Everything that stands as text in the file, which must be well-formed."""
    root = ElementTree.fromstring(drawn if isinstance(drawn, str) else drawn._repr_svg_())
    return [" ".join("".join(element.itertext()).split()) for element in root.iter(f"{SVG}text")]


def plain_svg(picture):
    return unescape(re.sub(r"<[^>]*>", " ", picture._repr_svg_()))
