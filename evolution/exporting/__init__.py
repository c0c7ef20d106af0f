"""Experts as files: a Hugging Face folder with recipe and model card, streamed tensor by tensor."""

from evolution.exporting.card import About, Skill
from evolution.exporting.folder import Exported, check_place, export_expert, write_checkpoint
from evolution.exporting.recipe import Sources, genome_of, mergekit_recipe, recipe

__all__ = [
    "About",
    "Exported",
    "Skill",
    "Sources",
    "check_place",
    "export_expert",
    "genome_of",
    "mergekit_recipe",
    "recipe",
    "write_checkpoint",
]
