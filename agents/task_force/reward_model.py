"""A reward model scores the replies: any Hugging Face sequence classifier."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.errors import AnsweringError
from agents.task_force.ballot import Ballot, Choice, Vote, elect
from agents.task_force.methods import Aids, method
from memory.messages import first_line


@method(
    "reward", needs=("reward",), source="AC/DC, best-of-N by a reward model; Cobbe et al. (2021)"
)
async def reward(ballot: Ballot, aids: Aids) -> Choice:
    """The reply that a reward model scores highest."""
    assert aids.reward is not None
    texts = [candidate.text for candidate in ballot.candidates]
    scores = await aids.reward.score(ballot.question, texts)
    votes = [Vote("reward model", place, score) for place, score in enumerate(scores)]
    return elect(scores, votes)


class RewardModel:
    """A sequence classifier that is loaded at its first use.

    One label is a scalar reward; of several, the last one's log-probability is taken. Replies are
    scored one by one, so that a score does not depend on what else is scored.

    Args:
        path: folder or hub id, as in `Skywork/Skywork-Reward-V2-Llama-3.1-8B`.
        device: `auto`, `cpu`, `cuda:1`.
    """

    def __init__(self, path: str, device: str = "auto") -> None:
        self._path = path
        self._device = device
        self._loaded: tuple[Any, Any] | None = None
        self._lock = asyncio.Lock()

    async def score(self, question: str, answers: list[str]) -> list[float]:
        """One reward per answer.

        Raises:
            AnsweringError: the model cannot be loaded, or is no sequence classifier.
        """
        async with self._lock:
            return await asyncio.to_thread(self._score, question, answers)

    def _score(self, question: str, answers: list[str]) -> list[float]:
        # Only now: best-of-N methods are listed without PyTorch.
        import torch

        tokenizer, model = self._load()
        scores = []
        with torch.inference_mode():
            for answer in answers:
                inputs = _encoded(tokenizer, question, answer, _longest(model.config))
                logits = model(**inputs.to(model.device)).logits[0].float()
                value = logits[0] if len(logits) == 1 else logits.log_softmax(-1)[-1]
                scores.append(float(value))
        return scores

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

            auto = "cuda" if torch.cuda.is_available() else "cpu"
            device = auto if self._device == "auto" else self._device

            try:
                tokenizer = AutoTokenizer.from_pretrained(self._path, trust_remote_code=False)
                model = AutoModelForSequenceClassification.from_pretrained(
                    self._path, trust_remote_code=False
                )
            except (OSError, ValueError) as error:
                reason = first_line(error)
                raise AnsweringError(
                    f"answering.reward_model {self._path} cannot be loaded ({reason}): name a "
                    "folder or hub id of a sequence classifier"
                ) from error
            if tokenizer.chat_template and not tokenizer.is_fast:
                raise AnsweringError(
                    f"answering.reward_model {self._path}: its tokenizer cannot tell control "
                    "tokens from texts that spell them; add tokenizer.json to the folder"
                )
            self._loaded = (tokenizer, model.to(device).eval())
        return self._loaded


def _encoded(tokenizer: Any, question: str, answer: str, longest: int) -> Any:
    """The conversation as the model knows it, or question and answer as a pair of texts.

    A reply that spells control tokens is read letter by letter: it cannot write a turn of its own.
    """
    from evolution.engines.writing import Writer

    if tokenizer.chat_template is None:
        return tokenizer(
            question,
            answer,
            truncation=True,
            max_length=longest,
            split_special_tokens=True,
            return_tensors="pt",
        )
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    tokens = Writer(tokenizer).chat(turns, add_generation_prompt=False)
    kept = tokens[-longest:] if tokenizer.truncation_side == "left" else tokens[:longest]
    return tokenizer.pad({"input_ids": [kept]}, padding=False, return_tensors="pt")


def _longest(config: Any) -> int:
    return int(getattr(config, "max_position_embeddings", None) or 4096)
