"""The control of the article's claims."""

from tierlab.article import figures
from tierlab.core.explorer import ALL, Explorer, choice


class ClaimExplorer(Explorer):
    """The article's claims with their verdicts, by section and verdict.

    Parameters
    ----------
    claims : DataFrame
        Table of `tierlab.evaluate_claims`.
    section, verdict : str
        Where the control starts, if the table has them.
    """

    size, margins = (7.2, 3.6), (2.1, 0.2, 0.5, 0.35)

    def __init__(self, claims, *, section=ALL, verdict=ALL):
        self.claims, said = claims, {}
        for name, start in (("section", section), ("verdict", verdict)):
            options = [ALL, *claims[name].drop_duplicates()]
            said[name] = choice(name, options, start if start in options else ALL)
        super().__init__(**said)

    def table(self, *, section, verdict):
        keep = ((self.claims["section"] == section) | (section == ALL)) & (
            (self.claims["verdict"] == verdict) | (verdict == ALL)
        )
        return self.claims[keep].reset_index()

    def draw(self, ax, table, **_):
        figures.verdicts(table, ax=ax)

    def words(self, table, **_):
        counts = table["verdict"].value_counts(sort=False)
        said = ", ".join(f"{n} {name}" for name, n in counts.items()) or "none"
        return f"{len(table)} of {len(self.claims)} claims: {said}."

    def numbers(self, table, **_):
        return table[["id", "claim", "verdict", "computed", "why"]]
