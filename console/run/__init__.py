"""A run on disk.

folder       RunFolder: where things lie, config.json, beginning and going on
config       resolve: command line, environment, TOML or config.json into one RunConfig
opening      open_context: every room for work; the only process that writes
reading      open_reading: what answering needs; no lock, no sandbox, no file of the run changed
checkpoints  open_checkpoints: graph.db, which is set aside where it cannot be read
coevolution  coevolve: drives the graph to its end
spending     what calls cost by the prices of their roles, and what a live run has used
unborn       removes a new folder again where a run fails before anything is achieved
"""
