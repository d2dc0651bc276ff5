"""Mappers against torch's own layers, and checkpoints that are refused."""

import itertools

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.rank.mappers import load_mappers, product
from safetensors.torch import save_file

ROWS = (10 * np.random.default_rng(0).standard_normal((50, 24))).astype(np.float16)


def batch_norm(width, affine):
    layer = torch.nn.BatchNorm1d(width, affine=affine)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.1, 2)
    if affine:
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return layer


def mlp(widths):
    """Numbered as in the published files: layer l at 4 l, its normalization after it."""
    modules, last = torch.nn.ModuleDict(), len(widths) - 2
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        modules[str(4 * layer)] = torch.nn.Linear(inputs, outputs, bias=False)
        modules[str(4 * layer + 1)] = batch_norm(outputs, affine=layer < last)
        if layer < last:
            modules[str(4 * layer + 2)] = torch.nn.ReLU()
    return modules


LAYER_NORMS = ["layer norm first", "layer norm before each", "FastGDA's names"]


class FastGda(torch.nn.Module):
    """The network of FastGDA's weights, in its names; `has_norm`: whether features are normalized first."""

    def __init__(self, has_norm):
        super().__init__()
        self.input_norm = torch.nn.LayerNorm(24) if has_norm else torch.nn.Identity()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(*sizes) for sizes in ((24, 30), (30, 20), (20, 12))])
        self.output_layer = torch.nn.Linear(12, 9)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter)

    def forward(self, rows):
        rows = self.input_norm(rows)
        for layer in self.layers:
            rows = layer(rows).relu()
        return self.output_layer(rows)


def layer_norm_mlp(between):
    """Numbered: a layer normalization first, or before each linear layer."""
    modules, widths = [], [24, 30, 20, 12, 9]
    for number, sizes in enumerate(itertools.pairwise(widths)):
        norm = [torch.nn.LayerNorm(sizes[0])] if between or not number else []
        modules += [*norm, torch.nn.Linear(*sizes), torch.nn.ReLU()] if number < 3 else [torch.nn.Linear(*sizes)]
    network = torch.nn.Sequential(*modules)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network


def networks(kind):
    torch.manual_seed(3)
    if kind.startswith("layer norm"):
        return [layer_norm_mlp(kind.endswith("each")) for _ in range(2)]
    if kind == "FastGDA's names":
        return [FastGda(True), FastGda(False)]
    if kind == "linear":
        return [torch.nn.Linear(24, 24), torch.nn.Linear(24, 24)]
    if kind == "no bias":
        return [torch.nn.Linear(24, 7, bias=False), torch.nn.Linear(24, 7, bias=False)]
    widths = {"mlp": [24, 16, 8], "deep mlp": [24, 70, 130, 5]}[kind]
    return [mlp(widths), mlp(widths)]


def forward(network, rows):
    rows = torch.from_numpy(rows.astype(np.float64))
    network = network.double().eval()
    with torch.inference_mode():
        for layer in network.values() if isinstance(network, torch.nn.ModuleDict) else [network]:
            rows = layer(rows)
    return rows.numpy()


def save(path, real, synth):
    torch.save({"real_mapper": real, "synth_mapper": synth}, path)
    return path


@pytest.mark.parametrize("kind", ["linear", "no bias", "mlp", "deep mlp", *LAYER_NORMS])
def test_a_mapper_is_what_torch_computes(tmp_path, kind):
    made = networks(kind)
    loaded = load_mappers(save(tmp_path / "m.pth", *(network.state_dict() for network in made)))
    for mapper, network in zip(loaded, made, strict=True):
        np.testing.assert_allclose(mapper(ROWS), forward(network, ROWS), rtol=1e-11, atol=1e-11)
    assert not np.allclose(loaded[0](ROWS), loaded[1](ROWS))


@pytest.mark.parametrize("has_norm", [True, False])
def test_fastgdas_weights_are_one_map_for_both_sides(tmp_path, has_norm):
    """As it saves them: one state dict, its mapper below `mlp.`, beside scale and bias of its predictions."""
    torch.manual_seed(1)
    network = FastGda(has_norm)
    state = {"scale": torch.full((1,), -3.0), "bias": torch.ones(1)}
    state |= {f"mlp.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "m.pth")
    for mapper in load_mappers(tmp_path / "m.pth"):
        np.testing.assert_allclose(mapper(ROWS), forward(network, ROWS), rtol=1e-11, atol=1e-11)
    torch.save({**state, "mlp.gate.weight": torch.zeros(3)}, tmp_path / "m.pth")
    with pytest.raises(InputError, match="unknown tensor 'gate.weight'; expected `input_norm`"):
        load_mappers(tmp_path / "m.pth")


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"no"), lambda path: path.unlink(), lambda path: None])
def test_safetensors_are_read_or_refused_by_name(tmp_path, spoil):
    path = tmp_path / "m.safetensors"
    tensors = {f"{side}.weight": torch.eye(24) * 2 for side in ("real_mapper", "synth_mapper")}
    save_file(tensors, path, {"provenance": '{"trained_on": null}'})
    assert np.array_equal(load_mappers(path)[1](ROWS), ROWS.astype(np.float64) * 2)
    save_file({"x": torch.eye(2)}, path)
    spoil(path)
    with pytest.raises(InputError, match=r"m\.safetensors: .*(readable safetensors|does not exist|found \['x'\])"):
        load_mappers(path)


def test_what_a_checkpoint_says_of_its_training_has_a_form(tmp_path):
    torch.save({"real_mapper": LINEAR, "synth_mapper": LINEAR, "trained_on": "everything"}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"m\.pth: trained_on is 'everything'; expected extractor, benchmark, train"):
        load_mappers(tmp_path / "m.pth")


def test_a_channel_mapper_scales(tmp_path):
    weights = [torch.rand(1, 24), torch.rand(1, 24)]
    loaded = load_mappers(save(tmp_path / "m.pth", *({"weights": w} for w in weights)))
    for mapper, w in zip(loaded, weights, strict=True):
        assert np.array_equal(mapper(ROWS), ROWS.astype(np.float64) * w.double().numpy())


@pytest.mark.parametrize("kind", ["linear", "deep mlp", *LAYER_NORMS])
def test_threads_and_blocks_do_not_change_a_bit(tmp_path, kind):
    mapper, _ = load_mappers(save(tmp_path / "m.pth", *(network.state_dict() for network in networks(kind))))
    whole = mapper(ROWS)
    assert mapper(ROWS, threads=3).tobytes() == whole.tobytes()
    assert np.concatenate([mapper(ROWS[:1]), mapper(ROWS[1:30]), mapper(ROWS[30:])]).tobytes() == whole.tobytes()


@pytest.mark.parametrize(("d", "p"), [(1, 1), (3, 64), (4, 65), (67, 130)])
def test_the_product_sums_in_index_order_and_rounds_each_step(d, p):
    rng = np.random.default_rng(d)
    rows, weight = rng.standard_normal((5, d)), rng.standard_normal((d, p))
    expected = np.zeros((5, p))
    for i in range(d):
        expected = expected + rows[:, i, None] * weight[i]
    assert np.array_equal(product(rows, weight), expected)


def norm(number, width, variance=1.0):
    """The tensors of a batch normalization, as the layer `number`."""
    tensors = {"running_mean": torch.zeros(width), "running_var": torch.full((width,), variance)}
    return {f"{number}.{name}": tensor for name, tensor in tensors.items()}


def flip_a_bit(path):
    """Save a mapper in which a weight is another one than when it was saved."""
    save(path, {"weight": torch.full((4, 24), 0.5)}, LINEAR)
    content = path.read_bytes()
    path.write_bytes(content.replace(torch.tensor(0.5).numpy().tobytes(), torch.tensor(0.75).numpy().tobytes(), 1))


def test_a_file_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        save(tmp_path / "mapper.pth", LINEAR, LINEAR)
    finally:
        torch.serialization.set_crc32_options(True)
    load_mappers(tmp_path / "mapper.pth")


LINEAR = {"weight": torch.zeros(4, 24), "bias": torch.zeros(4)}
BAD = {
    "no dict": (lambda path: torch.save([1], path), "found list; expected a dict"),
    "one side": (lambda path: torch.save({"real_mapper": LINEAR}, path), "expected a dict with the state dicts"),
    "pickle": (lambda path: torch.save({"real_mapper": path}, path), "not a file of plain tensors"),
    "bit": (flip_a_bit, "its part .*data/0 is damaged .wrong checksum.; expected a mapper's checkpoint"),
    "garbage": (lambda path: path.write_bytes(b"x" * 50), "not a file of plain tensors"),
    "bias": (lambda path: save(path, {**LINEAR, "bias": torch.zeros(5)}, LINEAR), "bias is .5.; expected .4."),
    "nan": (lambda path: save(path, {"weight": torch.full((4, 24), torch.nan)}, LINEAR), "weight holds NaN"),
    "unknown": (lambda path: save(path, {"conv.weight": torch.zeros(4, 24)}, LINEAR), "unknown tensor 'conv.weight'"),
    "chain": (
        lambda path: save(path, {"0.weight": torch.zeros(4, 24), "1.weight": torch.zeros(3, 5)}, LINEAR),
        "layers are linear, linear; expected one linear layer",
    ),
    "width": (
        lambda path: save(
            path, {"0.weight": torch.zeros(4, 24), **norm(1, 4), "2.weight": torch.zeros(3, 5), **norm(3, 3)}, LINEAR
        ),
        r"weight is \[3, 5\]; expected \[p, 4\]",
    ),
    "variance": (
        lambda path: save(path, {"0.weight": torch.zeros(4, 24), **norm(1, 4, -1.0)}, LINEAR),
        "variance of batch normalization is negative",
    ),
    "channel": (
        lambda path: save(path, {"weights": torch.ones(4, 6)}, LINEAR),
        r"weights is \[4, 6\]; expected \[1, d\]",
    ),
    "complex": (lambda path: save(path, {"weight": torch.zeros(4, 24, dtype=torch.complex64)}, LINEAR), "is complex64"),
    "empty": (lambda path: path.write_bytes(b""), "is empty; expected the whole file"),
    "text": (lambda path: path.write_text("hello world, this is text"), "not a file of plain tensors"),
    "norm": (
        lambda path: save(path, {"0.weight": torch.zeros(4, 24), "1.running_mean": torch.zeros(5)}, LINEAR),
        "batch normalization has",
    ),
    "sides differ": (lambda path: save(path, LINEAR, {"weight": torch.zeros(5, 24)}), "expected the same"),
    "missing": (lambda path: None, "the file does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_is_refused_by_name(tmp_path, name):
    spoil, message = BAD[name]
    spoil(tmp_path / "m.pth")
    with pytest.raises(InputError, match=rf"m\.pth.*{message}"):
        load_mappers(tmp_path / "m.pth")


def test_parameters_are_taken_as_tensors(tmp_path):
    state = {"weight": torch.nn.Parameter(torch.ones(4, 24))}
    mapper, _ = load_mappers(save(tmp_path / "m.pth", state, state))
    assert mapper(ROWS).shape == (50, 4)


def test_features_of_another_dimension_are_refused(tmp_path):
    mapper, _ = load_mappers(save(tmp_path / "m.pth", LINEAR, LINEAR))
    with pytest.raises(InputError, match="maps 24 dimensions; the features have 7"):
        mapper(ROWS[:, :7])
