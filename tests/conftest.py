"""Shared fixtures."""

import hypothesis
import pytest

import tierlab as tl

# What a busy machine takes for one example says nothing about the code.
hypothesis.settings.register_profile("tierlab", deadline=None)
# mutmut runs the tests more than once in a process
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.differing_executors],
)
hypothesis.settings.load_profile("tierlab")


@pytest.fixture(scope="session")
def article():
    return tl.load_prices("article")


@pytest.fixture(scope="session")
def maintained():
    return tl.load_prices("maintained")
