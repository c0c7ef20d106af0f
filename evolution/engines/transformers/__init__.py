"""The engine on transformers: one model, in which experts are materialised in place.

A reply depends on its prompt, seed and expert alone, to the bit, whatever else is asked.

    engine         TransformersEngine
    decoding       Decoder: many prompts through a limited number of rows
    reading        Reader: the first pass over prompts, side by side
    sampling       the choice of tokens
    slots          key-value caches of fixed shape
    attention      the forward pass
    passes, proof  sizes of passes that were shown to give the same bits on this machine
    packing        linear layers in the order of oneDNN
"""
