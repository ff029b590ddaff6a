"""Shared fixtures."""

import pytest

import tierlab as tl


@pytest.fixture(scope="session")
def article():
    return tl.load_prices("article")


@pytest.fixture(scope="session")
def maintained():
    return tl.load_prices("maintained")
