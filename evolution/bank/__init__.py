"""The bank: base, task vectors of the anchors, spectral bases and geometry, in memory once.

It owns how checkpoints are found, checked, identified by content and kept as differences.

    bank           Bank, load_bank
    settings       ModelSettings, SeedSettings, MergeSettings, SpectralSettings
    sources        locate: a folder, a GGUF file, the hub, or a seed that comes with this project
    checkpoints    Checkpoint, open_checkpoint
    tokenizers     load_tokenizer, generation_of: what prompts become, where answers end
    adapters, adapter_config  LoRA seeds, read as factors
    files, stored, limits     what may hold anything: files, weights, and programs in them
    anchors        Anchor, save_anchor, load_anchor
    task_vectors   LowRank, Dense
    layout         Layout: tensors, blocks, and which matrices mutate
    spectral, gram SpectralBasis, and the inner products of task vectors
    merge_methods  what mergekit's methods take
    mergeability   whether seeds are likely to merge well
    cache, fingerprint  files and hashes of tensors

Nothing is imported here: configuration reads `settings` without loading PyTorch.
"""
