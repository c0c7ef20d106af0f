"""Merges that are not linear: mergekit makes them, and they join the bank as anchors."""
