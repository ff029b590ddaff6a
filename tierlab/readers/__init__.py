"""Readers: what each source of usage looks like and how its rows become requests or billed dollars.

`files` opens a file and hands out its records, `sheet` takes typed columns out of a block of rows, `piece` reads one
file with them and `repeats` finds what is told twice; each other room holds the formats of one family as `Reader`
values. `tierlab.usage` puts them together.
"""
