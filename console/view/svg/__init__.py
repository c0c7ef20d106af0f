"""Pictures that the server draws as SVG: they need no script, print well, and say what they show.

draw      elements and scales
charts    lines over a number, bars
heatmap   experts by families
lineage   who was bred from whom
scatter   points on a plane
"""
