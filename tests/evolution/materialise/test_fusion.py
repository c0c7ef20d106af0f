from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from evolution.bank.task_vectors import Dense, difference
from evolution.genome.genome import NoiseTerm
from evolution.genome.noise import Noise
from evolution.materialise import fusion
from evolution.materialise.fusion import adds_in_one_pass, combine, combine_all
from evolution.materialise.native import Loop, Range, Residual, proven_loop
from evolution.materialise.sums import Sum


def drawn(count: int, size: int, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    base, *vectors = (torch.randn(size, generator=generator) for _ in range(count + 1))
    return base.to(torch.bfloat16), [(0.05 * vector).to(torch.bfloat16) for vector in vectors]


def family(rows: int, columns: int, count: int = 2, spread: int = 20) -> tuple[Tensor, list[Dense]]:
    """A base, and differences with residuals."""
    base, others = drawn(count, rows * columns)
    base = base.view(rows, columns)
    vectors = [difference((base + spread * other.view_as(base)), base) for other in others]
    return base, [vector for vector in vectors if vector is not None]


def one_by_one(base: Tensor, vectors: list[Tensor], coefficients: list[float]) -> Tensor:
    total = base.float()
    for vector, coefficient in zip(vectors, coefficients, strict=True):
        total = total + torch.tensor(coefficient) * vector.float()
    return total


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 5),
    size=st.integers(1, 3000),
    step=st.integers(1, 700),
    coefficients=st.lists(st.floats(-2, 2, width=32), min_size=5, max_size=5),
)
def test_sums_are_rounded_one_by_one_however_they_are_cut(
    count: int, size: int, step: int, coefficients: list[float]
) -> None:
    base, vectors = drawn(count, size)
    wanted = one_by_one(base, vectors, coefficients[:count])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion, "_CACHED", {"cpu": step})
        for dtype in (torch.bfloat16, torch.float32):
            out = torch.empty(size, dtype=dtype)
            combine(Range(out, base, vectors, coefficients[:count]), fused=False)
            assert torch.equal(out, wanted.to(dtype))


@pytest.fixture(scope="session")
def loop() -> Loop:
    found = proven_loop(fusion._combine_plainly)
    if found is None:
        pytest.skip("no C++ compiler")
    return found


def bits(tensor: Tensor) -> Tensor:
    """Minus zero is not zero."""
    return tensor.view(torch.int16 if tensor.dtype == torch.bfloat16 else torch.int32)


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(0, 5),
    multiplied=st.booleans(),
    size=st.one_of(st.integers(1, 300), st.integers(4090, 9000)),
    start=st.integers(0, 10_000),
    share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    wide=st.lists(st.booleans(), min_size=7, max_size=7),
    coefficients=st.lists(st.floats(-2, 2, width=32), min_size=5, max_size=5),
    threads=st.integers(1, 3),
)
def test_the_compiled_loop_gives_the_bits_of_the_plain_way(
    loop: Loop,
    count: int,
    multiplied: bool,
    size: int,
    start: int,
    share: float,
    wide: list[bool],
    coefficients: list[float],
    threads: int,
) -> None:
    dtypes = [torch.float32 if each else torch.bfloat16 for each in wide]
    base, narrow = drawn(count, size, seed=size)
    base[::3] = 0.0
    vectors = [vector.to(dtype) for vector, dtype in zip(narrow, dtypes, strict=False)]
    generator = torch.Generator().manual_seed(start)
    residuals = [
        (coefficient, places + start, torch.randn(len(places), generator=generator))
        for coefficient in coefficients[: max(0, count - 1)]
        for places in [(torch.rand(size, generator=generator) < share).nonzero().view(-1)]
        if len(places)
    ]
    product = torch.randn(size, generator=generator) if multiplied else None
    terms = base.to(dtypes[5]), vectors, coefficients[:count]
    found, wanted = (torch.empty(size, dtype=dtypes[6]) for _ in range(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        loop([Range(found, *terms, residuals, start, product)])
    finally:
        torch.set_num_threads(before)
    combine(Range(wanted, *terms, residuals, start, product), False)
    assert torch.equal(bits(found), bits(wanted))


def test_numbers_at_the_edges_of_bf16_are_rounded_as_pytorch_does(loop: Loop) -> None:
    edges = [0.0, -0.0, 1e-40, -1e-45, 3.3895e38, 3.4e38, float("inf"), -float("inf")]
    ties = torch.arange(1 << 12, dtype=torch.int32) * (1 << 15) + (127 << 23)
    numbers = torch.cat([torch.tensor(edges), ties.view(torch.float32)])
    nothing = torch.zeros_like(numbers)
    found = torch.empty(len(numbers), dtype=torch.bfloat16)
    loop([Range(found, numbers, [], [])])
    assert torch.equal(bits(found), bits(numbers.to(torch.bfloat16)))
    loop([Range(found, torch.full_like(numbers, float("nan")), [nothing], [1.0])])
    assert found.isnan().all()


def test_a_loop_that_rounds_otherwise_or_cannot_be_made_is_not_used(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncached = proven_loop.__wrapped__

    def in_double(given: Range) -> None:
        total = given.base.double()
        for vector, coefficient in zip(given.vectors, given.coefficients, strict=True):
            total = total + coefficient * vector.double()
        given.out.copy_(total)

    assert uncached(in_double) is None
    for compiler in ("no-such-compiler", "false", "an 'unclosed word"):
        monkeypatch.setenv("CXX", compiler)
        assert uncached(fusion._combine_plainly) is None


@pytest.mark.parametrize("compiler", ["", "env LC_ALL=C c++"])
def test_a_compiler_may_be_named_with_words_around_it_and_leaves_nothing_behind(
    loop: Loop, compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = proven_loop.__wrapped__(fusion._combine_plainly)
    assert made is not None
    assert not list(tmp_path.iterdir())
    base, vectors = drawn(2, 9001)
    found, wanted = torch.empty(9001), torch.empty(9001)
    made([Range(found, base, vectors, [0.5, 0.25])])
    loop([Range(wanted, base, vectors, [0.5, 0.25])])
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("unknown", ["-march=native", "-fopenmp", "-march=native|-fopenmp"])
def test_flags_that_a_compiler_does_not_know_are_left_out(
    loop: Loop, unknown: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "simple-c++"
    compiler.write_text(
        "#!/bin/sh\nfor flag; do\n"
        f'  case "$flag" in {unknown}) echo "no $flag here" >&2; exit 1;; esac\n'
        'done\nexec c++ "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert proven_loop.__wrapped__(fusion._combine_plainly) is not None


def test_a_library_that_cannot_be_loaded_is_built_without_openmp(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with a compiler that finds an OpenMP library where the loader does not."""
    compiler = tmp_path / "strange-c++"
    compiler.write_text(
        '#!/bin/sh\nfor flag; do\n  case "$flag" in -fopenmp)\n'
        '    while [ "$1" != -o ]; do shift; done; echo "no library" > "$2"; exit 0;; esac\n'
        'done\nexec c++ "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert proven_loop.__wrapped__(fusion._combine_plainly) is not None


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.one_of(st.integers(1, 20), st.integers(4000, 13_000)), max_size=7),
    threads=st.integers(1, 3),
    fused=st.booleans(),
)
def test_many_ranges_in_one_call_give_the_bits_of_each_by_itself(
    loop: Loop, sizes: list[int], threads: int, fused: bool
) -> None:
    whole, residuals = difference_of(sum(sizes) + 1)
    wanted, found = (torch.zeros_like(whole) for _ in range(2))
    starts = [sum(sizes[:place]) for place in range(len(sizes))]

    def cut(out: Tensor) -> list[Range]:
        found = []
        for start, size in zip(starts, sizes, strict=True):
            span = slice(start, start + size)
            coefficient, index, values = residuals
            inside = (index >= start) & (index < start + size)
            parts = [(coefficient, index[inside], values[inside])] if inside.any() else []
            vectors = [whole[span], whole[span].float()]
            found.append(Range(out[span], whole[span], vectors, [0.5, -0.25], parts, start))
        return found

    for each in cut(wanted):
        combine(each, fused=False)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            if not fused:
                patch.setattr(fusion, "proven_loop", lambda _: None)
            combine_all(cut(found))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(bits(found), bits(wanted))


def difference_of(size: int) -> tuple[Tensor, Residual]:
    """Numbers, and residuals at a third of them."""
    generator = torch.Generator().manual_seed(size)
    numbers = torch.randn(size, generator=generator).bfloat16()
    places = (torch.rand(size, generator=generator) < 0.3).nonzero().view(-1)
    return numbers, (0.7, places, torch.randn(len(places), generator=generator))


@pytest.mark.parametrize("shift", [1, 3, 7])
def test_the_loop_takes_ranges_that_begin_anywhere(loop: Loop, shift: int) -> None:
    base, vectors = drawn(3, 9001 + shift)
    wide = vectors[1].float()
    given = [base, vectors[0], wide, vectors[2]]
    begun, *ranges = (each[shift:] for each in given)
    for dtype in (torch.bfloat16, torch.float32):
        whole = torch.zeros(9001 + shift + 5, dtype=dtype)
        loop([Range(whole[shift:-5], begun, ranges, [0.5, -0.25, 1.5])])
        wanted = torch.zeros_like(whole)
        combine(Range(wanted[shift:-5], begun, ranges, [0.5, -0.25, 1.5]), False)
        # What lies around the range must not be written.
        assert torch.equal(bits(whole), bits(wanted))


def test_what_the_compiler_reports_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "sh -c 'echo this compiler is broken >&2; exit 1' c++")
    with caplog.at_level("INFO", logger="evolution.materialise.native"):
        assert proven_loop.__wrapped__(fusion._combine_plainly) is None
    assert "this compiler is broken" in caplog.text


def test_where_no_loop_can_be_made_experts_are_summed_all_the_same(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, vectors = family(300, 130)
    total = Sum(base, ((0.7, vectors[0]), (0.4, vectors[1])))
    with_loop, without = torch.empty_like(base), torch.empty_like(base)
    total.write(with_loop, fused=True)
    monkeypatch.setattr(fusion, "proven_loop", lambda _: None)
    total.write(without, fused=True)
    assert torch.equal(with_loop, without)


def test_a_kernel_that_rounds_otherwise_or_cannot_be_made_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fuses_multiply_and_add(out: Tensor, base: Tensor, by: Tensor, *vectors: Tensor) -> None:
        total = base.double()
        for index, vector in enumerate(vectors):
            total = total + by[index].double() * vector.double()
        out.copy_(total)

    def fails(*arguments: Tensor) -> None:
        raise RuntimeError("no compiler")

    for compiled in (fuses_multiply_and_add, fails):
        monkeypatch.setattr(torch, "compile", lambda *_, made=compiled, **__: made)
        uncached = fusion._kernel.__wrapped__
        assert uncached(2, torch.device("cpu"), torch.float32, torch.bfloat16) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("fused", [False, True])
def test_pieces_and_threads_leave_no_trace(
    dtype: torch.dtype, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, vectors = family(300, 130)
    assert all(len(vector.index) for vector in vectors)
    factors = torch.randn(300, 8) / 100, torch.randn(8, 130)
    for total in (
        Sum(base, ((0.7, vectors[0]), (0.4, vectors[1]))),
        Sum(base, ((0.7, vectors[0]),), factors),
        Sum(base, (), factors),
        Sum(base),
    ):
        whole, cut = (torch.empty(base.shape, dtype=dtype) for _ in range(2))
        total.write(whole)
        monkeypatch.setattr("evolution.materialise.sums.PIECE", 64 * 130)
        threads = torch.get_num_threads()
        torch.set_num_threads(1 if threads > 1 else 2)
        try:
            total.write(cut, fused)
        finally:
            torch.set_num_threads(threads)
            monkeypatch.undo()
        assert torch.equal(whole, cut)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_whatever_is_added_together_is_the_sum(
    count: int, factored: bool, noisy: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, vectors = family(300, 130)
    dense = [(0.7, vectors[0]), (-0.4, vectors[1])][:count]
    # As a basis gives it: the second factor is the transpose of what is kept.
    factors = torch.randn(300, 8) / 100, torch.randn(130, 8).T
    noise = Noise("a.weight", (NoiseTerm(3, 0.01), NoiseTerm(4, 0.02)))
    wanted = base.double()
    for coefficient, vector in dense:
        exact = vector.values.double().view(-1)
        exact[vector.index] += vector.residual.double()
        wanted += coefficient * exact.view_as(base)
    if factored:
        wanted += factors[0].double() @ factors[1].double()
    if noisy:
        drawn = torch.zeros(base.numel())
        noise.add_to(drawn)
        wanted += drawn.double().view_as(base)
    monkeypatch.setattr("evolution.materialise.sums.PIECE", 64 * 130)
    total = Sum(base, tuple(dense), factors if factored else None, noise if noisy else None)
    fused, plain = (torch.empty(base.shape, dtype=dtype) for _ in range(2))
    total.write(fused, fused=True)
    total.write(plain)
    assert torch.equal(bits(fused), bits(plain))
    step = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-20
    torch.testing.assert_close(fused.double(), wanted, rtol=step, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [False, True])
def test_extra_memory_stays_small_beside_the_tensor(dtype: torch.dtype, fused: bool) -> None:
    base, vectors = family(4096, 1024, spread=100)
    assert vectors[0].index.numel() > 0.1 * base.numel()
    base = base.to(dtype)
    factors = torch.randn(4096, 16), torch.randn(16, 1024)
    out = torch.empty_like(base)
    adds_in_one_pass(out)  # proving the loop takes memory of its own
    for total in (Sum(base, ((0.5, vectors[0]),)), Sum(base, ((0.5, vectors[0]),), factors)):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            total.write(out, fused)
        held = most = 0
        for event in seen.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                most = max(most, held)
        assert most < 0.7 * 4 * base.numel()
        assert most > 0 or (fused and adds_in_one_pass(out))


def test_a_tensor_without_elements_is_a_sum_of_nothing() -> None:
    base = torch.empty(0, 4, dtype=torch.bfloat16)
    vector = Dense(base.clone(), torch.empty(0, dtype=torch.int64), torch.empty(0))
    factors = torch.empty(0, 2), torch.empty(2, 4)
    for total in (Sum(base, ((1.0, vector),)), Sum(base, factors=factors)):
        for fused in (False, True):
            total.write(torch.empty_like(base), fused)
