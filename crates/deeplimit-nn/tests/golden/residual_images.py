"""Writes residual_images.json: outputs, loss, gradients and running statistics of small residual networks of
images in PyTorch, double precision, with weights from a formula.

    python3 residual_images.py > residual_images.json
"""

import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

SAMPLES, CLASSES = 18, 3


def numbers(shape, key, scale=1.0, shift=0.0):
    """shift + scale · sin(0.7 i + key): row-major."""
    count = math.prod(shape)
    values = [shift + scale * math.sin(0.7 * i + key) for i in range(count)]
    return torch.tensor(values).float().double().reshape(shape)


class Network:
    def __init__(self, size):
        self.size, self.parameters, self.running, self.key = size, {}, {}, 0

    def parameter(self, name, shape, scale, shift=0.0):
        """One value a layer of a flow comes from `stack`, everything else from here."""
        if name not in self.parameters:
            self.key += 1
            self.parameters[name] = numbers(shape, self.key, scale, shift).requires_grad_()
        return self.parameters[name]

    def norm(self, name, x, gain, shift):
        """Batch statistics; remembers mean and unbiased variance."""
        mean = x.mean(dim=(0, 2, 3))
        self.running.setdefault(name, []).append(
            torch.stack([mean, x.var(dim=(0, 2, 3), unbiased=True)])
        )
        return F.batch_norm(x, None, None, gain, shift, training=True)

    def link(self, name, x, suffix, out, side, stride=1, padding=None, node=None, nodes=None, norm=True):
        padding = side // 2 if padding is None else padding
        lead = [] if nodes is None else [nodes]
        scale = 1.0 / math.sqrt(side * side * x.shape[1])
        w = self.parameter(f"{name}w{suffix}", lead + [out, x.shape[1], side, side], scale)
        w = w if nodes is None else w[node]
        y = F.conv2d(x, w, stride=stride, padding=padding)
        return self.scaled(name, y, suffix, node, nodes) if norm else y

    def scaled(self, name, x, suffix, node=None, nodes=None):
        lead = [] if nodes is None else [nodes]
        g = self.parameter(f"{name}g{suffix}", lead + [x.shape[1]], 0.3, 1.0)
        b = self.parameter(f"{name}be{suffix}", lead + [x.shape[1]], 0.2)
        if nodes is not None:
            g, b = g[node], b[node]
        return self.norm(f"{name}{suffix}", x, g, b)

    def flow(self, stage, x, order, depth, hidden, rectified=False):
        x = F.relu(x) if rectified else x
        for node in range(depth):
            name, y, channels = f"stages.{stage}.", F.relu(x), x.shape[1]
            at = {"node": node, "nodes": depth}
            if order == "conv-bn-pre":
                y = F.relu(self.link(name, y, 1, hidden, 3, **at))
                y = self.link(name, y, 2, channels, 3, **at)
            else:
                y = F.relu(self.link(name, y, 1, hidden, 1, **at))
                y = F.relu(self.link(name, y, 2, hidden, 3, **at))
                y = self.link(name, y, 3, channels, 1, **at)
            x = x + y / depth
            x = F.relu(x) if rectified else x
        return x

    def block(self, stage, x, channels, hidden, bottleneck, shortcut, stride=2):
        name, a = f"stages.{stage}.transition.", F.relu(x)
        if bottleneck:
            y = F.relu(self.link(name, a, 1, hidden, 1))
            y = F.relu(self.link(name, y, 2, hidden, 3, stride))
            y = self.link(name, y, 3, channels, 1)
        else:
            y = F.relu(self.link(name, a, 1, hidden, 3, stride))
            y = self.link(name, y, 2, channels, 3)
        if shortcut == "pad":
            new = (channels - x.shape[1]) // 2
            return y + F.pad(a[:, :, ::stride, ::stride], (0, 0, 0, 0, new, new))
        return y + self.link(f"{name}shortcut.", a, 1, channels, 1, stride)

    def full(self, name, x, hidden, channels, bottleneck, stride=1, at={}, prefix="", shortcut=None):
        """norm, relu, convolution; a first normalisation of its own name counts by itself."""
        first = F.relu(self.scaled(name + prefix, x, 1, **at))
        sizes = [(hidden, 3, stride), (channels, 3, 1)]
        if bottleneck:
            sizes = [(hidden, 1, 1), (hidden, 3, stride), (channels, 1, 1)]
        y = first
        for index, (out, side, by) in enumerate(sizes, 1):
            y = self.link(name, y, index, out, side, by, norm=False, **at)
            if index < len(sizes):
                y = F.relu(self.scaled(name, y, index if prefix else index + 1, **at))
        if shortcut == "project":
            return y + self.link(f"{name}shortcut.", first, 1, channels, 1, stride, norm=False)
        if shortcut == "raw":
            return y + self.link(f"{name}shortcut.", x, 1, channels, 1, stride, norm=False)
        if shortcut == "pad":
            new = (channels - x.shape[1]) // 2
            return y + F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, new, new))
        return y

    def full_flow(self, stage, x, depth, hidden, bottleneck):
        for node in range(depth):
            at = {"node": node, "nodes": depth}
            x = x + self.full(f"stages.{stage}.", x, hidden, x.shape[1], bottleneck, at=at) / depth
        return x

    def head(self, x):
        x = F.relu(x).mean(dim=(2, 3))
        w = self.parameter("head.linear.weight", [x.shape[1], CLASSES], 1.0 / math.sqrt(x.shape[1]))
        return x @ w + self.parameter("head.linear.bias", [CLASSES], 0.1)


def small(net, rectified=(False, False)):
    """A stem and padded shortcuts, as on CIFAR-10; relu after every step of some stages."""
    x = numbers([SAMPLES, 3, *net.size], 0.0)
    x = net.link("stages.0.transition.", x, 1, 4, 3)
    x = net.flow(0, x, "conv-bn-pre", 2, 4, rectified[0])
    x = net.block(1, x, 8, 8, False, "pad")
    x = net.flow(1, x, "conv-bn-pre", 3, 6, rectified[1])
    return net.head(x)


def large(net, rectified=False):
    """A pooled stem, bottlenecks and projections, as on ImageNet; relu after every step, or after none."""
    x = numbers([SAMPLES, 3, *net.size], 0.0)
    x = net.link("stages.0.transition.", x, 1, 4, 5, 2, 2)
    x = F.max_pool2d(F.relu(x), 3, 2, 1)
    x = net.flow(0, x, "conv-bn-pre", 1, 4, rectified)
    x = net.block(1, x, 8, 3, True, "project", 1)
    x = net.flow(1, x, "conv-bn-bottleneck", 2, 3, rectified)
    x = net.block(2, x, 12, 12, False, "project")
    x = net.flow(2, x, "conv-bn-bottleneck", 1, 4, rectified)
    return net.head(x)


def preactivation(net):
    """Pre-activation, with shortcuts of every kind, and a normalisation before the head."""
    x = numbers([SAMPLES, 3, *net.size], 0.0)
    x = net.link("stages.0.transition.", x, 1, 4, 3, norm=False)
    x = net.full("stages.0.transition.block.", x, 3, 8, True, prefix="norm.", shortcut="project")
    x = net.full_flow(0, x, 2, 3, True)
    x = net.full("stages.1.transition.", x, 10, 10, False, 2, prefix="norm.", shortcut="project")
    x = net.full_flow(1, x, 3, 6, False)
    x = net.full("stages.2.transition.", x, 12, 12, False, 1, shortcut="raw")
    x = net.full_flow(2, x, 1, 12, False)
    x = net.full("stages.3.transition.", x, 5, 16, True, 2, shortcut="pad")
    x = net.full_flow(3, x, 2, 16, False)
    return net.head(net.scaled("head.", x, 1))


def case(build, size):
    net = Network(size)
    outputs = build(net)
    labels = torch.arange(SAMPLES) % CLASSES
    loss = F.cross_entropy(outputs, labels)
    loss.backward()
    return {
        "size": size,
        "loss": loss.item(),
        "outputs": outputs[:4].detach().tolist(),
        "parameters": [
            {
                "name": name,
                "key": index + 1,
                "values": [value.detach().flatten()[0].item(), value.detach().flatten()[-1].item()],
                "norm": value.grad.norm().item(),
                "gradient": value.grad.flatten()[:5].tolist() + value.grad.flatten()[-5:].tolist(),
            }
            for index, (name, value) in enumerate(net.parameters.items())
        ],
        "met": {name: torch.stack(met).tolist() for name, met in net.running.items()},
    }


cases = {
    "small": case(small, [7, 6]),
    "large": case(large, [21, 18]),
    "preactivation": case(preactivation, [9, 7]),
    "small, the first stage rectified": case(lambda net: small(net, (True, False)), [7, 6]),
    "large, rectified": case(lambda net: large(net, True), [21, 18]),
}
print(json.dumps(cases, indent=1))
