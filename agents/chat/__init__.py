"""The chat client: how the agents reach their models.

    endpoints     EndpointsSettings: who answers for each role
    client        ChatClient, Place: cached, budgeted, limited, and recorded in full
    structured    Completion: the object that was asked for, found in what came back
    check         check_endpoint: one token, to see whether somebody is there
    attempts, connection, dialect, failures, replies, budget   what a call is made of

It owns the table of calls. The offline model is mounted under the same client (`agents.offline`).
"""
