"""The collective as an OpenAI-compatible server: `acdc serve`.

address    where a server listens: sockets, the loopback, tokens
door       connections: the length of heads, deadlines
guard      who may come in: host, bearer token, size of the body, a free seat
queue      how many requests are under way, and the drain at the end
turns      messages of a conversation
formats    JSON mode: what replies are constrained to
protocol   what may be asked
exchange   one request and what came of it
observed   request identifiers, and a line of the log for each request
meters     what is counted, for Prometheus
choices    from a request to the collective's choices
replies    the choices in OpenAI's words
responses  OpenAI's Responses API: its requests and its replies
streams    as one object or as server-sent events; a client that leaves cancels its work
failures   errors in OpenAI's form
routes     the application
server     uvicorn, ready line, signals

Nothing is imported here: `address` and `door` serve the viewer too, which loads no engine.
"""
