"""Runs in a browser: `acdc view`, and as one file that can be mailed: `acdc report`.

source     the runs, and one of them opened to read
ledger     what each answer cost, each read once
matrix     who passes what
page       what a page is made of; words: values as people and spreadsheets read them
pages      a function for each page, from a run and a URL to plain values
svg        pictures that the server draws
site       the pages that there are
render     the template that lays out every page
routes     a page for each URL, as HTML, JSON or CSV
guard      who may look
server     uvicorn, ready line, signals

Nothing here loads an engine, but `asking`, and only when a question is asked.
"""
