"""Genomes: the coordinates of an expert in the bank, a few kilobytes of numpy arrays.

genome    Genome, NoiseField
geometry  Geometry: lengths and angles of task vectors, blending, fitting
noise     Noise: Gaussian noise that is kept as a seed
"""

from evolution.genome.genome import Genome, NoiseField
from evolution.genome.geometry import Geometry

__all__ = ["Genome", "Geometry", "NoiseField"]
