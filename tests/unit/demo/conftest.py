import pytest
from helpers.demo_run import make_run


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory):
    """The config file of a small run with influence. Tests leave its files as they are."""
    return make_run(tmp_path_factory.mktemp("demo"))
