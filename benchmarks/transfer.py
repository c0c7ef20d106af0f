"""Two ways into vLLM for an expert: the engine's worker extension, and vLLM's weight transfer.

    python -m benchmarks.transfer [--swaps 9] [--config acdc.toml] [--json] [--quick]

Children of the seeds are swapped in, by turns in either way, and asked one short question; both
have to give the same token. The first two swaps of each, by which vLLM loads and all warms up, do
not count. Then the transfer is given a genome under the name of another expert, to show what a
caller learns of an error. Needs vLLM.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vllm import SamplingParams
from vllm.config import WeightTransferConfig

from benchmarks.machine import describe_machine
from benchmarks.swap import children, families
from benchmarks.transfer_engine import BACKEND, Registered
from console.run.config import cache_folder, resolve
from evolution.bank.bank import Bank, load_bank
from evolution.engines.base import Ask, Chat
from evolution.engines.encoding import Encoder
from evolution.engines.vllm import start as starting
from evolution.engines.vllm.engine import VllmEngine
from evolution.genome.genome import Genome
from memory.records import Sampling

WARM_UP = 2
KV_CACHE_GIB = 0.5
FIRST = Sampling(max_tokens=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--swaps", type=int, default=9, help="of each way, that count")
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure(options.config, 2 if options.quick else options.swaps))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


class Transfer:
    """vLLM with the weight transfer engine.

    Args:
        bank: of the experts.
        plan: how vLLM is started.
        folder: for its configuration.
    """

    def __init__(self, bank: Bank, plan: starting.LaunchPlan, folder: Path) -> None:
        self._bank, self._encoder = bank, Encoder(bank.tokenizer, plan.context)
        self._llm = starting.start(
            bank,
            plan,
            folder,
            worker_extension_cls=f"{Registered.__module__}.{Registered.__name__}",
            weight_transfer_config=WeightTransferConfig(backend=BACKEND),
        )
        origin = bank.origin
        assert origin is not None
        where = {
            "models": origin.models.model_dump_json(),
            "spectral": origin.spectral.model_dump_json(),
            "cache": str(origin.cache_dir),
        }
        self._llm.init_weight_transfer_engine({"init_info": where})

    def swap(self, genome: Genome, name: str) -> None:
        """Take over an expert, under a name that each of its replies is stamped with."""
        given = {"genome": base64.b64encode(genome.to_bytes()).decode(), "genome_id": name}
        self._llm.start_weight_update()
        self._llm.update_weights({"update_info": given})
        self._llm.finish_weight_update(weight_version=name)
        if not self._llm.reset_prefix_cache(reset_running_requests=True):
            raise RuntimeError("the prefix cache could not be emptied")

    def first_token(self, question: Chat, name: str) -> int:
        """Ask one question, of which the reply has to bear the expert's stamp."""
        tokens = self._encoder.encode(question, FIRST.max_tokens).tokens
        sampling = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
        [reply] = self._llm.generate([{"prompt_token_ids": tokens}], sampling, use_tqdm=False)
        [output] = reply.outputs
        if {each.version for each in output.weight_versions} != {name}:
            raise RuntimeError(f"the reply is not one of {name}")
        return int(output.token_ids[0])

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()


async def measure(config_file: Path | None, swaps: int) -> dict[str, Any]:
    config = resolve(config_file, ())
    bank = load_bank(config.models, config.spectral, cache_folder())
    more = {"kind": "vllm", "kv_cache_gib": KV_CACHE_GIB}
    settings = config.engine.model_copy(update=more)
    genomes, question = children(bank, config, swaps + WARM_UP), families(1)[0]
    seconds: dict[str, list[float]] = {"worker extension": [], "weight transfer": []}
    engine = VllmEngine(bank, settings)
    with TemporaryDirectory() as folder:
        other = Transfer(bank, starting.plan(bank, settings), Path(folder))
        same = 0
        for genome in genomes:
            name = bank.genome_id(genome)
            begun = time.perf_counter()
            async with engine.lease(genome) as expert:
                [reply] = await expert.answer(Ask([question], FIRST))
            seconds["worker extension"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            other.swap(genome, name)
            token = other.first_token(question, name)
            seconds["weight transfer"].append(time.perf_counter() - begun)
            same += bank.tokenizer.decode([token]).strip() == reply.text.strip()
        error = refusal(other, genomes[0])
        other.close()
    await engine.close()
    medians = {way: statistics.median(found[WARM_UP:]) for way, found in seconds.items()}
    return {
        "bench": "transfer",
        "machine": describe_machine(),
        "swaps": swaps,
        "rows": [{"name": way, "seconds": round(each, 4)} for way, each in medians.items()],
        "ratio": round(medians["weight transfer"] / medians["worker extension"], 3),
        "same_first_token": [same, len(genomes)],
        "error": error,
    }


def refusal(transfer: Transfer, genome: Genome) -> str:
    """What a caller learns where the genome is not the expert that it is called."""
    try:
        transfer.swap(genome, "another")
    except Exception as error:  # its type is the question
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "nothing: the swap passed"


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{row['name']:<20} {row['seconds']:>8.3f} s to the first answer" for row in report["rows"]
    ]
    same, asked = report["same_first_token"]
    return "\n".join(
        [
            *lines,
            f"weight transfer / worker extension: {report['ratio']}",
            f"same first token: {same} of {asked}",
            f"an expert under another name: {report['error']}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
