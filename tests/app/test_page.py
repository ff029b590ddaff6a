"""The app's page without a browser: the panel drives every tab, scenarios are kept, and decisions are filed."""

import base64
import re

import pytest

import tierlab as tl
from tierlab.app import page
from tierlab.app.page import DECIDE, App
from tierlab.app.tabs import TABS


@pytest.fixture
def app(tmp_path):
    return App(folder=tmp_path, decided_on="2026-11-23")


def press(app, name):
    def buttons(widget):
        found = [widget] if getattr(widget, "description", "") == name else []
        return found + [one for child in getattr(widget, "children", ()) for one in buttons(child)]

    [button] = {*buttons(app.box), *buttons(app.form)}
    button.click()


def test_it_starts_with_the_running_product(app):
    product = tl.load_product()
    setting = app.setting()
    assert (setting.requests_per_day, setting.error_cost_usd, setting.task) == (
        product.requests_per_day,
        product.error_cost_usd,
        product.task,
    )
    assert app.said.headline in repr(app) and bytes(app.image.value).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", TABS)
def test_the_panel_moves_every_tab(app, name):
    app.tabs.value = name
    before = app.said
    assert len(before.cards) == 3 and before.headline != "No answer for these settings"
    explorer = app._built[name][-1]
    hidden = set(explorer.controls) - set(explorer.given)
    shown = app.stage.children[0].children
    assert [one for one in shown if one in explorer.controls.values()] == [
        explorer.controls[key] for key in explorer.controls if key in hidden
    ]
    app.panel["error_cost_usd"].value = 2.0
    app.panel["output_tokens"].value = 1_000
    assert app.said != before
    assert app.said.headline in re.sub("<[^>]*>", "", app.head.value)
    app.numbers.value = True
    assert "<table" in app.stage.children[-1].value


def test_a_lineup_is_followed_and_own_sliders_stay(app):
    app.tabs.value = "Router"
    app._built["Router"][-1].controls["share"].value = 0.5
    app.panel["lineup"].value = ("openai", "November 2026")
    assert "gpt-6-luna" in app.said.cards[0][0].lower()
    assert app._built["Router"][-1].controls["share"].value == 0.5


def test_the_teacher_is_the_flagship_of_the_panels_lineup(app):
    app.tabs.value = "Own model"
    app.panel["lineup"].value = ("openai", "November 2026")
    assert app._built["Own model"][-1].values()["teacher"] == "gpt-6-astra"


def test_a_cost_of_a_tab_is_that_of_daily_cost(app):
    app.panel["cache_hit_rate"].value, app.panel["batch_share"].value = 0.5, 0.5
    app.tabs.value = "Cost"
    setting = app.setting()
    day = tl.daily_cost(tl.Workload(**setting.shape), setting.prices, setting.models.tolist())
    assert [value for _, value, _ in app.said.cards] == [tl.usd(one) for one in day["cost_usd"]]


def test_two_scenarios_stand_side_by_side_until_a_reset(app):
    press(app, "Keep as scenario")
    app.panel["error_cost_usd"].value = 0.5
    assert app.kept.setting.error_cost_usd == 0.1 and app.now.setting.error_cost_usd == 0.5
    text = re.sub("<[^>]*>", "", app.strip.value)
    assert "$260" in text and "$700" in text and "-$440 a day" in text  # 200 + 20,000 x 0.05 x 0.5
    press(app, "Reset")
    assert app.kept is None and app.setting().error_cost_usd == 0.1


def test_a_decision_is_filed_and_offered_as_a_download(app, tmp_path):
    app.filing.value = True
    assert app.stage.children == (app.form,)
    press(app, "File the record")
    assert 'role="alert"' in app.filed.value and "needs a title" in app.filed.value
    app.title.value = "<b>Tier</b> of the chatbot"
    press(app, "File the record")
    [file] = tmp_path.glob("*.md")
    data = re.search(r'href="data:text/markdown;base64,([^"]+)"', app.filed.value)[1]
    assert base64.b64decode(data) == file.read_bytes()
    assert f'download="{file.name}"' in app.filed.value
    assert tl.load_record(file).model_id == app.now.found.model_id


def test_what_cannot_be_answered_is_said_and_not_filed(app, tmp_path):
    app.filing.value = True
    app.counts["mid", "wrong"].value = 3
    assert app.said.headline == "No answer for these settings" and 'role="status"' in app.head.value
    assert app.stage.children == (app.form,) and app.strip.value == ""
    app.title.value = "Tier"
    press(app, "File the record")
    assert 'role="alert"' in app.filed.value and not list(tmp_path.glob("*.md"))
    app.counts["mid", "examples"].value = 100
    assert app.tabs.value == DECIDE and app.said.cards


def test_a_mistake_in_a_tab_leaves_its_controls_but_no_picture(app):
    app.tabs.value = "Growth"
    explorer = app._built["Growth"][-1]
    models = explorer.controls["models"]
    chosen, models.value = models.value, ()
    assert "no model is chosen" in app.head.value and "<li>" not in app.cards.value
    assert app.stage.children == (app.own,) and models in app.own.children
    models.value = chosen
    assert app.stage.children == (app.own, explorer.image) and app.said.cards


def test_text_of_data_is_escaped(app):
    assert app.now is not None
    object.__setattr__(app.now.found, "next_step", "<script>x</script>")
    shown = page._head_html(type(app.now)(app.now.setting, app.now.found, app.now.days).said)
    assert "<script>" not in shown and "&lt;script&gt;" in shown
