import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small tensors do not gain from more, and tests may share the machine."""
    import torch

    torch.set_num_threads(1)
