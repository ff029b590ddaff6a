"""Shared fixtures."""

import hypothesis
import pytest

import tierlab as tl

# What a busy machine takes for one example says nothing about the code.
hypothesis.settings.register_profile("tierlab", deadline=None)
hypothesis.settings.load_profile("tierlab")


@pytest.fixture(scope="session")
def article():
    return tl.load_prices("article")


@pytest.fixture(scope="session")
def maintained():
    return tl.load_prices("maintained")
