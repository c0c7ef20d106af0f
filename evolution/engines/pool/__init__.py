"""A pool of workers, each with an engine and a bank of its own: many experts answer at once.

Genomes travel, a few kilobytes each; weights never do.

settings   ClusterSettings
pool       Pool: takes the broker's place; hands out work, replaces workers that are lost
queue      WorkQueue: who answers what next
waiting    WaitingPrompts: what waits, by expert
worker     Worker: an engine in another process, with its deadlines
opening    open_pool
local      workers that are processes of this machine
ray        workers that are actors of a Ray cluster
channel    calls between two processes, through a socket
host       Host: what runs in a worker
serve      the program of such a process
driver     Ray's side of `ray`; the only module that imports Ray
"""

from evolution.engines.pool.settings import ClusterSettings

__all__ = ["ClusterSettings"]
