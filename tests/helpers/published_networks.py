"""The networks of the published extractors in plain tensor operations, and weights files as they were published.

Nothing here asks timm, open_clip or torchvision how a network works: names, shapes and operations are written out, so that
an extractor which equals them loads the published files and computes what those networks compute. Weights are drawn.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

LAYERS, WIDTH, HEADS = 12, 768, 12
_VIT = ("norm1.", "attn.qkv.", "attn.proj.", "norm2.", "mlp.fc1.", "mlp.fc2.")
_CLIP = ("ln_1.", "attn.in_proj_", "attn.out_proj.", "ln_2.", "mlp.c_fc.", "mlp.c_proj.")


# --- weights -----------------------------------------------------------------------------------------------------------


def draw(shapes, seed):
    """Return a tensor for each name: norms near one, biases near zero, all else so that activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("bias"):
            state[name] = 0.1 * noise
        elif len(shape) == 1 and name.endswith("weight"):
            state[name] = 1 + 0.1 * noise
        else:
            state[name] = noise / math.sqrt(math.prod(shape[1:]) or 1)
    return state


def _linear(name, outputs, inputs):
    return {f"{name}weight": (outputs, inputs), f"{name}bias": (outputs,)}


def _norm(name, width):
    return {f"{name}weight": (width,), f"{name}bias": (width,)}


def _block(prefix, names, width):
    norm1, qkv, out, norm2, up, down = (prefix + name for name in names)
    attention = {**_linear(qkv, 3 * width, width), **_linear(out, width, width)}
    mlp = {**_linear(up, 4 * width, width), **_linear(down, width, 4 * width)}
    return {**_norm(norm1, width), **attention, **_norm(norm2, width), **mlp}


def vit_shapes(tokens, layers=LAYERS, width=WIDTH, patch=16):
    """Return a vision transformer without classifier, as DINO, MoCo v3 and timm name its tensors."""
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, tokens, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, patch, patch), "patch_embed.proj.bias": (width,)}
    for layer in range(layers):
        shapes |= _block(f"blocks.{layer}.", _VIT, width)
    return shapes | _norm("norm.", width)


def clip_shapes(size=224, patch=32, layers=LAYERS, width=WIDTH, text_width=512, vocabulary=49408, dimension=512):
    """OpenAI's CLIP, both towers."""
    shapes = {"positional_embedding": (77, text_width), "text_projection": (text_width, dimension), "logit_scale": ()}
    shapes |= {"visual.class_embedding": (width,), "visual.proj": (width, dimension)}
    shapes |= {"visual.positional_embedding": ((size // patch) ** 2 + 1, width)}
    shapes |= {"visual.conv1.weight": (width, 3, patch, patch), **_norm("visual.ln_pre.", width)}
    for layer in range(layers):
        shapes |= _block(f"visual.transformer.resblocks.{layer}.", _CLIP, width)
        shapes |= _block(f"transformer.resblocks.{layer}.", _CLIP, text_width)
    shapes |= {"token_embedding.weight": (vocabulary, text_width)}
    return shapes | _norm("visual.ln_post.", width) | _norm("ln_final.", text_width)


def sincos_positions(side=14, width=WIDTH):
    """MoCo v3's fixed position embedding [1, 1 + side^2, width]: a zero row for the class token, then row and column."""
    frequency = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    row, column = np.divmod(np.arange(side * side), side)
    parts = [f(np.outer(place, frequency)) for place in (row, column) for f in (np.sin, np.cos)]
    return torch.tensor(np.concatenate([np.zeros((1, width)), np.hstack(parts)])[None], dtype=torch.float32)


# --- files -------------------------------------------------------------------------------------------------------------


def moco_checkpoint(state):
    """Return what MoCo v3's training saves: both encoders with projectors, the predictor, the optimizer's state."""
    head = draw({"head.0.weight": (4096, 768), "head.1.weight": (4096,), "head.1.bias": (4096,)}, 9)
    head |= {"head.1.running_mean": torch.zeros(4096), "head.1.num_batches_tracked": torch.tensor(5)}
    base = {f"module.base_encoder.{name}": tensor for name, tensor in (state | head).items()}
    # One value for a whole tensor: another network, in a small file.
    momentum = {name.replace("base", "momentum"): torch.zeros(()).expand(t.shape) for name, t in base.items()}
    predictor = {"module.predictor.0.weight": torch.zeros(()).expand(4096, 256)}
    optimizer = {"state": {0: {"mu": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {
        "epoch": 300,
        "arch": "vit_base",
        "state_dict": {**base, **momentum, **predictor},
        "optimizer": optimizer,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
    }


class _Tree(torch.nn.Module):
    def forward(self, image):
        return image


def clip_archive(state, size=224, vocabulary=49408):
    """Return a TorchScript archive with the tensors of `state`, and beside them the three sizes that OpenAI's files hold."""
    top = _Tree()
    for name, tensor in state.items():
        module, *rest = top, *name.split(".")
        for part in rest[:-1]:
            if part not in module._modules:
                module.add_module(part, _Tree())
            module = module._modules[part]
        module.register_parameter(rest[-1], torch.nn.Parameter(tensor, requires_grad=False))
    for name, value in {"input_resolution": size, "context_length": 77, "vocab_size": vocabulary}.items():
        top.register_buffer(name, torch.tensor(value))
    return torch.jit.script(top)


def in_half_precision(state):
    """Matrices and their biases in float16, norms and embeddings in float32: as OpenAI's files have them."""
    full = ("ln_", "class_embedding", "positional_embedding", "token_embedding", "logit_scale")
    return {name: t if any(part in name for part in full) else t.half() for name, t in state.items()}


def vit_archive(state, heads=HEADS):
    """Return the arrays of an original ViT archive (.npz) with the tensors of `state`, which has a classifier `head.`."""
    s = {name: tensor.numpy() for name, tensor in state.items()}
    width = s["cls_token"].shape[-1]
    arrays = {"cls": s["cls_token"], "Transformer/posembed_input/pos_embedding": s["pos_embed"]}
    arrays |= {"embedding/kernel": s["patch_embed.proj.weight"].transpose(2, 3, 1, 0)}
    arrays |= {"embedding/bias": s["patch_embed.proj.bias"], "head/bias": s["head.bias"]}
    arrays |= {"head/kernel": s["head.weight"].T, "Transformer/encoder_norm/scale": s["norm.weight"]}
    arrays |= {"Transformer/encoder_norm/bias": s["norm.bias"]}
    for layer in range(sum(name.endswith("norm1.weight") for name in s)):
        theirs, ours = f"Transformer/encoderblock_{layer}/", f"blocks.{layer}."
        for norm, name in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            arrays |= {
                f"{theirs}{norm}/scale": s[f"{ours}{name}.weight"],
                f"{theirs}{norm}/bias": s[f"{ours}{name}.bias"],
            }
        attention = theirs + "MultiHeadDotProductAttention_1/"
        matrices, biases = np.split(s[f"{ours}attn.qkv.weight"], 3), np.split(s[f"{ours}attn.qkv.bias"], 3)
        for part, matrix, bias in zip(("query", "key", "value"), matrices, biases, strict=True):
            arrays |= {f"{attention}{part}/kernel": matrix.T.reshape(width, heads, -1)}
            arrays |= {f"{attention}{part}/bias": bias.reshape(heads, -1)}
        arrays |= {f"{attention}out/kernel": s[f"{ours}attn.proj.weight"].T.reshape(heads, -1, width)}
        arrays |= {f"{attention}out/bias": s[f"{ours}attn.proj.bias"]}
        for dense, name in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
            arrays |= {f"{theirs}MlpBlock_3/{dense}/kernel": s[f"{ours}mlp.{name}.weight"].T}
            arrays |= {f"{theirs}MlpBlock_3/{dense}/bias": s[f"{ours}mlp.{name}.bias"]}
    return arrays


class Sscd(torch.nn.Module):
    """Hold the descriptor as its TorchScript file has it: ResNet-50, generalized mean pooling, a projection, unit length."""

    def __init__(self):
        super().__init__()
        from torchvision.models import resnet50

        self.backbone = resnet50()
        self.backbone.avgpool = torch.nn.Identity()
        self.backbone.fc = torch.nn.Identity()
        self.embeddings = torch.nn.Linear(2048, 512)
        generator = torch.Generator().manual_seed(5)
        for name, buffer in self.backbone.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.backbone(x).view(x.size(0), 2048, x.size(2) // 32, x.size(3) // 32)
        x = F.avg_pool2d(x.clamp(min=1e-6).pow(3.0), (x.size(2), x.size(3))).pow(1.0 / 3.0).flatten(1)
        return F.normalize(self.embeddings(x))


# --- forward passes, in float64 ----------------------------------------------------------------------------------------


def _get(state, name):
    return state[name].double()


def _layer_norm(x, state, name, eps):
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred / scale * _get(state, name + "weight") + _get(state, name + "bias")


def _project(x, state, name):
    return x @ _get(state, name + "weight").T + _get(state, name + "bias")


def _attend(x, state, qkv, out):
    b, n, width = x.shape
    q, k, v = _project(x, state, qkv).reshape(b, n, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-1, -2) / math.sqrt(width // HEADS)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    mixed = weights / weights.sum(-1, keepdim=True) @ v
    return _project(mixed.transpose(1, 2).reshape(b, n, width), state, out)


def _transform(x, state, prefix, names, activation, eps):
    for layer in range(LAYERS):
        norm1, qkv, out, norm2, up, down = (f"{prefix}{layer}.{name}" for name in names)
        x = x + _attend(_layer_norm(x, state, norm1, eps), state, qkv, out)
        x = x + _project(activation(_project(_layer_norm(x, state, norm2, eps), state, up)), state, down)
    return x


def _patches(images, kernel):
    """[b, 3, h, w] cut into patches, row by row, times the kernel [width, 3, p, p]: [b, patches, width]."""
    b, p = len(images), kernel.shape[-1]
    cut = images.reshape(b, 3, images.shape[2] // p, p, images.shape[3] // p, p).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(b, -1, 3 * p * p) @ kernel.reshape(len(kernel), -1).T


def _gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _quick_gelu(x):
    return x / (1 + torch.exp(-1.702 * x))


def vit_forward(images, state):
    """Return the class token after the last norm: [b, 3, h, w] -> [b, 768]."""
    x = _patches(images, _get(state, "patch_embed.proj.weight")) + _get(state, "patch_embed.proj.bias")
    x = torch.cat([_get(state, "cls_token").expand(len(x), -1, -1), x], 1) + _get(state, "pos_embed")
    x = _transform(x, state, "blocks.", _VIT, _gelu, 1e-6)
    return _layer_norm(x[:, 0], state, "norm.", 1e-6)


def clip_forward(images, state):
    """Return the image embedding: [b, 3, 224, 224] -> [b, 512]."""
    x = _patches(images, _get(state, "visual.conv1.weight"))
    x = torch.cat([_get(state, "visual.class_embedding").expand(len(x), 1, -1), x], 1)
    x = _layer_norm(x + _get(state, "visual.positional_embedding"), state, "visual.ln_pre.", 1e-5)
    x = _transform(x, state, "visual.transformer.resblocks.", _CLIP, _quick_gelu, 1e-5)
    return _layer_norm(x[:, 0], state, "visual.ln_post.", 1e-5) @ _get(state, "visual.proj")


def _convolve(x, state, conv, norm, stride=1, padding=0):
    x = F.conv2d(x, _get(state, conv + ".weight"), stride=stride, padding=padding)
    mean, variance, weight, bias = (
        _get(state, f"{norm}.{name}").view(1, -1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def sscd_forward(images, state):
    """Return the descriptor: [b, 3, 288, 288] -> [b, 512], of unit length."""
    x = _convolve(images, state, "backbone.conv1", "backbone.bn1", stride=2, padding=3).clamp(min=0)
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            name, stride = f"backbone.layer{stage}.{block}.", 2 if block == 0 and stage > 1 else 1
            y = _convolve(x, state, name + "conv1", name + "bn1").clamp(min=0)
            y = _convolve(y, state, name + "conv2", name + "bn2", stride, padding=1).clamp(min=0)
            y = _convolve(y, state, name + "conv3", name + "bn3")
            if block == 0:
                x = _convolve(x, state, name + "downsample.0", name + "downsample.1", stride)
            x = (x + y).clamp(min=0)
    x = x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
    x = _project(x, state, "embeddings.")
    return x / x.square().sum(1, keepdim=True).sqrt()
