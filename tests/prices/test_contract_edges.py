"""Contracts at their edges: first and last days, equal clauses, what is left of a credit, a month of which a part is paid."""

import pandas as pd
import pytest

import tierlab as tl
from tierlab.prices.contract import Contract


def catalogue(**options):
    """One USD per million tokens of every bucket, from two makers."""
    rates = dict.fromkeys(tl.BUCKETS, 1.0)
    rows = [
        {"model_id": name, "provider": maker} | rates
        for name, maker in (("m", "acme"), ("n", "other"))
    ]
    return tl.load_prices("article", extra=pd.DataFrame(rows), **options)


def bill(*rows, contract, prices=None, **options):
    """What a contract makes of rows of (time, million tokens of input[, model[, more columns]])."""
    table = pd.DataFrame(
        [
            {"at": at, "uncached_input_tokens": int(mtok * 1e6), "model_id": (*more, "m")[0]}
            for at, mtok, *more in rows
        ]
    )
    table["at"] = pd.to_datetime(table["at"], format="ISO8601")
    table = table.assign(output_tokens=0, aggregate=True)
    prices = prices or catalogue()
    priced = tl.price(table, prices)
    return tl.settle(table, priced, prices, Contract.model_validate(contract), **options)


def contracted(found):
    return found.rows["contracted_usd"].round(6).tolist()


class TestDiscounts:
    def test_both_days_of_a_clause_belong_to_it(self):
        clause = {"share": 0.5, "from": "2026-06-10", "to": "2026-06-12"}
        days = ["2026-06-09 23:59", "2026-06-10", "2026-06-12 23:59", "2026-06-13"]
        found = bill(*((day, 8) for day in days), contract={"discounts": [clause]})
        assert contracted(found) == [8, 4, 4, 8]

    def test_the_narrower_clause_wins_wherever_it_stands(self):
        narrow = {"provider": "acme", "model": "m", "share": 0.5}
        wide = {"provider": "acme", "share": 0.25, "from": "2026-06-05"}
        for clauses in ([narrow, wide], [wide, narrow]):
            found = bill(("2026-06-10", 8), ("2026-06-10", 8, "n"), contract={"discounts": clauses})
            assert contracted(found) == [4, 8]

    def test_of_two_as_narrow_the_one_that_began_later_wins(self):
        old = {"provider": "acme", "share": 0.5}
        new = {"provider": "acme", "share": 0.25, "from": "2026-06-10"}
        for clauses in ([old, new], [new, old]):
            found = bill(("2026-06-09", 8), ("2026-06-10", 8), contract={"discounts": clauses})
            assert contracted(found) == [4, 6]

    def test_rates_of_ones_own_replace_their_buckets_alone(self):
        """Listed 1 + 2 + 3 + 4 + 5 million at 1 USD; 0.5 for reads, 2 and 3 for writes."""
        tokens = dict(zip((f"{b}_tokens" for b in tl.BUCKETS), (1, 2, 3, 4, 5), strict=True))
        table = pd.DataFrame([{k: n * 10**6 for k, n in tokens.items()}] * 2)
        table = table.assign(model_id=["m", "n"], at=pd.Timestamp("2026-06-10"), aggregate=True)
        prices = catalogue()

        def settled(rate):
            clause = {"provider": "acme", "rate": rate}
            contract = Contract(discounts=[clause])
            return contracted(tl.settle(table, tl.price(table, prices), prices, contract))

        assert settled({"cache_read": 0.5}) == [14, 15]
        assert settled({"cache_write_short": 2.0, "cache_write_long": 3.0}) == [8 + 6 + 12, 15]
        assert settled({"uncached_input": 0.0, "output": 2.0}) == [15 - 1 + 5, 15]

    @pytest.mark.parametrize("share", [0, 1])
    def test_nothing_and_all_are_shares(self, share):
        assert contracted(bill(("2026-06-10", 8), contract={"discounts": [{"share": share}]})) == [
            8 - 8 * share
        ]

    def test_a_clause_of_one_day_is_a_clause(self):
        clause = {"share": 0.5, "from": "2026-06-10", "to": "2026-06-10"}
        assert contracted(bill(("2026-06-10 12:00", 8), contract={"discounts": [clause]})) == [4]


class TestCommitments:
    def due(self, *rows, until="2026-12-31", **clause):
        more = {key: clause.pop(key) for key in ("credits", "discounts") if key in clause}
        clause = {"id": "c", "usd": 10} | clause
        lines = bill(*rows, contract={"commitments": [clause]} | more, until=until).lines
        return list(zip(lines["month"], lines["usd"].round(6), strict=True))

    rows = (("2026-10-05", 10), ("2026-11-05", 4), ("2026-12-05", 13))

    def test_what_is_spent_to_the_cent_leaves_nothing_due(self):
        assert self.due(*self.rows) == [("2026-11", 6)]
        assert self.due(*self.rows, usd=10.5) == [("2026-10", 0.5), ("2026-11", 6.5)]

    def test_a_month_is_due_on_its_last_day(self):
        assert self.due(*self.rows, until="2026-11-29") == []
        assert self.due(*self.rows, until="2026-11-30") == [("2026-11", 6)]

    def test_what_is_carried_is_asked_for_in_the_last_period(self):
        """6 short in November, 3 over in December; with an end in December 3 remain, with none nothing is final."""
        carried = {"shortfall": "carry", "from": "2026-10-01"}
        assert self.due(*self.rows, **carried) == []
        assert self.due(*self.rows, to="2026-12-31", **carried) == [("2026-12", 3)]
        assert self.due(*self.rows, to="2026-11-30", **carried) == [("2026-11", 6)]
        # what was over in one month is not set against the next
        assert self.due(("2026-10-05", 30), ("2026-11-05", 4), to="2026-11-30", **carried) == [
            ("2026-11", 6)
        ]

    def test_what_is_forgiven_is_not_due(self):
        assert self.due(*self.rows, shortfall="forgive", to="2026-12-31") == []

    def test_it_counts_its_own_requests_at_its_own_measure(self):
        """12 of acme at half price; 9 of the other maker; a credit of 2 on acme."""
        rows = (("2026-12-05", 12), ("2026-12-06", 9, "n"))
        more = {"discounts": [{"provider": "acme", "share": 0.5}], "provider": "acme"}
        credit = {"usd": 2, "provider": "acme"}
        assert self.due(*rows, measure="list", **more) == []
        assert self.due(*rows, measure="contracted", **more) == [("2026-12", 4)]
        assert self.due(*rows, measure="billed", credits=[credit], **more) == [("2026-12", 6)]
        toward = credit | {"toward_commitment": True}
        assert self.due(*rows, measure="billed", credits=[toward], **more) == [("2026-12", 4)]

    def test_quarters_and_years_without_a_first_day_are_those_of_the_calendar(self):
        assert self.due(*self.rows, every="quarter", usd=30) == [("2026-12", 3)]
        assert self.due(*self.rows, every="quarter", usd=30, until="2026-12-30") == []
        assert self.due(*self.rows, every="year", usd=30) == [("2026-12", 3)]

    def test_a_term_is_over_on_its_last_day(self):
        term = {"every": "term", "usd": 30, "from": "2026-10-01", "to": "2026-12-05"}
        assert self.due(*self.rows, until="2026-12-04", **term) == []
        assert self.due(*self.rows, until="2026-12-05", **term) == [("2026-12", 3)]
        assert self.due(*self.rows, **(term | {"to": "2026-12-04"})) == [("2026-12", 16)]

    def test_what_is_spread_follows_what_was_paid_and_keeps_to_its_period(self):
        rows = (("2026-10-05", 10), ("2026-11-05", 1), ("2026-11-06", 3), ("2026-11-06", 5, "n"))
        clause = {"id": "c", "usd": 10, "provider": "acme"}
        found = bill(*rows, contract={"commitments": [clause]}, spread=True)
        assert found.rows["effective_usd"].tolist() == pytest.approx([10, 2.5, 7.5, 5])


class TestCredits:
    rows = (("2026-06-03", 4), ("2026-06-01", 3), ("2026-07-02", 5))

    def paid(self, *credits):
        found = bill(*self.rows, contract={"credits": list(credits)})
        return found.invoice["credit_usd"].round(6).tolist()

    def test_it_is_used_in_order_of_time_and_ends_where_it_is_used_up(self):
        assert self.paid({"usd": 0}) == [0, 0]
        assert self.paid({"usd": 6}) == [-6, 0]
        assert self.paid({"usd": 8}) == [-7, -1]
        assert self.paid({"usd": 80}) == [-7, -5]

    def test_the_first_to_expire_is_used_first_and_what_one_pays_the_other_does_not(self):
        """June costs 7: the one that ends in June pays 5 of it, whichever stands first; 4 are left of the other."""
        june, later = {"usd": 5, "to": "2026-06-30"}, {"usd": 6}
        assert self.paid(june, later) == self.paid(later, june) == [-7, -4]


class TestInvoice:
    def test_tax_and_currency_are_on_what_is_billed(self):
        """10 used, half off; 20 promised; 2 of credit: (5 + 15 - 2) x 1.1 = 19.80 USD, 39.60 in a currency of 2 a USD."""
        contract = {
            "currency": "XXX",
            "rates": {"2026-06": 2.0},
            "tax": 0.1,
            "discounts": [{"share": 0.5}],
            "commitments": [{"id": "c", "usd": 20}],
            "credits": [{"usd": 2}],
        }
        month = bill(("2026-06-10", 10), contract=contract).invoice.iloc[0]
        money = month.drop(["month", "currency"]).astype(float).round(6).tolist()
        assert money == [10, 5, 15, -2, 18, 1.8, 19.8, 39.6]

    def test_a_month_without_requests_has_what_is_due_in_it(self):
        clause = {"id": "c", "usd": 20, "from": "2026-06-01", "to": "2026-07-31"}
        found = bill(("2026-06-10", 15), contract={"commitments": [clause]}, until="2026-07-31")
        table = found.invoice.set_index("month")
        assert table["billed_usd"].to_dict() == {"2026-06": 20, "2026-07": 20}
        assert table["list_usd"].to_dict() == {"2026-06": 15, "2026-07": 0}

    @pytest.mark.parametrize(
        ("clauses", "moves"),
        [
            ({}, False),
            ({"aliases": {"x": {"model": "m"}}}, False),
            ({"tax": 0.01}, True),
            ({"currency": "EUR"}, True),
            ({"credits": [{"usd": 1}]}, True),
            ({"discounts": [{"share": 0}]}, True),
        ],
    )
    def test_a_contract_that_only_names_things_has_no_terms(self, clauses, moves):
        assert Contract.model_validate(clauses).has_terms is moves


UNIT = {
    "id": "p",
    "alias": "mine",
    "units": 2,
    "usd_per_unit_hour": 3.0,
    "share": 0.5,
    "input_tpm_per_unit": 1000,
    "output_weight": 4,
}


class TestCapacity:
    def covered(self, *rows, **clause):
        prices = catalogue(aliases={"mine": "m"})
        contract = {"provisioned": [UNIT | clause]}
        return bill(*rows, contract=contract, prices=prices)

    def test_a_part_of_a_month_has_its_own_hours(self):
        """Three days of June, all of July, two of August: 72, 744 and 48 hours of 2 units at 3 USD, half off."""
        found = self.covered(
            ("2026-08-20", 1), **{"from": "2026-06-28", "to": "2026-08-02"}
        ).capacity
        assert found["month"].tolist() == ["2026-06", "2026-07", "2026-08"]
        assert found["list_usd"].tolist() == [72 * 6, 744 * 6, 48 * 6]
        assert found["unused_usd"].tolist() == [72 * 3, 744 * 3, 48 * 3]
        assert found["capacity_mtok"].tolist() == pytest.approx([8.64, 89.28, 5.76])
        assert found["served_mtok"].tolist() == [0, 0, 0]

    def test_an_open_end_is_the_month_of_the_last_request(self):
        found = self.covered(("2026-07-20", 1), **{"from": "2026-07-01"}).capacity
        assert found["month"].tolist() == ["2026-07"] and found["list_usd"].tolist() == [744 * 6]

    def test_the_alias_alone_is_covered_and_only_on_its_days(self):
        """One day: 24 h x 2 x 1,000 a minute = 2.88 million for 72 USD; a quarter of it is used."""
        day = {"from": "2026-06-10", "to": "2026-06-10"}
        rows = [("2026-06-10 23:59", 0.72, "mine"), ("2026-06-10", 1, "m")]
        rows += [("2026-06-11", 1, "mine"), ("2026-06-09 23:59", 1, "mine")]
        found = self.covered(*rows, **day)
        assert contracted(found) == [18, 1, 1, 1]
        one = found.capacity.iloc[0]
        assert one[["used_usd", "unused_usd", "served_mtok", "worth_usd"]].tolist() == (
            pytest.approx([18, 54, 0.72, 0.72])
        )
        assert one["usd_per_mtok"] == pytest.approx(72 / 0.72)
        assert one["break_even"] == pytest.approx(72 / 2.88)  # at 1 USD per million at list

    def test_what_spills_over_is_paid_at_the_contracted_rate(self):
        """3.6 million asked of 2.88: four fifths of each row are covered, a fifth of 2.4 and of 1.2 is not."""
        day = {"from": "2026-06-10", "to": "2026-06-10"}
        found = self.covered(("2026-06-10", 2.4, "mine"), ("2026-06-10", 1.2, "mine"), **day)
        assert contracted(found) == pytest.approx([48 + 0.48, 24 + 0.24])
        assert found.capacity["unused_usd"].round(9).tolist() == [0]

    def test_an_output_token_weighs_what_the_clause_says_and_a_read_nothing(self):
        """0.2 input, 0.1 written twice over, 0.05 output of weight 4, 5 read: 0.6 of 2.88 million."""
        prices = catalogue(aliases={"mine": "m"})
        tokens = dict(
            zip((f"{b}_tokens" for b in tl.BUCKETS), (0.2, 5, 0.1, 0.1, 0.05), strict=True)
        )
        table = pd.DataFrame([{k: round(n * 1e6) for k, n in tokens.items()}])
        table = table.assign(model_id="mine", at=pd.Timestamp("2026-06-10"), aggregate=True)
        day = {"from": "2026-06-10", "to": "2026-06-10"}
        contract = Contract.model_validate({"provisioned": [UNIT | day]})
        found = tl.settle(table, tl.price(table, prices), prices, contract)
        assert found.capacity["served_mtok"].tolist() == pytest.approx([0.6])
        assert contracted(found) == pytest.approx([72 * 0.6 / 2.88])
