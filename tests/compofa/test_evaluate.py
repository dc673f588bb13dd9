import numpy as np
import pytest
import torch
from torch import nn

from compofa.arch import extreme
from compofa.checkpoint import save_supernet
from compofa.data import load_data
from compofa.evaluate import Evaluator, correct_counts, count_correct, make_evaluator, recalibrate
from compofa.families import GLYPHS
from compofa.spaces import get_space
from compofa.supernet import Supernet


def test_recalibration_gives_the_statistics_of_the_batches():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    net[1].running_mean.fill_(100.0)
    batches = [torch.randn(16, 3, 5, 5) for _ in range(3)]
    recalibrate(net, batches)
    with torch.no_grad():
        y = net[0](torch.cat(batches))
    torch.testing.assert_close(net[1].running_mean, y.mean((0, 2, 3)))
    expected = torch.stack([net[0](x).detach().var((0, 2, 3)) for x in batches]).mean(0)
    torch.testing.assert_close(net[1].running_var, expected)
    assert not net.training
    assert net[1].momentum == 0.1


def test_count_correct_counts():
    x = torch.eye(5)
    assert count_correct(nn.Identity(), [(x, torch.tensor([0, 1, 2, 0, 0])), (x, torch.arange(5))]) == 8


@pytest.fixture(scope="module")
def supernet_file(tmp_path_factory):
    from dataclasses import replace

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("s") / "s.safetensors"
    save_supernet(Supernet(replace(GLYPHS, classes=10)), path, {"recipe": {"name": "untrained"}})
    return path


def test_workers_count_what_one_process_counts(supernet_file):
    space = get_space("compofa", GLYPHS)
    archs = [space.sample(np.random.default_rng(s), 16) for s in range(3)]
    evaluator = make_evaluator(supernet_file, "digits")
    alone = [evaluator.correct(arch) for arch in archs]
    assert list(correct_counts(supernet_file, "digits", archs, workers=2)) == alone


def test_evaluating_leaves_the_supernet_as_it_was(supernet_file):
    evaluator = make_evaluator(supernet_file, "digits")
    before = {name: value.clone() for name, value in evaluator.supernet.state_dict().items()}
    evaluator.correct(extreme(GLYPHS, largest=False))
    after = evaluator.supernet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_another_number_of_classes_is_refused(tmp_path):
    save_supernet(Supernet(GLYPHS), tmp_path / "s.safetensors", {"recipe": {"name": "untrained"}})
    with pytest.raises(ValueError, match="62 classes"):
        make_evaluator(tmp_path / "s.safetensors", "digits")


def test_calibration_images_are_few_and_fixed(supernet_file):
    digits = load_data("digits", "train")
    one, two = (Evaluator(Supernet(GLYPHS), digits, digits, 64).calibration for _ in range(2))
    assert len(one) == 64
    np.testing.assert_array_equal(one, two)
