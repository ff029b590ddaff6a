"""Readers: what each source of usage looks like and how its rows become requests or billed dollars.

`files` opens a file and hands out its documents; `sheet` takes typed columns out of a block of rows; each other
room holds the formats of one family as `Reader` values, and `tierlab.usage` puts them together.
"""
