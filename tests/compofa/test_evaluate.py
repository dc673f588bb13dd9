from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compofa import evaluate
from compofa.checkpoint import save_supernet
from compofa.data import ArrayData, load_data
from compofa.errors import InputError, RunFailed
from compofa.evaluate import Evaluator, correct_in, make_evaluator
from compofa.opened import open_with_data
from compofa.parallel_evaluation import Source, correct_counts, shared_counts
from compofa.recalibration import recalibrate
from compofa.spaces.arch import extreme
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from compofa.supernet import Supernet
from compofa.world import World


def test_recalibration_gives_the_statistics_of_the_batches():
    """Against a direct computation of the reference's: each batch by its own mean and biased variance, averaged over
    images; in double precision, layer by layer."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 3, stride=2)
    net = nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), second, nn.BatchNorm2d(5))
    net[1].running_mean.fill_(100.0)
    net[4].running_var.fill_(float("nan"))
    batches = [torch.randn(n, 3, 4, 4) * n for n in (16, 7, 1)]
    recalibrate(net, batches)
    layers = [(first, net[1]), (second, net[4])]
    images = [x.double() for x in batches]
    with torch.no_grad():
        for convolution, norm in layers:
            images = [convolution.double()(x) for x in images]
            moments = [(y.mean((0, 2, 3)), y.var((0, 2, 3), correction=0)) for y in images]
            for name, which in (("running_mean", 0), ("running_var", 1)):
                expected = sum(len(y) * m[which] for y, m in zip(images, moments, strict=True)) / 24
                torch.testing.assert_close(getattr(norm, name).double(), expected, rtol=1e-5, atol=1e-6)
            images = [
                torch.relu((y - m[:, None, None]) / torch.sqrt(v[:, None, None] + norm.eps))
                for y, (m, v) in zip(images, moments, strict=True)
            ]
    assert not net.training
    assert not any(module.training for module in net.modules())
    assert net[1].momentum == 0.1
    assert not net[1]._forward_hooks and not net[1]._forward_pre_hooks


def test_right_ones_are_counted():
    assert correct_in(nn.Identity(), torch.eye(5), torch.tensor([0, 1, 2, 0, 0])) == 3


def test_logits_that_are_not_finite_are_no_answer():
    x = torch.tensor([[1.0, float("nan")]])
    with pytest.raises(RunFailed, match="not finite"):
        correct_in(nn.Identity(), x, torch.tensor([0]))


@pytest.fixture(scope="module")
def supernet_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("s") / "s.safetensors"
    save_supernet(Supernet(replace(GLYPHS, classes=10)), path, {"recipe": {"name": "untrained"}})
    return path


def test_workers_count_what_one_process_counts(supernet_file):
    space = get_space("compofa", GLYPHS)
    archs = [space.sample(np.random.default_rng(s), 16) for s in range(3)]
    evaluator = make_evaluator(supernet_file, "digits")
    alone = [evaluator.correct(arch) for arch in archs]
    source = Source(supernet_file, "digits")
    assert list(correct_counts(evaluator, source, archs, workers=2)) == alone


def test_evaluating_leaves_the_supernet_as_it_was(supernet_file):
    evaluator = make_evaluator(supernet_file, "digits")
    before = {name: value.clone() for name, value in evaluator.supernet.state_dict().items()}
    evaluator.correct(extreme(GLYPHS, largest=False))
    after = evaluator.supernet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_another_number_of_classes_is_refused(tmp_path):
    save_supernet(Supernet(GLYPHS), tmp_path / "s.safetensors", {"recipe": {"name": "untrained"}})
    with pytest.raises(InputError, match="tells 62 classes apart, digits has 10"):
        make_evaluator(tmp_path / "s.safetensors", "digits")


def test_other_classes_of_the_same_number_are_refused(tmp_path):
    provenance = {"class_names": [*"012345678", "nine"]}
    save_supernet(Supernet(replace(GLYPHS, classes=10)), tmp_path / "s.safetensors", provenance)
    with pytest.raises(InputError, match="digits lacks the class 'nine' and has the class '9'"):
        make_evaluator(tmp_path / "s.safetensors", "digits")


def test_the_data_is_the_supernets_own_unless_given(tmp_path):
    path = tmp_path / "s.safetensors"
    net = Supernet(replace(GLYPHS, classes=10))
    save_supernet(net, path, {"recipe": {"name": "r", "data": "digits"}})
    assert open_with_data(path, None).data == "digits"
    save_supernet(net, path, {"data_source": f"imagefolder:{tmp_path}/gone"})
    with pytest.raises(InputError, match=r"trained on imagefolder:.*/gone, which is not there: say where"):
        open_with_data(path, None)
    save_supernet(net, path, {})
    with pytest.raises(InputError, match="does not say what it was trained on: give --data"):
        open_with_data(path, None)


def test_calibration_images_are_few_and_fixed(supernet_file):
    digits = load_data("digits", "train")
    one, two = (Evaluator(Supernet(GLYPHS), digits, digits, 64).calibration for _ in range(2))
    assert len(one) == 64
    np.testing.assert_array_equal(one, two)


# --- many images, many processes ---


@pytest.fixture
def streamed(monkeypatch):
    """As if no images could be kept, and two subnets shared a reading."""
    monkeypatch.setattr(evaluate, "HELD_BYTES", 0)
    monkeypatch.setattr(evaluate, "TOGETHER", 2)


class Counted(ArrayData):
    """Counts the images that are asked for."""

    def __init__(self, data):
        super().__init__(data.name, data.images, data.labels, data.class_names, data.margin)
        self.asked = 0

    def pixels(self, indices, *rest):
        self.asked += len(indices)
        return super().pixels(indices, *rest)


def test_images_that_are_not_kept_are_read_once_for_several_subnets(supernet_file, streamed):
    kept = make_evaluator(supernet_file, "digits")
    archs = [
        get_space("compofa", GLYPHS).sample(np.random.default_rng(s), r)
        for s, r in enumerate((16, 16, 16, 20))
    ]
    test = Counted(load_data("digits", "test"))
    evaluator = Evaluator(kept.supernet, kept.train, test, calibration_images=64)
    alone = [evaluator.correct(arch) for arch in archs]
    jobs = evaluator.jobs(archs)
    assert [len(job) for job in jobs] == [2, 1, 1]
    test.asked = 0
    assert [count for job in jobs for count in evaluator.correct_each(job)] == alone
    assert test.asked == 3 * 360


def test_what_is_kept_is_of_one_resolution(supernet_file, monkeypatch):
    kept = make_evaluator(supernet_file, "digits")
    test = Counted(load_data("digits", "test"))
    evaluator = Evaluator(kept.supernet, kept.train, test, calibration_images=8)
    archs = [extreme(GLYPHS, largest=False, resolution=r) for r in (16, 16, 20)]
    assert [len(job) for job in evaluator.jobs(archs)] == [1, 1, 1]
    for arch in archs:
        evaluator.correct(arch)
    assert test.asked == 2 * 360
    assert evaluator._held[0] == evaluator._calibration[0] == 20


def test_large_images_come_in_small_batches(supernet_file):
    kept = make_evaluator(supernet_file, "digits")
    assert [len(spec.indices) for spec in kept._specs(range(300), 64)] == [256, 44]
    assert {len(spec.indices) for spec in kept._specs(range(320), 128)} == {32}


def test_the_estimate_is_the_sum_of_its_parts(supernet_file, monkeypatch):
    evaluator = make_evaluator(supernet_file, "digits")
    archs = [extreme(GLYPHS, largest=False, resolution=r) for r in (16, 16, 20)]
    assert 0 < evaluator.estimated_s(archs) < 600
    monkeypatch.setattr(Evaluator, "_probe", lambda self, arch: (0.001, 0.01))
    # three readings, and each subnet on 360 test and 512 calibration images
    assert evaluator.estimated_s(archs) == pytest.approx(3 * 360 * 0.001 + 3 * (360 + 512) * 0.01)


def test_processes_share_the_subnets_and_all_get_all_counts(tmp_path, streamed, monkeypatch, in_processes):
    """Without a network: each subnet's count is a number of its own."""
    archs = [
        get_space("compofa", GLYPHS).sample(np.random.default_rng(s), 16 if s < 5 else 20) for s in range(6)
    ]
    numbers = {str(arch): 7 * n for n, arch in enumerate(archs)}
    digits = load_data("digits", "test")
    torch.manual_seed(0)
    measured = []

    def correct_each(self, job):
        measured.extend(map(str, job))
        return [numbers[str(arch)] for arch in job]

    monkeypatch.setattr(Evaluator, "correct_each", correct_each)
    evaluator = Evaluator(Supernet(replace(GLYPHS, classes=10)), digits, digits)

    def work(rank):
        world = World.joined()
        todo = world.from_first(archs if rank == 0 else [])
        assert list(shared_counts(evaluator, todo, world)) == list(numbers.values())
        (tmp_path / f"{rank}").write_text("\n".join(measured))

    in_processes(3, tmp_path / "meeting", work)
    shares = [(tmp_path / f"{rank}").read_text().split() for rank in range(3)]
    assert [len(share) for share in shares] == [3, 2, 1]
    assert sorted(name for share in shares for name in share) == sorted(numbers)


def test_the_normalisation_is_that_of_the_training(tmp_path, monkeypatch):
    from compofa import opened

    seen = []
    digits = load_data("digits", "train")
    monkeypatch.setattr(opened, "load_data", lambda *arguments: seen.append(arguments[3]) or digits)
    path = tmp_path / "s.safetensors"
    for provenance, expected in (({}, "plain"), ({"normalisation": "imagenet"}, "imagenet")):
        save_supernet(Supernet(replace(GLYPHS, classes=10)), path, {"data_source": "digits", **provenance})
        open_with_data(path, None)
        assert seen[-1] == expected
    save_supernet(
        Supernet(replace(GLYPHS, classes=10)), path, {"data_source": "digits", "normalisation": "odd"}
    )
    with pytest.raises(InputError, match="normalised by 'odd', which is unknown"):
        open_with_data(path, None)
