"""The loop that sums task vectors on a CPU, compiled from `sums.cpp` by the system's C++ compiler.

The code of a graph compiler for this sum has to be called again for each piece, and cannot add
residuals while a chunk is in the cache. The loop is used only after it has shown, on samples of
every dtype, that it gives the bits of plain operations; where there is no compiler, nothing is
lost but time. Each process builds its own, in about a second: what is built for this processor
is never kept where another machine might load it.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import logging
import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from memory.messages import first_line

_log = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("sums.cpp")
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-shared", "-fPIC")
_FASTER = (("-march=native", "-fopenmp"), ("-march=native",), ("-fopenmp",), ())
"""Flags that not every compiler knows, the fastest first."""
_SAMPLE, _VECTORS = (1 << 14) + 37, 6

Residual = tuple[float, Int64[Tensor, " k"], Float[Tensor, " k"]]
"""Coefficient, places in the flattened tensor, ascending, and what is added there in float32."""


class _Numbers(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("is_wide", ctypes.c_int64))


class _Term(ctypes.Structure):
    _fields_ = (("values", _Numbers), ("coefficient", ctypes.c_double))


class _Residual(ctypes.Structure):
    _fields_ = (
        ("places", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("coefficient", ctypes.c_double),
    )


class _Range(ctypes.Structure):
    _fields_ = (
        ("out", _Numbers),
        ("base", _Numbers),
        ("terms", ctypes.POINTER(_Term)),
        ("term_count", ctypes.c_int64),
        ("residuals", ctypes.POINTER(_Residual)),
        ("residual_count", ctypes.c_int64),
        ("product", ctypes.c_void_p),
        ("start", ctypes.c_int64),
        ("size", ctypes.c_int64),
    )


class Range(NamedTuple):
    """A range of one tensor's elements, and what is summed there: all contiguous, of one device.

    Attributes:
        out: where the result goes; bf16 or float32, as all that follow.
        base: what is added to.
        vectors: task vectors.
        coefficients: one for each.
        residuals: all of them in the range; their places count from the start of the tensor.
        start: place of the first element in the tensor.
        product: float32, of this range, added last.
    """

    out: Float[Tensor, " n"]
    base: Float[Tensor, " n"]
    vectors: Sequence[Float[Tensor, " n"]]
    coefficients: Sequence[float]
    residuals: Sequence[Residual] = ()
    start: int = 0
    product: Float[Tensor, " n"] | None = None


class Loop:
    """`out = round(base + sum_i c_i T_i + residuals + product)`: one pass, on PyTorch's threads."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._sum = library.sum
        self._sum.restype = None
        self._sum.argtypes = (ctypes.POINTER(_Range), ctypes.c_int64, ctypes.c_int)

    def __call__(self, ranges: Sequence[Range]) -> None:
        """Sum ranges of any tensors in one call; none may be written that another one reads."""
        rows = [_row(each) for each in ranges]
        self._sum((_Range * len(rows))(*rows), len(rows), torch.get_num_threads())


def _row(given: Range) -> _Range:
    pairs = zip(given.vectors, given.coefficients, strict=True)
    terms = [_Term(_numbers(vector), coefficient) for vector, coefficient in pairs]
    parts = [_Residual(i.data_ptr(), r.data_ptr(), i.numel(), c) for c, i, r in given.residuals]
    return _Range(
        _numbers(given.out),
        _numbers(given.base),
        (_Term * len(terms))(*terms),
        len(terms),
        (_Residual * len(parts))(*parts),
        len(parts),
        None if given.product is None else given.product.data_ptr(),
        given.start,
        given.out.numel(),
    )


def takes(*tensors: Tensor) -> bool:
    """Whether the loop knows where such tensors are and how their numbers are written."""
    return all(
        tensor.device.type == "cpu" and tensor.dtype in (torch.bfloat16, torch.float32)
        for tensor in tensors
    )


@functools.lru_cache(maxsize=1)
def proven_loop(plain: Callable[[Range], None]) -> Loop | None:
    """The compiled loop; None where none can be made, or where it rounds otherwise.

    Args:
        plain: the same by plain operations: what the loop has to agree with, bit by bit.
    """
    try:
        loop = Loop(_compiled())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _log.info("experts are summed without a compiled loop: %s", _reason(error))
        return None
    dtypes = (torch.bfloat16, torch.float32)
    for wanted, held, wide in itertools.product(dtypes, repeat=3):
        sample = _sample(held, wide)
        multiplied = sample._replace(product=sample.vectors[-1].float() * sample.coefficients[0])
        for given in (sample, multiplied):
            expected, found = (torch.empty(_SAMPLE, dtype=wanted) for _ in range(2))
            plain(given._replace(out=expected))
            loop([given._replace(out=found)])
            if not torch.equal(found, expected):
                _log.info("experts are summed without a compiled loop: it rounds differently")
                return None
    return loop


def _compiled() -> ctypes.CDLL:
    """On OpenMP's threads where the compiler has OpenMP, else on one.

    Those are PyTorch's own where both use the same OpenMP library, as GCC and PyTorch's builds for
    Linux do.

    Raises:
        subprocess.SubprocessError: it does not compile.
        OSError: there is no compiler, or what it made cannot be loaded.
        ValueError: the environment's CXX is not a command line.
    """
    # A compiler may be named with words before and behind it: "ccache g++ -m64".
    compiler = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    with TemporaryDirectory(prefix="acdc-loop-") as folder:
        library = Path(folder) / "sums.so"
        command = [*compiler, *_FLAGS, str(_SOURCE), "-o", str(library)]
        for faster in _FASTER:
            try:
                subprocess.run([*command, *faster], check=True, capture_output=True, timeout=120)
                return ctypes.CDLL(str(library))  # stays mapped when the file is gone
            except (subprocess.CalledProcessError, OSError):
                # The linker may have an OpenMP library where the loader finds none.
                if not faster:
                    raise
    raise AssertionError("the last attempt adds no flags")


def _reason(error: Exception) -> str:
    """Why there is no loop: the compiler's own message, if it gave one."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
    lines = (said or b"").decode(errors="replace").strip().splitlines()
    return lines[0] if lines else first_line(error)


def _numbers(tensor: Tensor) -> _Numbers:
    return _Numbers(tensor.data_ptr(), tensor.dtype == torch.float32)


def _sample(held: torch.dtype, wide: torch.dtype) -> Range:
    """A base, six vectors, the third of them in a dtype of its own, and residuals of two."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(1 + _VECTORS, _SAMPLE, generator=generator)
    # float32 holds them: a coefficient of a genome.
    coefficients: list[float] = torch.randn(_VECTORS, generator=generator).tolist()
    vectors = [*drawn[1:3].bfloat16(), drawn[3].to(wide), *drawn[4:].bfloat16()]
    start = 1000
    residuals = [
        (coefficients[index], places + start, torch.randn(len(places), generator=generator))
        for index in range(2)
        for places in [(torch.rand(_SAMPLE, generator=generator) < 0.1).nonzero().view(-1)]
    ]
    base = drawn[0].to(held)
    return Range(torch.empty_like(base), base, vectors, coefficients, residuals, start)
