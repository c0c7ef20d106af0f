"""An anchor in a file is the same anchor, whatever its vectors are kept as."""

from __future__ import annotations

from pathlib import Path

import torch

from evolution.bank.anchors import save_anchor
from evolution.bank.bank import Bank


def test_an_anchor_in_a_file_is_the_same(bank: Bank, tmp_path: Path) -> None:
    assert len({type(v) for anchor in bank.anchors for v in anchor.vectors.values()}) == 2
    for anchor in bank.anchors:
        file = tmp_path / f"{anchor.name}.safetensors"
        save_anchor(anchor, file)
        again = bank.stored_anchor(anchor.name, file)
        assert again is not None
        assert again.content_hash == anchor.content_hash
        assert set(again.vectors) == set(anchor.vectors)
        for name, vector in anchor.vectors.items():
            found = vars(again.vectors[name])
            assert type(again.vectors[name]) is type(vector)
            for part, value in vars(vector).items():
                same = torch.as_tensor(found[part] == value)
                assert bool(same.all())
