"""Breeding: crossover, then mutations, then bounds. Arithmetic on genomes; no weights are read.

breed      breed, random_genome, Offspring
crossover  the built-in crossovers, by name in the registry
mutation   the built-in mutations
search     Search: separable CMA-ES over bands of coefficients
bounds     bound: how far from the base a child may lie
settings   BreedingSettings, GraftSettings
"""
