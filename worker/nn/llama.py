"""A decoder of ours as a folder that transformers opens as LlamaForCausalLM, and the names of its weights there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor


def save_llama(model: Any, folder: Path, *, epsilon: float, theta: float) -> None:
    """config.json, model.safetensors and the tokenizer's files; needs no transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: part.contiguous().cpu() for name, part in llama_weights(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = llama_config(model, epsilon, theta)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    model.tokens.save(folder, longest=model.shape.block_size)


def llama_weights(model: Any) -> dict[str, Tensor]:
    """The weights by Llama's names. Parts of fused matrices are views, so they can be filled in place."""
    weights = {
        "model.embed_tokens.weight": model.embed.weight,
        "model.norm.weight": model.norm.weight,
    }
    if not model.shape.tied:
        weights["lm_head.weight"] = model.head.weight
    for n, block in enumerate(model.blocks):
        weights |= {f"model.layers.{n}.{name}": part for name, part in _block(block).items()}
    return {name: weight.detach() for name, weight in weights.items()}


def _block(block: Any) -> dict[str, Tensor]:
    q, k, v = block.attention.qkv.weight.chunk(3)
    gate, up = block.feed_forward.gate_up.weight.chunk(2)
    return {
        "input_layernorm.weight": block.norm1.weight,
        "self_attn.q_proj.weight": q,
        "self_attn.k_proj.weight": k,
        "self_attn.v_proj.weight": v,
        "self_attn.o_proj.weight": block.attention.out.weight,
        "post_attention_layernorm.weight": block.norm2.weight,
        "mlp.gate_proj.weight": gate,
        "mlp.up_proj.weight": up,
        "mlp.down_proj.weight": block.feed_forward.down.weight,
    }


def llama_config(model: Any, epsilon: float, theta: float) -> dict[str, Any]:
    shape = model.shape
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.block_size,
        "num_hidden_layers": shape.n_layer,
        "num_attention_heads": shape.n_head,
        "num_key_value_heads": shape.n_head,
        "head_dim": shape.head_size,
        "hidden_size": shape.n_embd,
        "intermediate_size": shape.hidden,
        "hidden_act": "silu",
        "rms_norm_eps": epsilon,
        "rope_theta": theta,  # read by transformers 4
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},  # by 5
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": shape.tied,
        "bos_token_id": model.start,
        "eos_token_id": model.tokens.end,
        "pad_token_id": model.tokens.end,
        "dtype": "float32",
    }
