"""The offline model: plays scientist and critic over reasoning-gym's generators.

    transport      an httpx transport that speaks the chat completions API
    prompt_blocks  what a rendered prompt asks for
    writer         proposes and refines families
    reviewer       criticises them
    author, sketches, answer_kinds   how a family's program is written
    catalogue, entries, data   the generators, and their ladders

It makes a first run possible without any endpoint, and is called `offline` wherever it is shown.
"""

from agents.offline.author import wrote
from agents.offline.transport import MODEL, OfflineTransport

__all__ = ["MODEL", "OfflineTransport", "wrote"]
