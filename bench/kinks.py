"""How far rounding alone may change the gradient of W8: what its units at relu's kink decide.

    python bench/kinks.py ../shared/peers [--units 14]

Works in double precision on the problem of `peers.py`. Of all inputs of relu it takes those that lie
closest to 0, gives one unit at a time the other slope, and prints how much of the gradient of all
parameters that changes. Single precision cannot tell on which side of the kink a unit lies whose
input is below the rounding of its sum, about 10⁻⁶ here.
"""

import argparse
import sys

import torch
import torch.nn.functional as F


class Relu(torch.autograd.Function):
    """max(z, 0), with the other slope at one unit."""

    @staticmethod
    def forward(ctx, z, unit):
        slope = z > 0
        if unit is not None:
            slope.view(-1)[unit] ^= True
        ctx.save_for_backward(slope)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, bar):
        (slope,) = ctx.saved_tensors
        return bar * slope, None


def gradient(problem, turned=(None, None), nearest=0):
    """The gradient of the parameters, with one unit (layer, index) turned; and the units nearest to
    the kink: (|z|, layer, index)."""
    theta, x, loss = problem
    near = []
    for layer, (w1, g1, b1, w2, g2, b2) in enumerate(theta):
        z = F.batch_norm(F.conv2d(x, w1, padding=1), None, None, g1, b1, training=True)
        if nearest:
            sizes, units = z.detach().abs().flatten().topk(nearest, largest=False)
            near += zip(sizes.tolist(), [layer] * nearest, units.tolist())
        hidden = Relu.apply(z, turned[1] if layer == turned[0] else None)
        y = F.batch_norm(F.conv2d(hidden, w2, padding=1), None, None, g2, b2, training=True)
        x = x + y / len(theta)
    parameters = [tensor for tensors in theta for tensor in tensors]
    parts = torch.autograd.grad(loss(x), parameters)
    return torch.cat([part.flatten() for part in parts]), sorted(near)[:nearest]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", help="folder of peers.py")
    parser.add_argument("--units", type=int, default=14, help="how many units to turn")
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.peers)
    import peers

    _, theta, x = peers.torch_tensors("W8", "nchw", torch.float64)
    _, loss = peers.torch_pieces(peers.WORKLOADS["W8"])
    problem = (theta, x, loss)
    plain, near = gradient(problem, nearest=arguments.units)
    print("| input of relu | layer | change of the gradient |\n| ---: | ---: | ---: |")
    for size, layer, unit in near:
        turned, _ = gradient(problem, (layer, unit))
        change = (turned - plain).norm() / plain.norm()
        print(f"| {size:.1e} | {layer} | {change:.1e} |", flush=True)


if __name__ == "__main__":
    main()
