"""Merges that are not linear: mergekit makes them, and they join the bank as anchors.

    merges    add_merges (of seeds, before a run), merge_experts (of two experts, during it)
    mergekit  merged: runs mergekit in a process of its own

Methods and their parameters are checked in `evolution.bank.merge_methods`, for the settings.
"""
