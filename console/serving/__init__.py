"""The collective as an OpenAI-compatible server: `acdc serve`.

guard.py      who may come in: host, bearer token, size of the body, a free seat
seats.py      how many requests are under way, and the drain at the end
protocol.py   what may be asked
asking.py     from a request to the collective's choices
forms.py      the choices in OpenAI's words
replying.py   as one object or as server-sent events; a client that leaves cancels its work
failures.py   errors in OpenAI's form
routes.py     the application
server.py     uvicorn, ready line, signals
"""

from console.serving.routes import build_app
from console.serving.server import ServeSettings, serve

__all__ = ["ServeSettings", "build_app", "serve"]
