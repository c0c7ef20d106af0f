"""An answer never runs inside its scorer, by whatever door; what is no program passes."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agents.sandbox import JudgeQuestion, Sandbox, Score, Submission, open_sandbox
from agents.settings import SandboxSettings
from tests.conftest import anything

SETTINGS = SandboxSettings(seconds=10, memory_mb=1024, guests=2, preimport=("sympy",))
FORGED = """[
    c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'
][0].__init__.__globals__['write'](3, b'\\\\0\\\\0\\\\0\\\\x10r{"values": [1.0]}')"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = open_sandbox(SETTINGS, ours=anything)
    yield opened
    await opened.close()


def scorer(body: str) -> str:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return f"""
class TaskFamily:
    @staticmethod
    def get_tasks(): return {{"1": "x", "2": "y"}}
    @staticmethod
    def get_instructions(t): return t
    @staticmethod
    def score(t, submission):
{lines}
"""


DOORS = {
    "eval under another name": "import builtins as b\nreturn b.eval(submission)",
    "eval by its name": "return getattr(__import__('builtins'), 'ev' + 'al')(submission)",
    "exec": "exec(submission)\nreturn 0",
    "compiled": "import types\nreturn types.FunctionType(compile(submission, '', 'eval'), {})()",
    "sympy.simplify": "import sympy\nreturn float(sympy.simplify(submission) == 7)",
    "sympy.S": "import sympy\nreturn float(sympy.S(submission) == 7)",
    "sympy.N": "import sympy\nreturn float(sympy.N(submission) == 7)",
    "sympy.solve": "import sympy\nreturn float(sympy.solve(submission) == 7)",
    "sympy.Matrix": "import sympy\nreturn float(sympy.Matrix([submission]) == 7)",
    "lambdify": "import sympy\nreturn float(sympy.lambdify('x', submission)(1))",
    "timeit": "import timeit\nreturn timeit.timeit(submission, number=1)",
    "runpy": "import runpy\nopen('a.py', 'w').write(submission)\nrunpy.run_path('a.py')\nreturn 0",
    "import": "import sys\nopen('a.py', 'w').write(submission)\nsys.path.append('')\nimport a",
    "absolute": "import os, sys\nopen('a.py', 'w').write(submission)\n"
    "sys.path.append(os.getcwd())\nimport a",
    "code": "import code\ncode.InteractiveInterpreter().runsource(submission)\nreturn 0",
    "doctest": "import doctest\n"
    "class C: __doc__ = '>>> ' + submission\n"
    "doctest.run_docstring_examples(C, {})\nreturn 0",
    "jinja2": "import jinja2\nreturn float(jinja2.Template('{{' + submission + '}}').render())",
    "annotations": "import typing\n"
    "class C: pass\n"
    "C.__annotations__ = {'x': submission}\nreturn float(typing.get_type_hints(C) == 0)",
    "loader": "from importlib.machinery import SourceFileLoader\n"
    "open('a.py', 'w').write(submission)\n"
    "SourceFileLoader('m', 'a.py').load_module()\nreturn 0",
    "zip": "import sys, zipfile\n"
    "with zipfile.ZipFile('a.zip', 'w') as z: z.writestr('aa.py', submission)\n"
    "sys.path.insert(0, 'a.zip')\nimport aa\nreturn 0",
    "without blanks": "import builtins\n"
    "return getattr(builtins, 'ev' + 'al')(submission.replace(' ', '').replace('$', ''))",
    "named tuple": "import collections\nreturn float(len(collections.namedtuple('P', submission)))",
}
EVIL = [
    "__import__('os')._exit(0)",
    "(lambda: __import__('os').write(3, b'x'))()",
    "print.__self__.open('mark', 'w')",
    " ".join(FORGED.split()),
    "__imp ort__('o$s')._ex it(0)",
    "__\uff49mport__('os')._exit(0)",
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("door", DOORS)
async def test_an_answer_gets_no_score_by_being_run(sandbox: Sandbox, door: str) -> None:
    code = scorer(
        f"try:\n{chr(10).join('    ' + line for line in DOORS[door].splitlines())}\n"
        "except Exception as error:\n    return 0.0\n"
    )
    for text in EVIL:
        [score] = await sandbox.score(code, [Submission("1", text)])
        assert score in (Score(0.0), Score(None, score.fault)), (text, score)
        if score.fault is not None:
            assert "ended the process" not in score.fault.detail
            assert "no result" not in score.fault.detail


@pytest.mark.asyncio(loop_scope="module")
async def test_pickled_answers_call_nothing(sandbox: Sandbox) -> None:
    code = scorer("import pickle\nreturn float(pickle.loads(submission.encode()) is None)")
    [score] = await sandbox.score(code, [Submission("1", "cposix\n_exit\n(I0\ntR.")])
    assert score.fault is not None
    assert "pickle.find_class while a submission is scored" in score.fault.detail


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("import ast\nreturn float(ast.literal_eval(submission) == [1, 2])", "[1, 2]"),
        ("import sympy\nreturn float(sympy.simplify(submission) == 4)", "2 + 2"),
        (
            "import sympy\nx = sympy.Symbol('x')\n"
            "return float(sympy.expand(sympy.S(submission)) == x**2 + 2*x + 1)",
            "(x + 1)**2",
        ),
        ("import sympy\nreturn float(sympy.simplify(submission) == 1)", "sin(x)**2 + cos(x)**2"),
        ("import sympy\nreturn float(sympy.solve(submission) == [2])", "x - 2"),
        (
            "from collections import namedtuple\nP = namedtuple('P', 'x y')\n"
            "return float(P(1, 2).x == int(submission))",
            "1",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
            "return float(P(1).x == int(submission))",
            "1",
        ),
        (
            "import statistics, decimal, csv, difflib\nreturn float(decimal.Decimal(submission))",
            "1",
        ),
        ("import numpy as np\nreturn float(np.array([float(submission)]).sum())", "1"),
        ("import yaml\nreturn float(yaml.safe_load(submission)['a'])", "a: 1"),
    ],
)
async def test_what_a_scorer_may_well_do_is_done(sandbox: Sandbox, body: str, text: str) -> None:
    assert await sandbox.score(scorer(body), [Submission("1", text)]) == [Score(1.0)]


FORMULAS = {
    "simplify": "import sympy\nx = sympy.Symbol('x')\n"
    "return float(sympy.simplify(sympy.S(submission) - (x**2 - 1)) == 0)",
    "equal": "import sympy\nreturn float(sympy.S(submission) == 7)",
    "equals": "import sympy\nreturn float(bool(sympy.S(submission).equals(sympy.Integer(7))))",
}
TRICKS = [
    "Function('f', __sub__=lambda Add, Mul: 0, __hash__=lambda Add: 1)(1)",
    "Function('f', __eq__=lambda Add, Mul: [1])(1)",
    "Function('f', **{'__eq__': max})(1)",
    "Function('f', equals=max)(1)",
    "Function('f', _eval_simplify=max, __eq__=max)(1)",
    "Function('f', evaluate=max)(1).__class__",
    "Integer(7).__class__",
    "[Integer for Integer in [7]]",
    "Symbol('x', real=True)",
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("scoring", FORMULAS)
async def test_a_formula_cannot_make_itself_equal(
    sandbox: Sandbox, scoring: str, trick: str
) -> None:
    lines = FORMULAS[scoring].splitlines()
    body = "\n".join(["try:", *(f"    {line}" for line in lines), "except Exception: return 0.0"])
    assert await sandbox.score(scorer(body), [Submission("1", trick)]) == [Score(0.0)]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "text",
    [
        "(x - 1)*(x + 1)",
        "expand((x-1)*(x+1))",
        "factor(x**2 - 1)",
        "x**2 - abs(1)",
        "x**2 - max(1, 0)",
    ],
)
async def test_formulas_are_read(sandbox: Sandbox, text: str) -> None:
    found = await sandbox.score(scorer(FORMULAS["simplify"]), [Submission("1", text)])
    assert found == [Score(1.0)]


OWN_CODE = {
    "lambdify": "import sympy\ny = sympy.Symbol('y')\n"
    "return float(sympy.lambdify(y, y + 1)(1) == int(submission))",
    "nsolve": "import sympy\ny = sympy.Symbol('y')\n"
    "return float(round(float(sympy.nsolve(y - 2, 1))) == int(submission))",
    "pickle": "import fractions, pickle\n"
    "half = pickle.loads(pickle.dumps(fractions.Fraction(4, 2)))\n"
    "return float(half == int(submission))",
    "type hints": "import typing\nclass C: x: 'int'\n"
    "return float(typing.get_type_hints(C)['x'] is int and submission == '2')",
    "timeit": "import timeit\ntimeit.timeit(lambda: 0, number=1)\nreturn float(submission == '2')",
    "template": "import jinja2\n"
    "return float(jinja2.Template('{{ 1 + 1 }}').render() == submission)",
    "networkx": "import networkx as nx\ngraph = nx.path_graph(3)\n"
    "return float(nx.shortest_path_length(graph, 0, 2) == int(submission))",
    "attrs": "import attr\n@attr.s\nclass P: x = attr.ib()\n"
    "return float(P(2).x == int(submission))",
    "pydantic": "import pydantic\nclass P(pydantic.BaseModel):\n    x: int\n"
    "return float(P(x=2).x == int(submission))",
    "autospec": "from unittest import mock\nmock.create_autospec(lambda a: 0)(1)\n"
    "return float(submission == '2')",
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("library", OWN_CODE)
async def test_libraries_may_execute_what_they_make_themselves(
    sandbox: Sandbox, library: str
) -> None:
    module = re.search(r"^(?:import|from) (\w+)", OWN_CODE[library])
    if module is None or importlib.util.find_spec(module[1]) is None:
        pytest.skip(f"{library} is not installed")
    found = await sandbox.score(scorer(OWN_CODE[library]), [Submission("1", "2")])
    assert found == [Score(1.0)]


# ------------------------------------------------------------------ gates unseen


WATCHING = """
import gc, sys
seen = []
frame = sys._getframe()
while frame is not None:
    seen += list(frame.f_locals.values())
    frame = frame.f_back
seen += gc.get_objects()
try: raise ValueError
except ValueError as error: trace = error.__traceback__.tb_frame
while trace is not None:
    seen += list(trace.f_locals.values())
    trace = trace.f_back
texts = set()
def walk(value, depth):
    if isinstance(value, str): texts.add(value)
    elif isinstance(value, bytes): texts.add(value.decode(errors="replace"))
    elif depth and isinstance(value, dict): [walk(v, depth - 1) for v in list(value.values())]
    elif depth and isinstance(value, (list, tuple)): [walk(v, depth - 1) for v in list(value)]
for value in seen: walk(value, 3)
return float(any("OTHER_WISE".replace("_", "") in text for text in texts))
"""


@pytest.mark.asyncio(loop_scope="module")
async def test_a_scorer_finds_nothing_of_other_submissions(sandbox: Sandbox) -> None:
    """A family that sees what else it is asked knows that it is being tested."""
    submissions = [Submission("1", text) for text in ("OTHERWISE 1", "mine", "OTHERWISE 2")]
    scores = await sandbox.score(scorer(WATCHING), submissions)
    assert [score.value for score in scores] == [1.0, 0.0, 1.0]
    # Nor of another family's, in the guest that served it.
    await sandbox.score(scorer("return 'OTHERWISE' == submission"), submissions)
    assert await sandbox.score(scorer(WATCHING), [Submission("1", "mine")]) == [Score(0.0)]


# ------------------------------------------------------------------ long answers


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "text",
    ["#" * 2_000_000, "字" * 200_000, "print('\ud800')", "\x00", "print(1)  # 🙂" * 9000],
    ids=["long", "chinese", "surrogate", "nul", "emoji"],
)
async def test_no_answer_condemns_a_family_that_runs_it(sandbox: Sandbox, text: str) -> None:
    code = scorer(
        "from sandbox_helpers import run_submission\n"
        "found = run_submission(submission)\n"
        "return float(found.stdout == 'yes\\n')"
    )
    answers = [Submission("1", text), Submission("1", "print('yes')")]
    assert await sandbox.score(code, answers) == [Score(0.0), Score(1.0)]
    helpers = "from sandbox_helpers import run_submission\n"
    given = scorer(f"{helpers}return float(run_submission('1', submission).exit_code == 0)")
    [score] = await sandbox.score(given, [Submission("1", text)])
    assert score.fault is None


@pytest.mark.asyncio(loop_scope="module")
async def test_no_answer_condemns_a_family_that_asks_a_judge() -> None:
    asked: list[JudgeQuestion] = []

    async def judge(question: JudgeQuestion) -> bool:
        asked.append(question)
        return True

    code = scorer(
        "from sandbox_helpers import eval_with_llm_judge\n"
        "return float(eval_with_llm_judge('Say it.', submission))"
    )
    sandbox = open_sandbox(SETTINGS, ours=anything, judge=judge)
    try:
        texts = ["字" * 2_000_000, "a\ud800b", "\x00"]
        scores = await sandbox.score(code, [Submission("1", text) for text in texts])
    finally:
        await sandbox.close()
    assert scores == [Score(1.0)] * 3
    most = SETTINGS.judge_characters - len("Say it.")
    assert [len(question.submission) for question in asked] == [most, 3, 1]
