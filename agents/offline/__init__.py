"""The offline scientist: it writes, mends and criticises families over reasoning-gym's generators.

It makes a first run possible without any endpoint, and is called `offline` wherever it is shown.
"""

from agents.offline.transport import MODEL, OfflineTransport

__all__ = ["MODEL", "OfflineTransport"]
