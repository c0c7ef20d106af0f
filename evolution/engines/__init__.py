"""Where experts answer: an engine holds one expert at a time, the broker shares it among callers.

base          Ask, Lease, Engine: the interface
opening       open_engine
broker        Broker: batches the requests of concurrent callers, to swap seldom
held          HeldEngine: leases, swaps and the worker thread of an engine
encoding      Encoder: from conversations to tokens and back
writing       Writer: texts as tokens; control tokens in them are text
compute       the number format that suits a device
settings      EngineSettings
transformers  the engine that runs anywhere
vllm          the engine for throughput
"""

from evolution.engines.base import Ask, Engine, Lease
from evolution.engines.broker import Broker
from evolution.engines.opening import open_engine

__all__ = ["Ask", "Broker", "Engine", "Lease", "open_engine"]
