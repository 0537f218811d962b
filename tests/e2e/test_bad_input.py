import pytest
def test_smoke(world):
    pass
