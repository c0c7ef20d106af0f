"""Who is bred: genomes, how they are crossed, mutated and selected, and the engines that run them.

An expert is a genome, a few kilobytes of coordinates in a bank of checkpoints. Breeding and
selection are arithmetic on genomes and grades; an engine makes weights when an expert answers.

    genome       the coordinates of an expert, and the geometry that they are measured in
    bank         base, task vectors and spectral bases: what genomes are coordinates in
    breeding     crossover, mutation, bounds
    selection    who survives, who mates, and the task force of highest Coverage
    materialise  from a genome to weights
    merging      merges that are not linear, made by mergekit
    engines      where experts answer prompts
    exporting    experts as Hugging Face folders
    planning     what fits into memory, and where the bank goes
    registry     operators by name, also those of plugins
    population   bank and engine of a run, loaded on first use

It imports `memory`, and nothing of `agents` or `console`.
"""
