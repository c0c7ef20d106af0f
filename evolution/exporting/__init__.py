"""Experts as files: a Hugging Face folder with recipe and model card, streamed tensor by tensor.

folder        export_expert, write_checkpoint, check_place, Exported
card          About, Skill: the model card
recipe        recipe, genome_of, mergekit_recipe, Sources
shards        write_shards
stored_names  the names of tensors in files
"""

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
