"""A base and any number of task vectors, summed in one pass.

    out = round(base + c_1 T_1 + c_2 T_2 + ... + residuals)

Each product and each sum is rounded to float32, in the order given: no fused multiply-add, whose
use depends on vector width and compiler. So all ways of computing it give the same bits, whatever
the number of threads and wherever a tensor is cut: on a CPU a loop of our own, on a GPU a kernel of
`torch.compile`, and plain operations everywhere. What is compiled is used only after it has shown
that on a sample.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor

from evolution.materialise.native import Range, proven_loop, takes
from memory.messages import first_line

_log = logging.getLogger(__name__)

_CACHED = {"cpu": 1 << 17, "cuda": 1 << 22}
"""Elements of which two float32 buffers stay in the cache of such a device."""

_LARGE = 1 << 16
"""Elements from which a compiled kernel's call is cheaper than the plain one's."""

_MOST_VECTORS = 6
"""Task vectors for which a kernel is compiled, each number of them once."""

_SAMPLE = (1 << 16) + 37

Kernel = Callable[..., None]


def combine(given: Range, fused: bool) -> None:
    """`out = base + sum_i c_i T_i + residuals + product`, in float32, rounded once if need be.

    Args:
        given: what is summed, and where it goes.
        fused: whether something may be compiled for this.
    """
    out, base, vectors, coefficients, _, _, product = given
    if not vectors and product is None:
        out.copy_(base)
        return
    if fused and takes(out, base, *vectors):
        loop = proven_loop(_combine_plainly)
        if loop is not None:
            loop([given])
            return
    kernel = None
    total = _widened(out, product)
    worthwhile = fused and 0 < len(vectors) <= _MOST_VECTORS and total.numel() >= _LARGE
    if worthwhile and out.is_cuda and all(each.dtype == torch.bfloat16 for each in vectors):
        kernel = _kernel(len(vectors), out.device, total.dtype, base.dtype)
    if kernel is None:
        _combine_in_cache(total, base, vectors, coefficients)
    else:
        kernel(total, base, _on(out.device, coefficients), *vectors)
    _finish(given, total)


def combine_all(ranges: Sequence[Range]) -> None:
    """Sum many ranges, of which none is written that another one reads.

    Where there is a compiled loop for them, it is called once: between a model's hundreds of
    tensors memory would wait for Python.
    """
    # Without ranges nothing is worth a compiler's second.
    if ranges and all(takes(each.out, each.base, *each.vectors) for each in ranges):
        loop = proven_loop(_combine_plainly)
        if loop is not None:
            loop(ranges)
            return
    for each in ranges:
        combine(each, fused=True)


def adds_in_one_pass(*tensors: Tensor) -> bool:
    """Whether residuals of such tensors take no memory of their own: a compiled loop adds them."""
    return takes(*tensors) and proven_loop(_combine_plainly) is not None


def _combine_plainly(given: Range) -> None:
    total = _widened(given.out, given.product)
    _combine_in_cache(total, given.base, given.vectors, given.coefficients)
    _finish(given, total)


def _widened(out: Tensor, product: Tensor | None) -> Tensor:
    """Where to sum what is rounded last of all: in float32, if a product is still to come."""
    if product is None or out.dtype == torch.float32:
        return out
    return torch.empty_like(out, dtype=torch.float32)


def _finish(given: Range, total: Tensor) -> None:
    """Add the rest to base and task vectors."""
    _make_exact(total, given)
    if given.product is not None:
        total.add_(given.product)
    if total is not given.out:
        given.out.copy_(total)


def _combine_in_cache(
    out: Tensor, base: Tensor, vectors: Sequence[Tensor], coefficients: Sequence[float]
) -> None:
    """The plain way: chunk by chunk, so that only the arguments travel to and from memory."""
    step = min(len(out), _CACHED.get(out.device.type, 1 << 20))
    buffer = torch.empty(2 * step, dtype=torch.float32, device=out.device)
    for start in range(0, len(out), step):
        target = out[start : start + step]
        total = target if out.dtype == torch.float32 else buffer[: len(target)]
        term = buffer[step : step + len(target)]
        total.copy_(base[start : start + step])
        for vector, coefficient in zip(vectors, coefficients, strict=True):
            # A scaled addition would fuse multiply and add on some processors.
            term.copy_(vector[start : start + step])
            total.add_(term.mul_(coefficient))
        if total is not target:
            target.copy_(total)


def _make_exact(out: Tensor, given: Range) -> None:
    """Add residuals; where the sums are rounded already, sum again the elements that have some."""
    _, base, vectors, coefficients, residuals, start, _ = given
    # Scaled beforehand: an addition with a factor fuses the two on some processors.
    if out.dtype == torch.float32:
        for coefficient, index, residual in residuals:
            out.index_add_(0, index - start, coefficient * residual)
        return
    if not residuals:
        return
    places = torch.cat([index for _, index, _ in residuals]) - start
    if len(residuals) > 1:
        places = torch.unique(places)
    total = torch.empty(len(places), dtype=torch.float32, device=places.device)
    _combine_in_cache(total, base[places], [vector[places] for vector in vectors], coefficients)
    for coefficient, index, residual in residuals:
        where = torch.searchsorted(places, index - start)
        total.index_add_(0, where, coefficient * residual)
    out.index_copy_(0, places, total.to(out.dtype))


def _sum(out: Tensor, base: Tensor, coefficients: Tensor, *vectors: Tensor) -> None:
    """What is compiled."""
    total = base.float()
    for index, vector in enumerate(vectors):
        total = total + coefficients[index] * vector.float()
    out.copy_(total)


@functools.lru_cache(maxsize=64)
def _kernel(count: int, device: torch.device, out: torch.dtype, base: torch.dtype) -> Kernel | None:
    """A compiled `_sum` of that many vectors; None where none can be made."""
    plain = cast(Any, _sum)
    # A code object of its own: PyTorch counts recompilations by code object, up to a limit.
    code = plain.__code__.replace(co_name=f"sum_of_{count}_{device.type}")
    function = FunctionType(code, plain.__globals__)
    # Else Inductor lets Triton fuse multiply and add.
    options: dict[str, Any] = {"emulate_precision_casts": True} if device.type == "cuda" else {}
    compiled = torch.compile(function, dynamic=True, fullgraph=True, options=options or None)
    sample, vectors, coefficients = _sample(count, device, base)
    expected, found = (torch.empty(_SAMPLE, dtype=out, device=device) for _ in range(2))
    _combine_in_cache(expected, sample, vectors, coefficients)
    try:
        compiled(found, sample, _on(device, coefficients), *vectors)
    except (RuntimeError, OSError) as error:
        _log.info("experts are summed without a compiled kernel: %s", first_line(error))
        return None
    if not torch.equal(found, expected):
        _log.info("experts are summed without a compiled kernel: it rounds differently")
        return None
    return cast(Kernel, compiled)


def _sample(
    count: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, list[Tensor], list[float]]:
    generator = torch.Generator().manual_seed(count)
    drawn = [torch.randn(_SAMPLE, generator=generator).to(device) for _ in range(count + 1)]
    coefficients = torch.randn(count, generator=generator).tolist()
    return drawn[0].to(dtype), [each.to(torch.bfloat16) for each in drawn[1:]], coefficients


def _on(device: torch.device, coefficients: Sequence[float]) -> Tensor:
    return torch.tensor(coefficients, dtype=torch.float32, device=device)
