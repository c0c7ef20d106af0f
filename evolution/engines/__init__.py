"""Where experts answer."""

from evolution.engines.base import Engine, Lease
from evolution.engines.broker import Broker
from evolution.engines.opening import open_engine
from evolution.engines.transformers.engine import TransformersEngine

__all__ = ["Broker", "Engine", "Lease", "TransformersEngine", "open_engine"]
