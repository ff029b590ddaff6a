"""tierlab.yaml: what a company says of itself in the quarterly report, and who owns which team's spend."""

import base64
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tierlab.core.untrusted import read_text, read_yaml, regular
from tierlab.core.vocabulary import unknown

NOBODY = "(nobody)"
LOGO_BYTES = 256 * 1024
_IMAGES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}  # first bytes -> kind


class Team(BaseModel):
    """A team: its owner and its budget of the quarter (US dollars), each if there is one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    owner: str = ""
    budget_usd: Annotated[float, Field(gt=0)] | None = None


class Settings(BaseModel):
    """The content of tierlab.yaml.

    Attributes
    ----------
    company, team : str
        Of the title.
    logo : str
        In the file: the path of a PNG or JPEG image beside it, for the head of the page; once read, the image itself.
    budget_usd : float, optional
        Of the whole quarter (US dollars).
    teams : dict of str to Team
        By the log's names of teams.

    Examples
    --------
    >>> Settings(teams={"support": {"owner": "Ada"}}).owner("support")
    'Ada'
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    company: str = ""
    team: str = ""
    logo: str = ""
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    teams: dict[str, Team] = {}

    def owner(self, team):
        """Who answers for a team; "" for nobody."""
        return self.teams[team].owner if team in self.teams else ""


def load_settings(path) -> Settings:
    """Read tierlab.yaml.

    Raises
    ------
    ValueError
        If it cannot be read, or a field is unknown or of the wrong kind; names file and field.
    """
    try:
        found = read_yaml(read_text(path))
        if not isinstance(found, dict):
            raise ValueError("no fields; write for example `company: Example Ltd`")
        settings = Settings.model_validate(found)
        return settings.model_copy(update={"logo": _image(Path(path).parent, settings.logo)})
    except ValidationError as error:
        fault = error.errors()[0]
        *above, name = fault["loc"]
        why = fault["msg"].lower()
        if fault["type"] == "extra_forbidden":
            why = unknown("field", name, Team.model_fields if above else Settings.model_fields)
        raise ValueError(f"{path}: {'.'.join(map(str, fault['loc']))}: {why}") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from None


def _image(folder, name):
    """An image as a data URI; a page loads nothing from elsewhere."""
    if not name:
        return ""
    data = regular(folder / name).read_bytes()
    kind = next((kind for start, kind in _IMAGES.items() if data.startswith(start)), None)
    if kind is None or len(data) > LOGO_BYTES:
        raise ValueError(
            f"logo: {name} is not a PNG or JPEG image of at most {LOGO_BYTES // 1024} KiB"
        )
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def by_owner(teams: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Spend of each team against its budget, with a line for what nobody owns.

    Parameters
    ----------
    teams : DataFrame
        Table `teams` of `Quarter`: name, cost_usd.
    settings : Settings

    Returns
    -------
    DataFrame
        name, owner, cost_usd, budget_usd, over_usd (US dollars; NaN without a budget), the largest spend first and what
        nobody owns last. A team of the settings without spend has a row as well.
    """
    spend = teams.set_index("name")["cost_usd"] if len(teams) else pd.Series(dtype=float)
    owned = [name for name, team in settings.teams.items() if team.owner or team.budget_usd]
    table = pd.DataFrame(
        {
            "name": owned,
            "owner": [settings.teams[name].owner or NOBODY for name in owned],
            "cost_usd": spend.reindex(owned).fillna(0.0).to_numpy(),
            "budget_usd": [settings.teams[name].budget_usd for name in owned],
        }
    ).astype({"cost_usd": float, "budget_usd": float})
    table = table.sort_values("cost_usd", ascending=False, kind="stable", ignore_index=True)
    rest = spend.drop(owned, errors="ignore")
    if len(rest):
        table.loc[len(table)] = [", ".join(rest.index), NOBODY, rest.sum(), float("nan")]
    return table.assign(over_usd=table["cost_usd"] - table["budget_usd"])
