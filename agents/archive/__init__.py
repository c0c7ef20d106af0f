"""The archive: which experts are kept, and which breed.

    founding   the first experts: base, seeds, merges, and children of seeds
    breeding   parents are chosen and genomes bred; no weights are read
    emitting   searches that learn ask for children, and are told what these gained
    grafting   two members are merged by mergekit into a new anchor of the bank
    tutoring   one member is taught what the archive fails, which makes a new anchor too
    selection  survival after judging; families over capacity leave the pool
    success    how often what an operator makes survives

It owns the tables of genomes, experts and archives. How a child is made and who survives are
functions of `evolution`.
"""
