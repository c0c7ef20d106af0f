"""What transformers can write, and what of it is refused; whatever else is here has to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A checkpoint.

    Attributes:
        kind: class of its configuration, in transformers.
        more: what it says besides the tiny shape.
        stored: number format of the files.
        shards: their largest size; None for a single file.
        seed: what the seed's config.json says otherwise than the base's.
    """

    kind: str
    more: Mapping[str, Any] = field(default_factory=dict)
    stored: str = "float32"
    shards: str | None = None
    seed: Mapping[str, Any] = field(default_factory=dict)


def rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **more}}


_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_OLD = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 1024}
_FACTORS = {"short_factor": [1.5] * 16, "long_factor": [4.0] * 16}
CASES: dict[str, Case] = {
    "llama": Case("LlamaConfig"),
    "llama, tied": Case("LlamaConfig", {"tie_word_embeddings": True}),
    "llama, all heads": Case("LlamaConfig", {"num_key_value_heads": 2}),
    "llama, wide heads": Case("LlamaConfig", {"head_dim": 48}),
    "llama, narrow heads": Case("LlamaConfig", {"head_dim": 16}),
    "llama, biases": Case("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "llama, theta": Case("LlamaConfig", rope("default", rope_theta=500_000.0)),
    "llama, linear": Case("LlamaConfig", rope("linear", factor=4.0)),
    "llama, dynamic": Case("LlamaConfig", rope("dynamic", factor=4.0)),
    "llama, dynamic and short": Case(
        "LlamaConfig", {**rope("dynamic", factor=4.0), "max_position_embeddings": 64}
    ),
    "llama, yarn": Case(
        "LlamaConfig", rope("yarn", factor=4.0, original_max_position_embeddings=256)
    ),
    "llama, longrope": Case(
        "LlamaConfig", rope("longrope", **_FACTORS, original_max_position_embeddings=512)
    ),
    "llama, longrope and short": Case(
        "LlamaConfig", rope("longrope", **_FACTORS, original_max_position_embeddings=32)
    ),
    "llama, llama3": Case(
        "LlamaConfig",
        rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=256,
        ),
    ),
    "llama, gelu": Case("LlamaConfig", {"hidden_act": "gelu"}),
    "llama, relu": Case("LlamaConfig", {"hidden_act": "relu"}),
    "llama, epsilon": Case("LlamaConfig", {"rms_norm_eps": 0.1}),
    "llama, tensor parallel": Case("LlamaConfig", {"pretraining_tp": 2}),
    "llama, larger vocabulary": Case("LlamaConfig", {"vocab_size": 512}),
    "llama, short": Case("LlamaConfig", {"max_position_embeddings": 24}),
    "mistral": Case("MistralConfig", {"sliding_window": None}),
    "mistral, wide window": Case("MistralConfig", {"sliding_window": 512}),
    "mistral, narrow window": Case("MistralConfig", {"sliding_window": 16}),
    "ministral, narrow window": Case("MinistralConfig", {"sliding_window": 16, "head_dim": 32}),
    "qwen2": Case("Qwen2Config"),
    "qwen2, tied": Case("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen2, unused window": Case(
        "Qwen2Config", {"sliding_window": 16, "use_sliding_window": False, "max_window_layers": 1}
    ),
    "qwen2, wide window": Case(
        "Qwen2Config", {"sliding_window": 512, "use_sliding_window": True, "max_window_layers": 1}
    ),
    "qwen2, narrow window": Case(
        "Qwen2Config", {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 1}
    ),
    "qwen3": Case("Qwen3Config", {"head_dim": 32}),
    "gemma": Case("GemmaConfig", {"head_dim": 32}),
    "gemma2": Case("Gemma2Config", {"head_dim": 32}),
    "gemma2, no caps": Case(
        "Gemma2Config",
        {"head_dim": 32, "attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
    "gemma2, narrow window": Case("Gemma2Config", {"head_dim": 32, "sliding_window": 16}),
    "gemma3": Case("Gemma3TextConfig", {"head_dim": 32}),
    "phi": Case("PhiConfig"),
    "phi3": Case("Phi3Config", {"pad_token_id": 0}),
    "granite": Case(
        "GraniteConfig",
        {
            "attention_multiplier": 0.5,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "logits_scaling": 2.0,
        },
    ),
    "cohere": Case("CohereConfig", {"logit_scale": 0.25}),
    "cohere2": Case("Cohere2Config", {"logit_scale": 0.25, "sliding_window": 512}),
    "olmo": Case("OlmoConfig", {"clip_qkv": 8.0}),
    "olmo2": Case("Olmo2Config"),
    "smollm3": Case("SmolLM3Config", {"pad_token_id": 0}),
    "glm": Case("GlmConfig", {"head_dim": 32, "pad_token_id": 0}),
    "glm4": Case("Glm4Config", {"head_dim": 32, "pad_token_id": 0}),
    "stablelm": Case("StableLmConfig"),
    "stablelm, parallel": Case("StableLmConfig", {"use_parallel_residual": True}),
    "starcoder2": Case("Starcoder2Config"),
    "nemotron": Case("NemotronConfig"),
    "gpt2": Case("GPT2Config", _OLD),
    "gptj": Case("GPTJConfig", {**_OLD, "rotary_dim": 16}),
    "gpt_neox": Case("GPTNeoXConfig"),
    "gpt_neox, serial": Case("GPTNeoXConfig", {"use_parallel_residual": False}),
    "opt": Case("OPTConfig", {"ffn_dim": 128, "word_embed_proj_dim": 64}),
    "bloom": Case("BloomConfig", {"n_layer": 2, "n_head": 2}),
    "falcon": Case("FalconConfig", {"new_decoder_architecture": False}),
    "falcon, alibi": Case("FalconConfig", {"alibi": True}),
    "mixtral": Case("MixtralConfig", {"num_local_experts": 4}),
    "qwen2_moe": Case("Qwen2MoeConfig", {**_MOE, "shared_expert_intermediate_size": 32}),
    "qwen3_moe": Case("Qwen3MoeConfig", {**_MOE, "head_dim": 32}),
    "gpt_oss": Case("GptOssConfig", {"num_local_experts": 4, "head_dim": 32, **rope("default")}),
    "llama4": Case(
        "Llama4TextConfig",
        {"num_local_experts": 2, "intermediate_size_mlp": 128, "head_dim": 32, "pad_token_id": 0},
    ),
    "mamba": Case("MambaConfig"),
    "recurrent_gemma": Case("RecurrentGemmaConfig", {"lru_width": 64}),
    "lfm2": Case("Lfm2Config", {"layer_types": ["conv", "full_attention"]}),
}
CASES |= {
    f"{of}, stored in {stored}": Case(CASES[of].kind, CASES[of].more, stored)
    for of in ("llama, tied", "qwen2", "mixtral")
    for stored in ("bfloat16", "float16")
}
CASES |= {
    f"{of}, in shards": Case(CASES[of].kind, CASES[of].more, "bfloat16", "60KB")
    for of in ("llama, tied", "qwen2", "qwen3_moe")
}
CASES |= {
    f"llama, the seed says {key}": Case("LlamaConfig", seed={key: value})
    for key, value in {
        "rms_norm_eps": 0.1,
        "hidden_act": "gelu",
        "rope_parameters": {"rope_type": "default", "rope_theta": 77.0},
        "max_position_embeddings": 512,
        "num_attention_heads": 4,
        "head_dim": 16,
        "attention_dropout": 0.5,
        "initializer_range": 0.5,
        "use_cache": False,
        "pretraining_tp": 4,
        "tie_word_embeddings": True,
        "vocab_size": 512,
        "attention_bias": True,
        "model_type": "mistral",
        "a_key_of_the_future": 3,
        "eos_token_id": 9,
        "dtype": "float16",
    }.items()
}
CASES |= {
    "qwen2, the seed has a window": Case(
        "Qwen2Config",
        seed={"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0},
    ),
    "yarn, the seed is longer": Case(
        "LlamaConfig", CASES["llama, yarn"].more, seed={"max_position_embeddings": 2048}
    ),
    "granite, the seed scales otherwise": Case(
        "GraniteConfig", CASES["granite"].more, seed={"logits_scaling": 3.0}
    ),
}
REFUSED = {
    "llama, dynamic and short": "context of 64",
    "llama, longrope and short": "context of 32",
    "llama, short": "context of 24",
    "mistral, narrow window": "context of 16",
    "ministral, narrow window": "context of 16",
    "qwen2, narrow window": "context of 16",
    "gemma2, narrow window": "context of 16",
    "gpt_oss": "context of 128",
    "opt": "OPTForCausalLM",
    "bloom": "BloomForCausalLM",
    "falcon": "FalconForCausalLM",
    "falcon, alibi": "FalconForCausalLM",
    "mamba": "MambaForCausalLM",
    "recurrent_gemma": "RecurrentGemmaForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "llama, the seed says rms_norm_eps": "rms_norm_eps = 0.1 (not 1e-06)",
    "llama, the seed says hidden_act": "hidden_act = gelu (not silu)",
    "llama, the seed says rope_parameters": "'rope_theta': 77.0} (not",
    "llama, the seed says num_attention_heads": "config.json implies (128, 64)",
    "llama, the seed says head_dim": "config.json implies (32, 64)",
    "llama, the seed says tie_word_embeddings": "lm_head.weight is stored and differs",
    "llama, the seed says vocab_size": "config.json implies (512, 64)",
    "llama, the seed says attention_bias": "k_proj.bias is missing",
    "llama, the seed says model_type": "model_type = mistral (not llama)",
    "qwen2, the seed has a window": "use_sliding_window = True (not False)",
    "yarn, the seed is longer": "max_position_embeddings = 2048 (not 1024)",
    "granite, the seed scales otherwise": "logits_scaling = 3.0 (not 2.0)",
}
"""Case -> what names the reason. All others are read."""
