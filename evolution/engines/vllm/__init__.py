"""The engine on vLLM: its worker holds the bank, and materialises experts by itself.

    engine          VllmEngine
    worker          BankWorker, which vLLM mixes into its own worker class
    requests        what vLLM is asked, and checking whose its replies are
    start, watch    starting vLLM, and noticing that it has died
    packing         writing weights into vLLM's packed layers on a CPU
    witness         Witness: checks that vLLM computes with the weights it was given
    blocks          wiping the key-value cache between experts

Importing any of it imports vLLM, which is an extra.
"""
