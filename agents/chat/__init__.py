"""The chat client: how the agents reach their models. The room's door to any endpoint."""

from agents.chat.check import EndpointCheck, check_endpoint
from agents.chat.client import ChatClient
from agents.chat.structured import Completion

__all__ = ["ChatClient", "Completion", "EndpointCheck", "check_endpoint"]
