"""The article's figures, recomputed: one small function per figure, over any catalogue.

Each function registered with `metric` can be named as a rule in data/claims.csv. It takes a `Basis` and the
rule's arguments as text, and returns one number or a labelled Series of them; which unit they are in stands in
the claims table. A model is written as "provider.tier" of the lineup, or by any name the catalogue knows;
several are joined by "|".
"""

from tierlab.article import choices, costs, evidence, prices, times
from tierlab.article.basis import METRICS

__all__ = ["METRICS", "choices", "costs", "evidence", "prices", "times"]
